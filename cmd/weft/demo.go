package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
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

func newDemo() *cobra.Command {
	var duration time.Duration
	var over string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show two sites talking, on this machine and with nothing installed",
		Long: `Demo runs two sites in one process: alice and bob, each with a built-in broker and a relay, joined by a NATS server
embedded in alice's, or with --over twister by a simulated Twister network. Sensors publish at both; you see what crosses
and the lanes it crosses in, and get three commands to try from other terminals. It uses free ports of the loopback
interface and a temporary folder, and leaves nothing behind.`,
		Example: `  weft demo                  until Ctrl-C
  weft demo --duration 10s   for ten seconds
  weft demo --over twister   over a simulated Twister network, with daemons as slow as real ones`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if duration > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, duration)
				defer cancel()
			}
			return runDemo(ctx, over, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&over, "over", "nats", "`network` between the sites: nats or twister")
	cmd.Flags().DurationVar(&duration, "duration", 0, "stop after this time, such as 30s; 0 runs until Ctrl-C")
	return cmd
}

// demoSite is one of the two sites.
type demoSite struct {
	name   string
	broker string // URL of its broker
	admin  string // address of its admin service
	app    *fx.App
	node   *pipeline.Node
	client *plugins.Client // of its sensors
	eye    *plugins.Client // watches everything
	seen   recent
}

// demoConfig is the file of a site. What a reader of the demo's code should notice: this is all there is.
var demoConfig = tmpl.Must(tmpl.New("").Parse(`node: {{.Name}}
broker: {embedded: {listen: "{{.Broker}}"}}
peers:
  - {name: {{.Peer}}, key: "{{.PeerKey}}"}
subscribe: {{.Subscribe}}
transports:
  hub: {{.Hub}}
routes:
  - {name: readings, match: ["sensors/#", "doors/#", "fridges/#", "hello/#"], to: hub, qos: 2}
  - {name: alarms, match: ["alarms/#"], to: hub, mode: broadcast}
admin: {listen: "{{.Admin}}"}
`))

// demoNetwork is what joins the sites.
type demoNetwork struct {
	title string
	hubs  [2]string // the transport of each site, as in its file
	close func()
}

// newDemoNetwork readies the network of that name.
func newDemoNetwork(over string) (demoNetwork, error) {
	switch over {
	case "nats":
		address, err := freeAddress()
		return demoNetwork{
			title: "a NATS server embedded in alice's node",
			hubs: [2]string{
				`{type: nats, limits: {bytes: 64MiB}, embedded: {listen: "` + address + `"}}`,
				`{type: nats, limits: {bytes: 64MiB}, url: "nats://` + address + `"}`,
			},
			close: func() {},
		}, err
	case "twister":
		simulation, err := plugins.SimulateTwister("alice", "bob")
		if err != nil {
			return demoNetwork{}, err
		}
		n := demoNetwork{title: "a SIMULATED Twister network (daemons inside this process, none of the real ones)", close: simulation.Close}
		for i, user := range []string{"alice", "bob"} {
			n.hubs[i] = fmt.Sprintf("{type: twister, url: %q, user: %s, poll: 100ms, profile_poll: 1s, receipt_delay: 300ms}", simulation.URL(user), user)
		}
		return n, nil
	}
	return demoNetwork{}, usageError{fmt.Errorf("--over: %q is neither nats nor twister", over)}
}

func runDemo(ctx context.Context, over string, out io.Writer) (err error) {
	network, err := newDemoNetwork(over)
	if err != nil {
		return err
	}
	defer network.close()
	dir, err := os.MkdirTemp("", "weft-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintf(out, "Starting two sites, alice and bob, with built-in brokers and %s.\n", network.title)
	sites, err := newDemoSites(dir, network.hubs)
	if err != nil {
		return err
	}
	for _, s := range sites {
		if err := s.start(ctx); err != nil {
			return errors.Join(err, stopDemo(sites))
		}
	}
	defer func() { err = errors.Join(err, stopDemo(sites)) }()
	fmt.Fprintln(out, "Waiting until each knows what the other one wants.")
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

// newDemoSites writes both configurations and builds the nodes.
func newDemoSites(dir string, hubs [2]string) ([]*demoSite, error) {
	var ports [4]string // two brokers and two admin services
	for i := range ports {
		port, err := freeAddress()
		if err != nil {
			return nil, err
		}
		ports[i] = port
	}
	wants := []string{`["fridges/#", "alarms/#", "hello/#"]`, `["sensors/#", "doors/#", "alarms/#", "hello/#"]`}
	sites := []*demoSite{{name: "alice"}, {name: "bob"}}
	var keys [2]string
	for i, s := range sites {
		id, err := identity.Load(filepath.Join(dir, s.name))
		if err != nil {
			return nil, err
		}
		keys[i] = identity.FormatKey(id.Public())
	}
	for i, s := range sites {
		var text strings.Builder
		err := demoConfig.Execute(&text, map[string]string{
			"Name": s.name, "Broker": ports[i], "Admin": ports[2+i], "Peer": sites[1-i].name, "PeerKey": keys[1-i], "Subscribe": wants[i], "Hub": hubs[i],
		})
		if err != nil {
			return nil, err
		}
		if err := s.build(filepath.Join(dir, s.name+".yaml"), text.String(), "mqtt://"+ports[i], ports[2+i]); err != nil {
			return nil, err
		}
	}
	return sites, nil
}

// freeAddress returns a loopback address with a port that is free now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (s *demoSite) build(path, config, broker, admin string) error {
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return err
	}
	file, err := plugins.Load(path)
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler) // the view shows what there is to know
	s.broker, s.admin = broker, admin
	s.app = newApp(file, new(reloads), log, fx.Populate(&s.node))
	if err := s.app.Err(); err != nil {
		return fmt.Errorf("site %s: %w", s.name, err)
	}
	if s.client, err = plugins.NewClient(broker, log); err != nil {
		return err
	}
	s.eye, err = plugins.NewClient(broker, log)
	return err
}

func (s *demoSite) start(ctx context.Context) error {
	if err := s.app.Start(ctx); err != nil {
		return fmt.Errorf("site %s: %w", s.name, err)
	}
	return errors.Join(s.client.Start(ctx), s.eye.Start(ctx))
}

// stopDemo stops the sites in the reverse order: alice's node holds the network.
func stopDemo(sites []*demoSite) error {
	var errs []error
	for _, s := range slices.Backward(sites) {
		ctx, cancel := context.WithTimeout(context.Background(), pipeline.StopTimeout)
		errs = append(errs, s.client.Close(), s.eye.Close(), s.app.Stop(ctx))
		cancel()
	}
	return errors.Join(errs...)
}

// awaitPeers waits until each site knows what the other one wants, and reports whether ctx is still alive.
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
		if known == len(sites) {
			return true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

// sensors publishes at both sites until ctx ends.
func sensors(ctx context.Context, sites []*demoSite) {
	alice, bob := sites[0].client, sites[1].client
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
