package kademlia

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/weft-relay/weft/transports/kademlia/feedlog"
)

const (
	// maxGossip is the largest entry in bytes that is sent to everybody at once; of a larger one a notice is, and who wants it fetches it.
	maxGossip = 256 << 10
	// gossipRoom is the most that one message between nodes may have, in bytes.
	gossipRoom = 1 << 20
	// restTime is how long after the last entry its notice is sent once more, for those who have missed it.
	restTime = 2 * time.Second
)

// feeds are the broadcasts of this node and of those that it follows.
type feeds struct {
	t        *Transport
	gossip   *pubsub.PubSub
	own      *ownFeed
	followed []*followed
	byOrigin map[peer.ID]*followed
	logs     []*feedlog.Log // of all of them
}

// openFeeds opens the logs and joins the gossip.
func (t *Transport) openFeeds() error {
	f := t.feeds
	var err error
	f.serveAnybody()
	f.gossip, err = pubsub.NewGossipSub(t.ctx, t.host,
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), // entries are signed by their origin
		pubsub.WithMessageIdFn(func(m *pb.Message) string { sum := sha256.Sum256(m.Data); return string(sum[:]) }),
		pubsub.WithMaxMessageSize(gossipRoom),
		pubsub.WithFloodPublish(true),
		pubsub.WithSubscriptionFilter(pubsub.NewAllowlistSubscriptionFilter(t.feedTopics()...)), // or a stranger makes this node remember any number
		pubsub.WithRawTracer(&gossipCounter{self: t.host.ID(), messages: &t.gossiped}),
	)
	if err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	if f.own, err = t.openOwn(); err != nil {
		return err
	}
	for _, name := range t.config.Follow {
		p := t.byName[name]
		if p == nil || f.byOrigin[p.id] != nil {
			continue
		}
		followed, err := t.openFollowed(p)
		if err != nil {
			return err
		}
		f.followed = append(f.followed, followed)
		f.byOrigin[p.id] = followed
	}
	return nil
}

// feedDir is where a feed is kept.
func (t *Transport) feedDir(origin peer.ID) string {
	return filepath.Join(t.config.DataDir, "feeds", origin.String())
}

func (t *Transport) openLog(origin peer.ID) (*feedlog.Log, error) {
	l, err := feedlog.Open(t.feedDir(origin), feedlog.Limits{Bytes: t.config.Log.Bytes, Age: t.config.Log.Age}, t.log)
	if err != nil {
		return nil, fmt.Errorf("feed %s: %w", origin, err)
	}
	t.feeds.logs = append(t.feeds.logs, l)
	return l, nil
}

// close closes the logs, once nobody uses them any more.
func (f *feeds) close() error {
	var errs []error
	for _, followed := range f.followed {
		errs = append(errs, followed.store())
	}
	for _, l := range f.logs {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// feedTopics are what this node gossips about.
func (t *Transport) feedTopics() []string {
	all := []string{t.feedTopic(t.host.ID())}
	for _, name := range t.config.Follow {
		if p := t.byName[name]; p != nil {
			all = append(all, t.feedTopic(p.id))
		}
	}
	return all
}

func (t *Transport) feedTopic(origin peer.ID) string {
	return "/weft/" + t.config.Network + "/feed/" + origin.String()
}

// join joins the gossip about a feed, where only its origin's entries are passed on.
func (f *feeds) join(origin peer.ID) (*pubsub.Topic, error) {
	name := f.t.feedTopic(origin)
	err := f.gossip.RegisterTopicValidator(name, func(_ context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
		e, err := openEntry(origin, m.Data)
		if err != nil {
			return pubsub.ValidationReject
		}
		m.ValidatorData = e
		return pubsub.ValidationAccept
	})
	if err != nil {
		return nil, err
	}
	topic, err := f.gossip.Join(name)
	if err != nil {
		return nil, err
	}
	return topic, nil
}

// ownFeed is what this node broadcasts: a log on disk, of which it tells everybody who listens.
type ownFeed struct {
	key   signer
	log   *feedlog.Log
	epoch uint64
	topic *pubsub.Topic
	rest  *time.Timer // sends the last notice once more
	ctx   context.Context

	mu sync.Mutex // held while an entry gets its place
}

func (t *Transport) openOwn() (*ownFeed, error) {
	l, err := t.openLog(t.host.ID())
	if err != nil {
		return nil, err
	}
	epoch, err := ownEpoch(t.feedDir(t.host.ID()), l)
	if err != nil {
		return nil, err
	}
	topic, err := t.feeds.join(t.host.ID())
	if err != nil {
		return nil, err
	}
	o := &ownFeed{key: t.key, log: l, epoch: epoch, topic: topic, ctx: t.ctx}
	o.rest = time.AfterFunc(restTime, o.remind)
	t.closing = append(t.closing, func() error { o.rest.Stop(); return nil })
	return o, nil
}

// publish appends the frame to the log, and tells of it.
func (f *feeds) publish(c *chain, m *message.Message) error {
	f.own.mu.Lock()
	defer f.own.mu.Unlock()
	err := errors.Join(m.Context().Err(), unfit(m))
	if c.broken {
		err = errBehind
	}
	if err == nil {
		err = f.own.append(m)
	}
	if err != nil {
		c.broken = true
		return err
	}
	f.t.status.bytesOut.Add(uint64(len(m.Payload)))
	return nil
}

func (o *ownFeed) append(m *message.Message) error {
	e, err := signEntry(o.key, place{o.epoch, o.log.Next()}, m.UUID, m.Payload)
	if err != nil {
		return err
	}
	if _, err := o.log.Append(e.raw); err != nil {
		return fmt.Errorf("feed: %w", err)
	}
	o.rest.Reset(restTime)
	if len(e.raw) > maxGossip {
		if e, err = signEntry(o.key, e.place, "", nil); err != nil {
			return err
		}
	}
	o.tell(e)
	return nil
}

// tell sends an entry or a notice to whoever listens now. Others find it in the log.
func (o *ownFeed) tell(e entry) {
	_ = o.topic.Publish(o.ctx, e.raw)
}

// remind sends a notice of the last entry: gossip is not reliable, and nothing else would show that the last one was lost.
func (o *ownFeed) remind() {
	at := place{o.epoch, o.log.Next() - 1}
	if at.number == 0 {
		return
	}
	if e, err := signEntry(o.key, at, "", nil); err == nil {
		o.tell(e)
	}
}

// lines are where the frames of the followed feeds wait for the subscriber.
func (f *feeds) lines() (all []*line) {
	for _, followed := range f.followed {
		all = append(all, followed.line)
	}
	return all
}

// met is called when a peer has connected: it has its own feed, and may have those of others that are away.
func (f *feeds) met(p *neighbour) {
	for _, followed := range f.followed {
		if followed.peer == p || followed.peer.absent() {
			followed.lack()
		}
	}
}

// lost is called when a peer was sought in vain: others may have its feed.
func (f *feeds) lost(p *neighbour) {
	if followed := f.byOrigin[p.id]; followed != nil {
		followed.lack()
	}
}

// offerEvery is how often the directory is told which feeds this node has; it forgets that after two days.
const offerEvery = 12 * time.Hour

// offer tells the directory which feeds this node has, unless it has done so lately.
func (f *feeds) offer(ctx context.Context) {
	for _, followed := range f.followed {
		if time.Since(time.Unix(followed.offered.Load(), 0)) < offerEvery || followed.now().Epoch == 0 {
			continue
		}
		if err := followed.offer(ctx); err != nil {
			f.t.log.Debug("directory not told of a feed", "error", err)
			continue
		}
		followed.offered.Store(time.Now().Unix())
	}
}

// ownEpoch returns the epoch of the own log: when it was begun, in milliseconds, or one more than the last log's, for a later log must have
// a higher one, whatever the clock says.
func ownEpoch(dir string, l *feedlog.Log) (uint64, error) {
	path := filepath.Join(dir, "epoch")
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	last, _ := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64) // 0 where there is none, or it is damaged
	if last > 0 && l.Next() > 1 {
		return last, nil
	}
	epoch := max(uint64(time.Now().UnixMilli()), last+1)
	return epoch, errors.Join(l.Reset(1), writeFile(path, strconv.AppendUint(nil, epoch, 10)))
}
