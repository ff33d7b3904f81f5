package cli

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	tmpl "text/template"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/fx"

	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/pipeline/identity"
	"github.com/weft-relay/weft/plugins"
)

func newDemo(g *globals) *cobra.Command {
	var duration time.Duration
	var over string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show three sites talking, on this machine and with nothing installed",
		Long: `Demo runs three sites in one process: alice, bob and carol, each with a built-in broker and a relay. The relays are a mesh of
their own, with no server: bob's and carol's are told where alice's is, and find each other. With --over nats a NATS server
embedded in alice's joins them, with --over twister a simulated Twister network. Sensors publish at all three; you see what
crosses and the lanes it crosses in, and get commands to try from other terminals. It uses free ports of the loopback interface
and a temporary folder, needs no other network, and leaves nothing behind.`,
		Example: `  weft demo                  until Ctrl-C
  weft demo --duration 10s   for ten seconds
  weft demo --over nats      over a NATS server inside one of the relays
  weft demo --over twister   over a simulated Twister network, with daemons as slow as real ones`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if duration > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, duration)
				defer cancel()
			}
			return runDemo(ctx, g.set, over, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&over, "over", "mesh", "`network` between the sites: mesh, nats or twister")
	cmd.Flags().DurationVar(&duration, "duration", 0, "stop after this time, such as 30s; 0 runs until Ctrl-C")
	return cmd
}

// demoSite is one of the sites.
type demoSite struct {
	name   string
	wants  []string // filters
	key    ed25519.PublicKey
	broker string // address of its broker
	admin  string // address of its admin service
	hub    string // the transport, as in its file
	app    *fx.App
	node   *pipeline.Node
	client *plugins.Client // of its sensors
	eye    *plugins.Client // watches everything
	seen   recent
}

// demoConfig is the file of a site. What a reader of the demo's code should notice: this is all there is.
var demoConfig = tmpl.Must(tmpl.New("").Parse(`node: {{.Name}}
broker: {embedded: {listen: "{{.Broker}}"}}
peers:{{range .Peers}}
  - {{.}}{{end}}
subscribe:{{range .Wants}}
  - "{{.}}"{{end}}
transports:
  hub: {{.Hub}}
routes:
  - {name: readings, match: ["sensors/#", "doors/#", "fridges/#", "meters/#", "hello/#"], to: hub, qos: 2}
  - {name: alarms, match: ["alarms/#"], to: hub, mode: broadcast}
admin: {listen: "{{.Admin}}"}
`))

// newDemoSites makes the sites' identities, and finds room for them.
func newDemoSites(dir string) ([]*demoSite, error) {
	sites := []*demoSite{
		{name: "alice", wants: []string{"fridges/#", "meters/#", "alarms/#", "hello/#"}},
		{name: "bob", wants: []string{"sensors/#", "doors/#", "meters/#", "alarms/#", "hello/#"}},
		{name: "carol", wants: []string{"doors/#", "alarms/#", "hello/#"}},
	}
	for _, s := range sites {
		id, err := identity.Load(filepath.Join(dir, s.name))
		if err != nil {
			return nil, err
		}
		s.key = id.Public()
		if s.broker, err = freeAddress(); err != nil {
			return nil, err
		}
		if s.admin, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	return sites, nil
}

// joinDemo readies the network of that name, and returns what it is and what ends it.
func joinDemo(over string, sites []*demoSite) (title string, end func(), err error) {
	switch over {
	case "mesh":
		return "a mesh of their relays, with no server", func() {}, joinMesh(sites)
	case "nats":
		address, err := freeAddress()
		for i, s := range sites {
			s.hub = fmt.Sprintf("{type: nats, url: %q}", "nats://"+address)
			if i == 0 {
				s.hub = fmt.Sprintf("{type: nats, limits: {bytes: 64MiB}, embedded: {listen: %q}}", address)
			}
		}
		return "a NATS server embedded in alice's relay", func() {}, err
	case "twister":
		var users []string
		for _, s := range sites {
			users = append(users, s.name)
		}
		simulation, err := plugins.SimulateTwister(users...)
		if err != nil {
			return "", nil, err
		}
		for _, s := range sites {
			s.hub = fmt.Sprintf("{type: twister, url: %q, user: %s, poll: 100ms, profile_poll: 1s, receipt_delay: 300ms}", simulation.URL(s.name), s.name)
		}
		return "a SIMULATED Twister network (daemons inside this process, none of the real ones)", simulation.Close, nil
	}
	return "", nil, usageError{fmt.Errorf("--over: %q is none of mesh, nats and twister", over)}
}

// joinMesh tells the others where the first site is, as their owners would. They find each other by themselves.
func joinMesh(sites []*demoSite) error {
	first := ""
	for _, s := range sites {
		address, err := freeAddress()
		if err != nil {
			return err
		}
		_, port, _ := strings.Cut(address, ":")
		listen := "/ip4/127.0.0.1/tcp/" + port
		s.hub = fmt.Sprintf("{type: kademlia, listen: [%s], mdns: false, bootstrap: [%s]}", listen, first)
		if first == "" {
			id, err := plugins.MeshID(s.key)
			if err != nil {
				return err
			}
			first = listen + "/p2p/" + id
		}
	}
	return nil
}

func runDemo(ctx context.Context, set *plugins.Set, over string, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "weft-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	sites, err := newDemoSites(dir)
	if err != nil {
		return err
	}
	title, end, err := joinDemo(over, sites)
	if err != nil {
		return err
	}
	defer end()
	fmt.Fprintf(out, "Starting three sites, alice, bob and carol, with built-in brokers, joined by %s.\n", title)
	for _, s := range sites {
		if err := s.build(set, dir, sites); err != nil {
			return fmt.Errorf("site %s: %w", s.name, err)
		}
	}
	defer func() { err = errors.Join(err, stopDemo(sites)) }()
	for _, s := range sites {
		if ctx.Err() != nil {
			return nil
		}
		if err := s.start(context.WithoutCancel(ctx)); err != nil {
			return fmt.Errorf("site %s: %w", s.name, err)
		}
	}
	fmt.Fprintln(out, "Waiting until each knows what the others want.")
	if !awaitPeers(ctx, sites) {
		fmt.Fprintln(out, "Stopping before they do.")
		return nil
	}
	var work sync.WaitGroup
	work.Go(func() { sensors(ctx, sites) })
	for _, s := range sites {
		work.Go(func() { s.watch(ctx) })
	}
	view{out: out, sites: sites}.run(ctx)
	work.Wait()
	fmt.Fprintln(out, "Stopping.")
	return nil
}

// Ports of the demo: below those that systems give to outgoing connections, one of which could else take a port before its server has
// started.
const (
	firstPort = 10_000
	lastPort  = 30_000
)

// freeAddress returns a loopback address with a port that is free now.
func freeAddress() (address string, err error) {
	for range 100 {
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(lastPort-firstPort))); err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", err
}

// build writes the site's file and builds its node.
func (s *demoSite) build(set *plugins.Set, dir string, sites []*demoSite) error {
	var peers []string
	for _, other := range sites {
		if other != s {
			peers = append(peers, peerEntry(other.name, identity.FormatKey(other.key)))
		}
	}
	var text strings.Builder
	err := demoConfig.Execute(&text, map[string]any{
		"Name": s.name, "Broker": s.broker, "Admin": s.admin, "Peers": peers, "Wants": s.wants, "Hub": s.hub,
	})
	if err != nil {
		return err
	}
	path := filepath.Join(dir, s.name+".yaml")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		return err
	}
	file, err := set.Load(path)
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler) // the view shows what there is to know
	s.app = newApp(set, file, new(reloads), log, fx.Populate(&s.node))
	if err := s.app.Err(); err != nil {
		return err
	}
	if s.client, err = plugins.NewClient(s.url(), log); err != nil {
		return err
	}
	s.eye, err = plugins.NewClient(s.url(), log)
	return err
}

func (s *demoSite) url() string { return "mqtt://" + s.broker }

// start starts the node and the clients. A ctx that ends meanwhile leaves hooks running, for which fx does not wait.
func (s *demoSite) start(ctx context.Context) error {
	if err := s.app.Start(ctx); err != nil {
		return err
	}
	return errors.Join(s.client.Start(ctx), s.eye.Start(ctx))
}

// stopDemo stops the sites in the reverse order: alice's node may hold the network.
func stopDemo(sites []*demoSite) error {
	var errs []error
	for _, s := range slices.Backward(sites) {
		ctx, cancel := context.WithTimeout(context.Background(), pipeline.StopTimeout)
		errs = append(errs, s.client.Close(), s.eye.Close(), s.app.Stop(ctx))
		cancel()
	}
	return errors.Join(errs...)
}

// awaitPeers waits until each site knows what the others want, and reports whether ctx is still alive.
func awaitPeers(ctx context.Context, sites []*demoSite) bool {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		known := 0
		for _, s := range sites {
			for _, p := range s.node.Status().Peers {
				if p.ListsUs {
					known++
				}
			}
		}
		if known == len(sites)*(len(sites)-1) {
			return true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

// sensors publishes at the sites until ctx ends.
func sensors(ctx context.Context, sites []*demoSite) {
	alice, bob, carol := sites[0].client, sites[1].client, sites[2].client
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		at := func(every int, client *plugins.Client, m plugins.Message) {
			if n%every == 0 {
				_ = client.Publish(ctx, m) // ends with the demo, or else the view shows that nothing moves
			}
		}
		at(1, alice, plugins.Message{Topic: "sensors/kitchen", QoS: 1, Payload: fmt.Appendf(nil, `{"temperature":%.1f}`, 20+float64(n%50)/10)})
		at(5, bob, plugins.Message{Topic: "fridges/1", Payload: fmt.Appendf(nil, `{"temperature":%.1f}`, 4+float64(n%20)/10)})
		at(10, carol, plugins.Message{Topic: "meters/hall", QoS: 1, Payload: fmt.Appendf(nil, `{"watts":%d}`, 200+n%70)})
		at(20, alice, plugins.Message{Topic: "doors/front", QoS: 2, Retain: true, Payload: []byte([]string{"open", "closed"}[n/20%2])})
		at(50, bob, plugins.Message{Topic: "alarms/test", QoS: 1, Payload: fmt.Appendf(nil, "drill %d", n/50)})
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// watch notes everything that the site's broker hands out.
func (s *demoSite) watch(ctx context.Context) {
	err := s.eye.Subscribe(ctx, []string{"#"}, 2, func(m plugins.Message) bool {
		s.seen.add(m)
		return true
	})
	if err != nil && ctx.Err() == nil {
		s.seen.add(plugins.Message{Topic: "watching the broker ended", Payload: []byte(err.Error())})
	}
}
