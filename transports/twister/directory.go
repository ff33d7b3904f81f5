package twister

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/rpc"
)

const (
	profileReaders = 2              // at a time: a look takes eight seconds where the DHT is dead, and there are few connections
	profileRenewal = 24 * time.Hour // after which the own profile is put again, for nodes come and go
	profilePuts    = 3              // in a row, before the next poll
	olderTaken     = 3              // times that an older profile is read until it counts: the newer one is lost
	wishesLogged   = time.Hour      // between lines about one peer

	dropWishes = "filters_of_a_peer" // no text, or more than a profile holds
)

// directory shows the user's filters in his profile, and reads those of the peers in theirs.
//
// The daemon tells little: it never reads its own store, finds nothing without a word, and says of no put whether other nodes took
// it. So what was read or put last is kept on disk, and the filters are merged into that when nothing is found; a put counts
// once it is read back from elsewhere; and the seqs are such that nothing unseen is replaced (see profile.next).
type directory struct {
	config Config
	client *rpc.Client
	daemon *daemon
	status *status
	log    *slog.Logger
	path   string
	wake   wake          // for a wish that has changed
	looks  chan struct{} // holds a token for each look into the DHT

	mu      sync.Mutex // guards all that follows
	kept    directoryState
	wish    *wish
	older   map[string]int // how often a peer's profile was read that is older than the one kept
	logged  map[string]time.Time
	version map[string]int // of a peer's filters, from 1 on; 0 while nothing is known
	changed chan struct{}
}

// directoryState is what the directory keeps on disk.
type directoryState struct {
	Own   *profile             `json:"own,omitempty"`
	Peers map[string]peerState `json:"peers"`
}

type peerState struct {
	Seq     int      `json:"seq"`
	Filters []string `json:"filters"`
}

// wish is what ShowWishes was asked for.
type wish struct {
	filters []string
	shown   time.Time     // when it was last put; zero before
	done    chan struct{} // closed once it is shown, or refused
	err     error         // why it was refused
}

func (w *wish) finish(err error) {
	w.err = err
	close(w.done)
}

func (w *wish) isDone() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

func newDirectory(c Config, client *rpc.Client, d *daemon, st *status, log *slog.Logger) *directory {
	return &directory{
		config: c, client: client, daemon: d, status: st, log: log, path: statePath(c, "profiles.json"), wake: newWake(),
		looks: make(chan struct{}, profileReaders), kept: directoryState{Peers: map[string]peerState{}}, older: map[string]int{}, logged: map[string]time.Time{},
		version: map[string]int{}, changed: make(chan struct{}),
	}
}

// load reads what the last one kept, before anything else.
func (d *directory) load() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := loadState(d.path, &d.kept); err != nil {
		return err
	}
	peers := map[string]peerState{}
	for _, peer := range d.peers() {
		if state, ok := d.kept.Peers[peer]; ok {
			peers[peer] = state
			d.version[peer] = 1
		}
	}
	d.kept.Peers = peers
	return nil
}

// peers are those whose profiles are read.
func (d *directory) peers() []string {
	return slices.DeleteFunc(slices.Clone(d.config.Peers), func(peer string) bool { return peer == d.config.User })
}

// run reads the peers' profiles and puts the own one until ctx ends.
func (d *directory) run(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() { d.runPeers(ctx) })
	defer running.Wait()
	retry := d.config.Poll
	for {
		if _, err := d.daemon.await(ctx); err != nil {
			return
		}
		wait := d.config.ProfilePoll
		if d.keepShown(ctx) {
			retry = d.config.Poll
		} else {
			retry = min(2*retry, wait)
			wait = retry
		}
		d.wake.sleep(ctx, wait)
	}
}

// show returns when the filters can be read by others, or with an error when ctx ends; they are then shown as soon as it is possible.
func (d *directory) show(ctx context.Context, filters []string) error {
	w := &wish{filters: slices.Clone(filters), done: make(chan struct{})}
	d.mu.Lock()
	if err := fits(d.config.User, d.config.ProfileField, d.kept.Own.with(d.config.ProfileField, filters)); err != nil {
		d.mu.Unlock()
		return err
	}
	if old := d.wish; old != nil && !old.isDone() {
		old.finish(errors.New("other filters are shown instead"))
	}
	d.wish = w
	d.mu.Unlock()
	d.wake.up()
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return fmt.Errorf("filters are not seen in the DHT yet: %w", ctx.Err())
	}
}

// ShowWishes stores the filters in the user's profile, under the key ProfileField and among all else that the user keeps there, and
// returns when another node of the DHT has them. A profile takes 8192 bytes: more is refused for good. When ctx ends before,
// they are shown as soon as it is possible. They are put back when the profile is edited or lost.
func (t *Transport) ShowWishes(ctx context.Context, filters []string) error {
	if err := t.enter(); err != nil {
		return err
	}
	defer t.running.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	return t.directory.show(ctx, filters)
}

// WatchWishes delivers the filters in the peers' profiles, as they were last known, and then every change. The channel is closed
// when ctx ends or the transport is closed.
func (t *Transport) WatchWishes(ctx context.Context) (<-chan transports.Wishes, error) {
	if err := t.enter(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(t.ctx, cancel)
	out := make(chan transports.Wishes)
	go func() {
		defer t.running.Done()
		defer close(out)
		defer unhook()
		defer cancel()
		t.directory.watch(ctx, out)
	}()
	return out, nil
}
