package configs

import (
	"crypto/ed25519"
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/pipeline/lanes"
)

// transport is one entry of the mapping: its type, and beside it the keys of that type.
type transport struct {
	Type   string `yaml:"type" doc:"one of the types of transports"`
	config any
	proves bool // the network proves names itself, so that a peer needs no key
}

func (t *transport) decodeNode(d *decoder, n *yaml.Node, path string) {
	if isNull(n) || !d.expect(n, yaml.MappingNode, path, "a mapping (key: value)") {
		return
	}
	known := make([]string, len(d.types.Transports))
	for i, kind := range d.types.Transports {
		known[i] = kind.Name
	}
	at := d.typed(n, &t.Type, known, path)
	if o := d.remote(t.Type, n, path); o != nil {
		t.config = o
		return
	}
	if at >= 0 {
		kind := d.types.Transports[at]
		v := fresh(kind.Config)
		t.config, t.proves = v.Addr().Interface(), !kind.NeedsKey
		d.structure(n, v, path, "type")
	}
}

// addDefault gives a file that lists peers and names no transport the one that needs nothing else.
func (d *decoder) addDefault(doc *document) {
	at := slices.IndexFunc(d.types.Transports, func(k TransportType) bool { return k.Default })
	if len(doc.Peers) == 0 || len(doc.Transports) > 0 || at < 0 {
		return
	}
	kind := d.types.Transports[at]
	config := fresh(kind.Config).Addr().Interface()
	doc.Transports = map[string]transport{DefaultTransport: {Type: kind.Name, config: config, proves: !kind.NeedsKey}}
}

// checkNames checks that each name is given once, and that each name that is referred to is there.
func (d *decoder) checkNames(doc *document) {
	transports := slices.Collect(maps.Keys(doc.Transports))
	for _, name := range slices.Sorted(slices.Values(transports)) {
		if !nameForm.MatchString(name) {
			d.report(under("transports", name), "%q is no name; write 1 to 32 of a-z 0-9 _ -", name)
		}
	}
	d.checkPrograms(doc)
	peers := d.checkPeers(doc, transports)
	for i, s := range doc.Subscribe {
		for j, name := range s.From {
			if !slices.Contains(peers, name) {
				d.report(fmt.Sprintf("subscribe[%d].from[%d]", i, j), "no peer %q; %s", name, suggest(name, peers))
			}
		}
	}
	var routes []string
	for i, r := range doc.Routes {
		at := fmt.Sprintf("routes[%d]", i)
		d.checkOnce(at+".name", "route", r.Name, routes)
		routes = append(routes, r.Name)
		switch {
		case r.To == "" && len(transports) == 1:
			doc.Routes[i].To = transports[0]
			r.To = transports[0]
		case r.To == "" && r.Name == "" && r.Match == nil: // nothing of it could be read
		case r.To == "" && len(transports) == 0:
			d.report(at+".to", "missing; name a transport, or list peers, which a mesh joins where no transport is named")
		case r.To == "":
			d.report(at+".to", "missing; name one of the transports")
		case !slices.Contains(transports, r.To):
			d.report(at+".to", "no transport %q; %s", r.To, suggest(r.To, transports))
		}
		d.checkReach(doc, r, at)
	}
	d.checkOverlaps(doc)
}

func (d *decoder) checkPeers(doc *document, transports []string) (names []string) {
	for i, p := range doc.Peers {
		at := fmt.Sprintf("peers[%d]", i)
		d.checkOnce(at+".name", "peer", p.Name, names)
		names = append(names, p.Name)
		if p.Name != "" && p.Name == doc.Node {
			d.report(at+".name", "%q is this node itself; list the others", p.Name)
		}
		same := func(other peer) bool { return len(p.Key) > 0 && slices.Equal(p.Key, other.Key) }
		if first := slices.IndexFunc(doc.Peers[:i], same); first >= 0 {
			d.report(at+".key", "the same key as that of %q; each node has its own, paste what `weft id` prints there", names[first])
		}
		for _, name := range slices.Sorted(maps.Keys(p.At)) {
			if !slices.Contains(transports, name) {
				d.report(at+".at."+name, "no transport %q; %s", name, suggest(name, transports))
			}
		}
		d.checkAddresses(doc.Peers[:i], p, at, transports)
		d.checkKey(doc, p, at)
	}
	return names
}

// checkAddresses reports a peer that has the name of an earlier one on a transport: each would get what is for the other.
func (d *decoder) checkAddresses(before []peer, p peer, at string, transports []string) {
	for _, transport := range slices.Sorted(slices.Values(transports)) {
		path := at + ".name"
		if _, given := p.At[transport]; given {
			path = at + ".at." + transport
		}
		for _, other := range before {
			if name := p.on(transport); other.Name != p.Name && name == other.on(transport) && name != "" {
				d.report(path, "%q is the name of %q on transport %q already; write in at what this peer is called there", name, other.Name, transport)
				break
			}
		}
	}
}

// on returns the peer's name on a transport.
func (p peer) on(transport string) string { return p.plain().On(transport) }

// checkKey reports a peer that has no key where a transport needs one. A peer with an `at` in which all transports prove
// names themselves is reached over those alone, and needs none.
func (d *decoder) checkKey(doc *document, p peer, at string) {
	if len(p.Key) > 0 || d.problems.in(at+".key") {
		return
	}
	over := slices.Sorted(maps.Keys(p.At))
	proven := func(name string) bool { return doc.Transports[name].proves }
	if len(over) > 0 && !slices.ContainsFunc(over, func(name string) bool { return !proven(name) }) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Transports)) {
		if t := doc.Transports[name]; t.config != nil && !t.proves {
			cure := "paste what `weft id` prints on that peer"
			if len(over) == 0 && slices.ContainsFunc(slices.Sorted(maps.Keys(doc.Transports)), proven) {
				cure += ", or list in at the transports that need none and reach it"
			}
			d.report(at+".key", "missing, and transport %q (%s) needs it; %s", name, t.Type, cure)
			return
		}
	}
}

// checkReach reports a direct route over a transport that reaches none of the peers: it would carry nothing.
func (d *decoder) checkReach(doc *document, r route, at string) {
	t := doc.Transports[r.To]
	if r.Mode != string(pipeline.Direct) || t.config == nil || len(doc.Peers) == 0 || d.problems.in("peers") {
		return
	}
	if slices.ContainsFunc(doc.Peers, func(p peer) bool { return p.plain().ReachedOver(r.To, t.proves) }) {
		return
	}
	why := "none of the peers has a key, which it needs; paste what `weft id` prints there"
	if t.proves {
		why = "the peers without a key have other transports in at; add this one"
	}
	d.report(at+".to", "no peer is reached over %q, so that the route carries nothing: %s, or lead the route elsewhere", r.To, why)
}

func (d *decoder) checkOnce(path, what, name string, before []string) {
	if name != "" && slices.Contains(before, name) {
		d.report(path, "a second %s named %q; give each its own name", what, name)
	}
}

func (s subscription) plain() pipeline.Subscription {
	return pipeline.Subscription{Filter: s.Filter, From: s.From, AddPrefix: s.AddPrefix, MaxQoS: byte(s.MaxQoS)}
}

func (p peer) plain() pipeline.Peer {
	return pipeline.Peer{Name: p.Name, Key: ed25519.PublicKey(p.Key), At: p.At}
}

func (r route) plain() pipeline.Route {
	return pipeline.Route{
		Name: r.Name, Match: r.Match, To: r.To, Mode: pipeline.Mode(r.Mode), QoS: byte(r.QoS), Priority: r.Priority,
		Batch: pipeline.Batch{Count: r.Batch.Count, Bytes: r.Batch.Bytes, Period: r.Batch.Period},
		Queue: lanes.Limits{Bytes: r.Queue.Bytes, Age: r.Queue.Age, WhenFull: lanes.WhenFull(r.Queue.WhenFull)},
	}
}
