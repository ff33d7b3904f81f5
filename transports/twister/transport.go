package twister

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/rpc"
)

// ErrClosed is returned by what is called before Start or after Close.
var ErrClosed = errors.New("transport is not running")

// Transport carries frames over Twister. It is safe for concurrent use.
type Transport struct {
	config Config
	log    *slog.Logger
	status *status
	client *rpc.Client
	poster *poster
	daemon *daemon
	users  []string // of the peers, sorted
	peers  map[string]*peer

	directory *directory
	feed      *feed

	subscribed chan struct{}       // holds a token while there is a subscription of the inbox
	strangers  map[string]position // of users who are no peers any more, and may be again
	saveFailed error               // only keep touches it
	complained time.Time           // when messages that cannot be read were last warned of; only poll touches it

	mu      sync.Mutex
	started bool
	closed  bool
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	lock    *os.File // of the state
	running sync.WaitGroup
}

// peer is both ways between this node's user and another.
type peer struct {
	user   string
	origin *origin
	outbox *outbox
}

// New returns a transport that is not started. It does no I/O.
func New(c Config, log *slog.Logger) (*Transport, error) {
	c.SetDefaults()
	if err := errors.Join(c.Validate(), c.validatePeers()); err != nil {
		return nil, err
	}
	client, err := rpc.New(rpc.Config{URL: c.URL})
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	t := &Transport{
		config: c, log: log, status: newStatus(log), client: client, poster: newPoster(c, client, log), peers: map[string]*peer{},
		subscribed: make(chan struct{}, 1),
	}
	t.daemon = newDaemon(c, client, t.status, t.poster.last, log)
	t.poster.daemon, t.poster.begins = t.daemon, t.beginSession
	t.daemon.registered, t.daemon.used = t.poster.registered, t.poster.found
	t.directory = newDirectory(c, client, t.daemon, t.status, log)
	t.feed = newFeed(c, client, t.daemon, t.status, t.poster.post, log)
	for _, user := range c.Peers {
		if user != c.User && t.peers[user] == nil {
			t.users = append(t.users, user)
			t.peers[user] = t.newPeer(user)
		}
	}
	slices.Sort(t.users)
	return t, nil
}

func (t *Transport) newPeer(user string) *peer {
	p := &peer{user: user, origin: newOrigin(user, t.config, t.status), outbox: newOutbox(user, t.config, t.status)}
	p.origin.foreign = t.foreign
	p.outbox.ride, p.outbox.rode = p.origin.ride, p.origin.rode
	p.outbox.post = func(m post, done func(int, error)) { t.poster.enqueue(t.ctx, m, done) }
	return p
}

// Start reads what the last run has kept and begins to look for the daemon. It fails while another transport of the same user runs
// in the same folder: both would use the same k.
func (t *Transport) Start(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.started {
		return errors.New("transport was started before")
	}
	if err := makeFolder(t.config); err != nil {
		return err
	}
	lock, err := lockFolder(t.config.folder())
	if err != nil {
		return fmt.Errorf("state of the transport: %w", err)
	}
	if err := t.load(); err != nil {
		return errors.Join(err, lock.Close())
	}
	t.lock = lock
	t.ctx, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
	t.started = true
	for _, run := range []func(context.Context){t.daemon.run, t.poster.run, t.directory.run, t.poll, t.keep} {
		t.running.Go(func() { run(t.ctx) })
	}
	return nil
}

// load reads the state, and counts the start.
func (t *Transport) load() error {
	for _, load := range []func() error{t.poster.load, t.directory.load, t.feed.load} {
		if err := load(); err != nil {
			return err
		}
	}
	if err := t.loadPositions(); err != nil {
		return err
	}
	var starts struct {
		Epoch uint32 `json:"epoch"`
	}
	path := statePath(t.config, "epoch.json")
	if err := loadState(path, &starts); err != nil {
		return err
	}
	// By the clock, so that it grows also where the folder was lost; and by two, for the outboxes have this one or the next.
	starts.Epoch = max(starts.Epoch+2, uint32(time.Now().Unix()))
	if err := saveState(path, starts); err != nil {
		return fmt.Errorf("state of the transport: %w", err)
	}
	for _, p := range t.peers {
		p.outbox.epoch = epochFrom(starts.Epoch, t.config.User, p.user)
	}
	return nil
}

// beginSession posts again what the daemon has lost since it took it.
func (t *Transport) beginSession(ctx context.Context) {
	status, ok, err := t.client.TorrentStatus(ctx, t.config.User)
	if err != nil || !ok {
		return // without a torrent nothing was posted, or the receipts will tell
	}
	for _, p := range t.peers {
		p.outbox.lost(status)
	}
}

// Close ends everything that the transport has started. Frames that were not confirmed are given up: whoever has published them
// publishes them again.
func (t *Transport) Close() error {
	t.mu.Lock()
	if !t.started || t.closed {
		t.mu.Unlock()
		return nil
	}
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	t.running.Wait()
	t.savePositions()
	t.status.set(transports.Down, nil)
	return t.lock.Close()
}

// Report says how the transport fares, and what the user may still post.
func (t *Transport) Report() transports.Report {
	r := t.status.report()
	if b := t.poster.budget(); b.Height > 0 {
		r.Posts = &transports.Posts{Used: b.Used, Left: b.Left, Exact: b.Known, Refill: b.Refill}
	}
	return r
}

// MaxPayload returns the largest frame in bytes.
func (t *Transport) MaxPayload() int { return MaxPayload }

// Unit implements [transports.Measured]: what a direct message carries of a frame, in bytes.
func (t *Transport) Unit() int { return pieceSize }

// Patience implements [transports.Patient]: a receipt comes when the recipient's node has run, and posts are scarce.
func (t *Transport) Patience() time.Duration { return 0 }

// enter lets a goroutine of the transport run, which Close then waits for; it calls t.running.Done at its end.
func (t *Transport) enter() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.started || t.closed {
		return ErrClosed
	}
	t.running.Add(1)
	return nil
}
