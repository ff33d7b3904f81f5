package configs

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/weft-relay/weft/matching"
	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/identity"
	"github.com/weft-relay/weft/pipeline/lanes"
)

// document is the whole file.
type document struct {
	Node       string               `yaml:"node" doc:"this relay's name, as its peers list it"`
	DataDir    string               `yaml:"data_dir" weft:"path" doc:"path of the folder with the identity key and the lanes"`
	Broker     any                  `yaml:"broker" doc:"the broker that the node stands beside: one that runs somewhere, or the built-in one"`
	Subscribe  []subscription       `yaml:"subscribe" doc:"what this site wants from its peers"`
	Peers      []peer               `yaml:"peers" doc:"the nodes that data may go to and come from"`
	Transports map[string]transport `yaml:"transports" doc:"the networks between the nodes"`
	Routes     []route              `yaml:"routes" doc:"what leaves this site"`
	Plugins    any                  `yaml:"plugins" doc:"programs of your own that have types of transports and stages"`
	Admin      Admin                `yaml:"admin" doc:"where the node answers about itself"`
}

func newDocument(types Types) *document {
	doc := &document{Broker: types.Broker(), Plugins: new([]struct{})}
	if types.Plugins != nil {
		doc.Plugins = types.Plugins()
	}
	setDefaults(reflect.ValueOf(doc).Elem())
	return doc
}

func (d *document) Validate() error {
	if d.Node == "" {
		return fmt.Errorf("node: missing; name this relay, such as node: alice")
	}
	return checkName("node", d.Node)
}

// subscription is one thing that this site wants. A single word is its filter.
type subscription struct {
	Filter    string   `yaml:"filter" doc:"filter of what is wanted"`
	From      []string `yaml:"from" doc:"names of the peers it is asked of"`
	AddPrefix string   `yaml:"add_prefix" doc:"put before the topic of what arrives"`
	MaxQoS    qos      `yaml:"max_qos" enum:"0,1,2" doc:"what arrives is published with at most this QoS: 0, 1 or 2"`
	Stages    []stage  `yaml:"stages" doc:"the steps that what arrives takes, a list in their order"`

	missing bool // the filter is
}

func (s *subscription) SetDefaults() { s.MaxQoS = 2 }

func (s *subscription) Validate() error {
	var prefix error
	if s.AddPrefix != "" {
		prefix = matching.ValidateTopic(s.AddPrefix)
	}
	return errors.Join(keyed("filter", s.checkFilter()), keyed("add_prefix", prefix))
}

func (s *subscription) checkFilter() error {
	if s.missing {
		return errors.New(`missing; give a topic filter, such as "doors/#"`)
	}
	return matching.ValidateInterest(s.Filter)
}

func (s *subscription) decodeNode(d *decoder, n *yaml.Node, path string) {
	if n.Kind != yaml.ScalarNode {
		s.missing = true
		for i := 0; i < len(n.Content); i += 2 {
			s.missing = s.missing && n.Content[i].Value != "filter"
		}
		d.structure(n, reflect.ValueOf(s).Elem(), path)
		return
	}
	if d.scalar(n, reflect.ValueOf(&s.Filter).Elem(), path, ""); !d.problems.in(path) {
		if err := matching.ValidateInterest(s.Filter); err != nil {
			d.report(path, "%s", err)
		}
	}
}

type peer struct {
	Name string            `yaml:"name" doc:"the peer's node name"`
	Key  publicKey         `yaml:"key" doc:"its public key as weft id prints it there"`
	At   map[string]string `yaml:"at" doc:"its name on a transport, where that differs: {TRANSPORT: NAME}"`
}

func (p *peer) Validate() error { return checkName("name", p.Name) }

type route struct {
	Name  string   `yaml:"name" doc:"name of the route"`
	Match []string `yaml:"match" doc:"list of filters of the messages that it takes"`
	To    string   `yaml:"to" doc:"the name of a transport"`
	Mode  string   `yaml:"mode" enum:"direct,broadcast" doc:"direct: to the peers whose filters match, sealed for them alone if they have a key"`
	QoS   qos      `yaml:"qos" enum:"0,1,2" doc:"messages travel with at most this QoS: 0, 1 or 2"`

	Priority int   `yaml:"priority" doc:"-100 to 100; the higher goes first where a transport has not room for all"`
	Batch    batch `yaml:"batch" doc:"when a frame is full"`
	Queue    queue `yaml:"queue" doc:"what may wait for one destination"`

	Stages []stage `yaml:"stages" doc:"the steps that the route's messages take, a list in their order"`
}

// maxPriority bounds a route's priority both ways.
const maxPriority = 100

func (r *route) SetDefaults() { r.Mode, r.QoS = string(pipeline.Direct), 1 }

func (r *route) Validate() error {
	errs := []error{
		checkName("name", r.Name),
		oneOf("mode", r.Mode, pipeline.Direct, pipeline.Broadcast),
		within("priority", r.Priority, -maxPriority, maxPriority, strconv.Itoa),
	}
	if len(r.Match) == 0 {
		errs = append(errs, errors.New(`match: missing; list topic filters, such as ["doors/#"]`))
	}
	for i, filter := range r.Match {
		errs = append(errs, keyed(fmt.Sprintf("match[%d]", i), matching.ValidateInterest(filter)))
	}
	return errors.Join(errs...)
}

// batch says when a frame is full; whichever comes first closes it.
type batch struct {
	Count  int           `yaml:"count" doc:"messages of a full frame, 1 to 65536"`
	Bytes  int           `yaml:"bytes" weft:"size" doc:"size of a full frame before compression, 1KiB to 64MiB"`
	Period time.Duration `yaml:"period" doc:"how long a frame waits for more, from its first message, up to 1h"`
}

func (b *batch) SetDefaults() { b.Count, b.Bytes = 1000, 256<<10 }

func (b *batch) Validate() error {
	return errors.Join(
		within("count", b.Count, 1, frame.MaxMessages, strconv.Itoa),
		within("bytes", int64(b.Bytes), 1<<10, 64<<20, formatSize),
		within("period", b.Period, 0, time.Hour, formatDuration))
}

// queue bounds each lane of a route.
type queue struct {
	Bytes    int64         `yaml:"bytes" weft:"size" doc:"size of the messages that wait for one destination, 64KiB to 1024TiB"`
	Age      time.Duration `yaml:"age" doc:"older messages are dropped, and counted; 1s to 3650d"`
	WhenFull string        `yaml:"when_full" enum:"block,drop_oldest,drop_new" doc:"block: the broker keeps what is new, for every destination of this node"`
}

func (q *queue) SetDefaults() { q.Bytes, q.Age, q.WhenFull = 1<<30, 7*day, string(lanes.DropOldest) }

func (q *queue) Validate() error {
	return errors.Join(
		within("bytes", q.Bytes, 64<<10, 1<<50, formatSize),
		within("age", q.Age, time.Second, 3650*day, formatDuration),
		oneOf("when_full", q.WhenFull, lanes.Block, lanes.DropOldest, lanes.DropNew))
}

// Admin is the HTTP service in which a node answers about itself: health, metrics, status.
type Admin struct {
	Listen string `yaml:"listen" weft:"address" doc:"HOST:PORT of the HTTP service with /healthz, /readyz, /metrics"`
}

// SetDefaults listens on loopback.
func (a *Admin) SetDefaults() { a.Listen = "127.0.0.1:9883" }

// qos is a QoS of MQTT.
type qos byte

func (q *qos) UnmarshalText(text []byte) error {
	if s := string(text); s != "0" && s != "1" && s != "2" {
		return fmt.Errorf("%q is no QoS; write 0, 1 or 2", s)
	}
	*q = qos(text[0] - '0')
	return nil
}

// publicKey is a peer's key as `weft id` prints it; empty when it was not given.
type publicKey []byte

func (k *publicKey) UnmarshalText(text []byte) error {
	key, err := identity.ParseKey(string(text))
	*k = publicKey(key)
	return err
}

var nameForm = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)

func checkName(key, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%s: missing; give a name of 1 to 32 of a-z 0-9 _ -", key)
	case !nameForm.MatchString(name):
		return fmt.Errorf("%s: %q is no name; write 1 to 32 of a-z 0-9 _ -", key, name)
	}
	return nil
}

// keyed puts the key before an error, if there is one.
func keyed(key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", key, err)
}

func oneOf[T ~string](key, word string, known ...T) error {
	if slices.Contains(known, T(word)) {
		return nil
	}
	words := make([]string, len(known))
	for i, k := range known {
		words[i] = string(k)
	}
	return fmt.Errorf("%s: unknown word %q; %s", key, word, suggest(word, words))
}

func within[T int | int64 | time.Duration](key string, n, least, most T, format func(T) string) error {
	if n < least || n > most {
		return fmt.Errorf("%s: %s is out of range; write %s to %s", key, format(n), format(least), format(most))
	}
	return nil
}
