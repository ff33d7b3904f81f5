package plugintest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"

	pluginv1 "github.com/weft-relay/weft/plugins/proto/weft/plugin/v1"
	"github.com/weft-relay/weft/plugins/remote"
	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/transporttest"
)

// transport holds a type of transport to the contract of transports, as far as the options of one or more nodes allow.
func (r *run) transport(t remote.Type) {
	if !r.taken(t) {
		return
	}
	var bounded bool
	reported := r.check("ReportTellsTheState", func(ctx context.Context, trial *remote.Trial) (err error) {
		bounded, err = r.reports(ctx, trial, t)
		return err
	})
	r.check("ClosedHandleIsNotFound", func(ctx context.Context, trial *remote.Trial) error { return r.wantClosed(ctx, trial, t) })
	switch {
	case len(r.Options) < 2:
		r.skip("frames between two nodes", "that takes the options of two nodes on one network; give --options twice, once for each, if with the same text")
	case !reported:
		r.skip("frames between two nodes", "it does not connect")
	default:
		r.cases(t, bounded)
	}
	r.check("ProgramIsHealthyAfterwards", func(_ context.Context, trial *remote.Trial) error { return trial.Health() })
}

// reports opens the transport, and looks at what it says of itself: where there is a network for two, until it is up. It returns whether
// frames have a largest size.
func (r *run) reports(ctx context.Context, trial *remote.Trial, t remote.Type) (bounded bool, err error) {
	handle, err := r.opened(ctx, trial, t, 0)
	if err != nil {
		return false, err
	}
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(r.Timeout); ; <-poll.C {
		report, err := r.askReport(ctx, trial, handle)
		if err != nil {
			return false, err
		}
		up := report.State == pluginv1.State_STATE_UP
		switch {
		case report.State == pluginv1.State_STATE_UNSPECIFIED || pluginv1.State_name[int32(report.State)] == "":
			return false, fmt.Errorf("its state is %v; write one of up, connecting, stalled and down", report.State)
		case report.SinceUnixNano <= 0:
			return false, errors.New("it does not say since when its state is what it is; since_unix_nano is nanoseconds since 1970")
		case !up && len(r.Options) > 1 && time.Now().After(deadline):
			return false, fmt.Errorf("it is not up after %v, but %v: %q", r.Timeout, report.State, report.Detail)
		case !up && len(r.Options) > 1:
			continue
		}
		return report.MaxPayload > 0, r.want(ctx, trial, closeTransport(trial, handle), codes.OK)
	}
}

func (r *run) askReport(ctx context.Context, trial *remote.Trial, handle uint64) (report *pluginv1.ReportResponse, err error) {
	answer, err := r.ask(ctx, trial, func(ctx context.Context) (err error) {
		report, err = pluginv1.NewTransportServiceClient(trial.Conn()).Report(ctx, &pluginv1.ReportRequest{Handle: handle})
		return err
	})
	if err == nil && answer.Code() != codes.OK {
		err = errors.New(answer.Message())
	}
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return report, nil
}

// cases runs transporttest over instances of the transport that the program has.
func (r *run) cases(t remote.Type, bounded bool) {
	dir, err := os.MkdirTemp("", "weft-plugin-test-")
	if err != nil {
		r.note("folder of the nodes", err)
		return
	}
	defer os.RemoveAll(dir)
	features := transporttest.Features{Stores: r.Stores, Deduplicates: r.Deduplicates}
	session, failed := strconv.FormatUint(rand.Uint64N(1<<20)|1<<20, 36), 0
	for i, c := range transporttest.Cases() {
		switch {
		case c.Needs.Restarts:
			r.skip(c.Name, "this takes a network that the kit can take away; run transporttest in a test of your own")
		case c.Needs.Stores && !r.Stores:
			r.skip(c.Name, "this is for a network that keeps frames for whoever is away; give --stores if yours does")
		case c.Needs.Deduplicates && !r.Deduplicates:
			r.skip(c.Name, "this is for a network that drops a frame that is sent twice; give --deduplicates if yours does")
		case failed == maxFailedCases:
			r.skip(c.Name, "%d others have failed; cure those first", failed)
		default:
			n := &network{run: r, typ: t, bounded: bounded, dir: dir, mark: fmt.Sprintf("-%s-%d", session, i), at: map[string]int{}}
			if !r.check(c.Name, func(ctx context.Context, trial *remote.Trial) error { return n.runCase(ctx, trial, c, features) }) {
				failed++
			}
		}
	}
}

// network is what the nodes of one case have. On it, their names are marked: what earlier cases have left there is not meant for them.
type network struct {
	run     *run
	trial   *remote.Trial
	typ     remote.Type
	bounded bool
	dir     string
	mark    string
	at      map[string]int // which options a node has
}

// runCase runs a case until it or the program ends.
func (n *network) runCase(ctx context.Context, trial *remote.Trial, c transporttest.Case, features transporttest.Features) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n.trial = trial
	result := record(ctx, func(t transporttest.T) {
		c.Run(t, features, func(name string, follow ...string) transports.Transport { return n.node(t, name, follow) })
	})
	select {
	case err := <-result:
		return err
	case <-trial.Ended():
		return fmt.Errorf("the program has ended: %w", trial.Why())
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *network) node(t transporttest.T, name string, follow []string) transports.Transport {
	at, known := n.at[name]
	if !known {
		at = len(n.at)
		n.at[name] = at
	}
	if at >= len(n.run.Options) {
		t.Skip(fmt.Sprintf("this takes more nodes than the %d of which there are options; give --options once for each", len(n.run.Options)))
	}
	node := transports.Node{Name: name + n.mark, Transport: pluginName, DataDir: filepath.Join(n.dir, name+n.mark)}
	for _, peer := range follow {
		node.Peers = append(node.Peers, transports.Peer{Name: peer + n.mark})
	}
	c := &carrier{inner: n.trial.Transport(n.typ.Name, n.run.options(at), node), mark: n.mark}
	keeps, base := keeper{c}, marked{c}
	switch {
	case n.bounded && n.typ.Directory:
		return struct {
			marked
			bound
			keeper
		}{base, bound{c}, keeps}
	case n.bounded:
		return struct {
			marked
			bound
		}{base, bound{c}}
	case n.typ.Directory:
		return struct {
			marked
			keeper
		}{base, keeps}
	}
	return base
}
