package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/transporttest"
)

// sky is a network in memory that authenticates its users' names and shows everybody what they want.
type sky struct {
	mu        sync.Mutex
	boxes     map[string]*box            // by user and Subscribe topic
	followers map[string]map[string]bool // by user: who follows it
	shown     map[string][]string
	watchers  map[*watcher]bool
	sent      []*letter // all that was ever published
}

func newSky() *sky {
	return &sky{boxes: map[string]*box{}, followers: map[string]map[string]bool{}, shown: map[string][]string{}, watchers: map[*watcher]bool{}}
}

// letter is what one user has sent to another.
type letter struct {
	topic   string // as it was published
	uuid    string
	payload []byte
	meta    message.Metadata
	taken   chan struct{} // closed when the recipient has acknowledged it
}

// box is a mailbox.
type box struct {
	queue []*letter
	bell  chan struct{} // closed when something has come
}

// box needs mu.
func (s *sky) box(user, topic string) *box {
	b := s.boxes[user+"/"+topic]
	if b == nil {
		b = &box{bell: make(chan struct{})}
		s.boxes[user+"/"+topic] = b
	}
	return b
}

// post puts a letter into the mailboxes of its recipients.
func (s *sky) post(from, topic string, l *letter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, l)
	to := []*box{}
	if peer, direct := transports.DirectPeer(topic); direct {
		to = append(to, s.box(peer, transports.Inbox))
	} else {
		for follower := range s.followers[from] {
			to = append(to, s.box(follower, transports.Feed))
		}
	}
	for _, b := range to {
		b.queue = append(b.queue, l)
		close(b.bell)
		b.bell = make(chan struct{})
	}
}

// letters returns what was published to the topic so far.
func (s *sky) letters(topic string) (found []*letter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.sent {
		if l.topic == topic {
			found = append(found, l)
		}
	}
	return found
}

// show has the user show the filters.
func (s *sky) show(user string, filters []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown[user] = filters
	for w := range s.watchers {
		w.tell(user, filters)
	}
}

// watcher is who watches what is shown.
type watcher struct {
	mu   sync.Mutex
	news map[string][]string
	bell chan struct{}
}

func (w *watcher) tell(user string, filters []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.news[user] = filters
	select {
	case w.bell <- struct{}{}:
	default:
	}
}

func (w *watcher) all() map[string][]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	news := w.news
	w.news = map[string][]string{}
	return news
}

// bird is one user's way into the sky.
type bird struct {
	sky      *sky
	user     string
	confirms bool            // Publish returns when the recipient has acknowledged
	bare     map[string]bool // Publish topics of single messages

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	in, out  uint64
	closedAt time.Time
}

func (s *sky) bird(user string, follow ...string) *bird {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range follow {
		if s.followers[f] == nil {
			s.followers[f] = map[string]bool{}
		}
		s.followers[f][user] = f != user
	}
	for f := range s.followers {
		maps.DeleteFunc(s.followers[f], func(_ string, follows bool) bool { return !follows })
	}
	b := &bird{sky: s, user: user, bare: map[string]bool{}}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b
}

func (b *bird) Start(context.Context) error { return nil }

func (b *bird) Close() error {
	b.mu.Lock()
	if b.closedAt.IsZero() {
		b.closedAt = time.Now()
	}
	b.mu.Unlock()
	b.cancel()
	b.running.Wait()
	return nil
}

var errClosed = errors.New("bird: closed")

// enter begins what Close waits for.
func (b *bird) enter() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closedAt.IsZero() {
		return errClosed
	}
	b.running.Add(1)
	return nil
}

func (b *bird) Report() transports.Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := transports.Report{State: transports.Up, BytesIn: b.in, BytesOut: b.out}
	if !b.closedAt.IsZero() {
		r.State, r.Since = transports.Down, b.closedAt
	}
	return r
}

func (b *bird) Bare(topic string) bool { return b.bare[topic] }

func (b *bird) Patience() time.Duration { return 0 }

var userForm = regexp.MustCompile(`^[a-z0-9_-]+$`)

func (b *bird) Publish(topic string, msgs ...*message.Message) error {
	if err := b.enter(); err != nil {
		return err
	}
	defer b.running.Done()
	if peer, direct := transports.DirectPeer(topic); topic != transports.Broadcast && (!direct || !userForm.MatchString(peer)) {
		return transports.Permanent(fmt.Errorf("topic %q", topic))
	}
	for _, m := range msgs {
		if err := b.publish(topic, m); err != nil {
			return err
		}
	}
	return nil
}

func (b *bird) publish(topic string, m *message.Message) error {
	if err := m.Context().Err(); err != nil {
		return err
	}
	l := b.post(topic, m)
	if !b.confirms || topic == transports.Broadcast {
		return nil
	}
	select {
	case <-l.taken:
		return nil
	case <-m.Context().Done():
		return m.Context().Err()
	case <-b.ctx.Done():
		return errClosed
	}
}

func (b *bird) post(topic string, m *message.Message) *letter {
	l := &letter{topic: topic, uuid: m.UUID, payload: slices.Clone(m.Payload), meta: maps.Clone(m.Metadata), taken: make(chan struct{})}
	if l.meta == nil {
		l.meta = message.Metadata{}
	}
	l.meta[transports.MetaFrom] = b.user
	b.sky.post(b.user, topic, l)
	b.mu.Lock()
	b.out += uint64(len(m.Payload))
	b.mu.Unlock()
	return l
}

func (b *bird) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if topic != transports.Inbox && topic != transports.Feed {
		return nil, fmt.Errorf("topic %q", topic)
	}
	if err := b.enter(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	out := make(chan *message.Message)
	go func() {
		defer b.running.Done()
		defer close(out)
		defer cancel()
		defer context.AfterFunc(b.ctx, cancel)()
		for b.deliver(ctx, topic, out) {
		}
	}()
	return out, nil
}

// deliver hands out the next letter until it is acknowledged, and reports whether ctx is still alive.
func (b *bird) deliver(ctx context.Context, topic string, out chan<- *message.Message) bool {
	b.sky.mu.Lock()
	box := b.sky.box(b.user, topic)
	bell := box.bell
	var l *letter
	if len(box.queue) > 0 {
		l = box.queue[0]
	}
	b.sky.mu.Unlock()
	if l == nil {
		select {
		case <-bell:
			return true
		case <-ctx.Done():
			return false
		}
	}
	b.mu.Lock()
	b.in += uint64(len(l.payload))
	b.mu.Unlock()
	m := message.NewMessage(l.uuid, slices.Clone(l.payload))
	m.Metadata = maps.Clone(l.meta)
	m.SetContext(ctx)
	select {
	case out <- m:
	case <-ctx.Done():
		return false
	}
	select {
	case <-m.Acked():
	case <-m.Nacked():
		return true
	case <-ctx.Done():
		return false
	}
	b.sky.mu.Lock()
	defer b.sky.mu.Unlock()
	box.queue = slices.DeleteFunc(box.queue, func(in *letter) bool { return in == l })
	if topic == transports.Inbox {
		close(l.taken)
	}
	return true
}

func (b *bird) ShowWishes(_ context.Context, filters []string) error {
	b.sky.show(b.user, slices.Clone(filters))
	return nil
}

func (b *bird) WatchWishes(ctx context.Context) (<-chan transports.Wishes, error) {
	if err := b.enter(); err != nil {
		return nil, err
	}
	w := &watcher{news: map[string][]string{}, bell: make(chan struct{}, 1)}
	b.sky.mu.Lock()
	for user, filters := range b.sky.shown {
		w.tell(user, filters)
	}
	b.sky.watchers[w] = true
	b.sky.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	out := make(chan transports.Wishes)
	go func() {
		defer b.running.Done()
		defer close(out)
		defer cancel()
		defer context.AfterFunc(b.ctx, cancel)()
		defer func() {
			b.sky.mu.Lock()
			defer b.sky.mu.Unlock()
			delete(b.sky.watchers, w)
		}()
		for {
			for user, filters := range w.all() {
				select {
				case out <- transports.Wishes{Node: user, Filters: filters}:
				case <-ctx.Done():
					return
				}
			}
			select {
			case <-w.bell:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// The tests of this package rely on what this network does: is that what transports promise, whether Publish waits for the recipient or
// not?
func TestTheNetworkOfTheseTestsKeepsTheTransportsPromises(t *testing.T) {
	for _, name := range []string{"stores", "waits", "pipelined"} {
		t.Run(name, func(t *testing.T) {
			transporttest.Run(t, transporttest.Features{Stores: name == "stores"}, func(*testing.T) transporttest.Network {
				s := newSky()
				return transporttest.Network{Node: func(_ *testing.T, node string, follow ...string) transports.Transport {
					b := s.bird(node, follow...)
					b.confirms = name != "stores"
					if name == "pipelined" {
						return newSkein(b)
					}
					return b
				}}
			})
		})
	}
}
