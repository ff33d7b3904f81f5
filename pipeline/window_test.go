package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/transports"
)

// link is a pipelined transport to bob whose confirmations come when the test says so.
type link struct {
	t     *testing.T
	limit int // a larger frame fails for good

	mu       sync.Mutex
	flying   []*held
	most     int         // that were in flight at once
	sent     []time.Time // when each frame was
	sizes    []int       // messages of each frame
	mark     uint64      // as bob remembers it: what is not beyond it he takes for a repetition
	arrived  []string    // topics that were new to bob
	confirms bool        // what is sent arrives and is confirmed at once
}

type held struct {
	ctx      context.Context
	broken   *bool // the stream has lost a frame
	messages []frame.Message
	done     chan error
}

var errBehind = errors.New("a frame before it has failed")

func (l *link) Stream(string) func(*message.Message) <-chan error {
	broken := new(bool)
	return func(m *message.Message) <-chan error { return l.send(broken, m) }
}

func (l *link) send(broken *bool, msg *message.Message) <-chan error {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := &held{ctx: msg.Context(), broken: broken, done: make(chan error, 1)}
	switch err := h.ctx.Err(); {
	case err != nil:
		h.done <- err
		return h.done
	case *broken:
		h.done <- errBehind
		return h.done
	case l.limit > 0 && len(msg.Payload) > l.limit:
		*broken = true
		h.done <- transports.Permanent(errors.New("too large"))
		return h.done
	}
	e, err := frame.Parse(msg.Payload)
	if err != nil {
		l.t.Error(err)
	}
	f, err := e.Open("bob", testIdentity(l.t, 1).Public(), testIdentity(l.t, 2).Opener(frame.SealInfo("alice", "bob")))
	if err != nil {
		l.t.Error(err)
	}
	h.messages = f.Messages
	l.flying = append(l.flying, h)
	l.most = max(l.most, len(l.flying))
	l.sent, l.sizes = append(l.sent, time.Now()), append(l.sizes, len(f.Messages))
	context.AfterFunc(h.ctx, func() { l.failFrom(h, h.ctx.Err()) })
	if l.confirms {
		l.confirm(1)
	}
	return h.done
}

func (l *link) Publish(topic string, msgs ...*message.Message) error {
	for _, m := range msgs {
		if err := <-l.Stream(topic)(m); err != nil {
			return err
		}
	}
	return nil
}

func (l *link) Close() error { return nil }

// arrive has bob take the first n frames in flight. It needs mu.
func (l *link) arrive(n int) {
	for _, h := range l.flying[:n] {
		for _, m := range h.messages {
			if m.Seq > l.mark {
				l.mark, l.arrived = m.Seq, append(l.arrived, m.Topic)
			}
		}
	}
}

// confirm has bob take the first n frames in flight, as far as there are so many, and say so. It needs mu.
func (l *link) confirm(n int) {
	n = min(n, len(l.flying))
	l.arrive(n)
	for _, h := range l.flying[:n] {
		h.done <- nil
	}
	l.flying = l.flying[n:]
}

// failFrom fails a frame, if it is in flight, and those behind it.
func (l *link) failFrom(h *held, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.flying, h); i >= 0 {
		l.failAt(i, err)
	}
}

// failAt needs mu.
func (l *link) failAt(i int, err error) {
	for _, h := range l.flying[i:] {
		*h.broken = true
		h.done <- err
		err = errBehind
	}
	l.flying = l.flying[:i]
}

// with runs f with the mutex held, when everything that can happen has happened.
func (l *link) with(f func()) {
	synctest.Wait()
	l.mu.Lock()
	f()
	l.mu.Unlock()
	synctest.Wait()
}

// piped is a node's end of a link: a lane with its delivery.
type piped struct {
	*delivery
	store  *lanes.Store
	link   *link
	batch  Batch
	broker *wire
	drain  context.CancelFunc
	router *router
}

// testPiped sends frames of one message.
func testPiped(t *testing.T) *piped {
	t.Helper()
	p := &piped{link: &link{t: t}, batch: Batch{Count: 1, Bytes: 256 << 10}, broker: &wire{}}
	p.delivery, p.store = testDelivery(t, nil, p.broker)
	p.route.transport = p.link
	return p
}

// start starts the delivery, as if the node did.
func (p *piped) start(t *testing.T) {
	t.Helper()
	p.drained, p.drain = context.WithCancel(t.Context())
	var err error
	if p.router, err = newRouter("deliver", slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	reader := &laneReader{lane: p.lane, batch: p.batch, origin: "alice", epoch: p.epoch, hope: p.route.interests.news.listen}
	p.router.add("r/bob", "", reader, p.handle)
	if err := p.router.start(t.Context(), func(err error) { t.Error(err) }); err != nil {
		t.Fatal(err)
	}
}

// stop stops it.
func (p *piped) stop(t *testing.T) {
	t.Helper()
	p.drain()
	if err := p.router.stop(); err != nil {
		t.Error(err)
	}
}

// inBubble is synctest.Test. What compresses frames is made before, for it serves all tests.
func inBubble(t *testing.T, test func(*testing.T)) {
	f := &frame.Frame{Messages: []frame.Message{{Seq: 1, Topic: "x", Payload: make([]byte, 10_000)}}}
	e, err := frame.Parse(frame.Plain("alice", f))
	if err == nil {
		_, err = e.OpenProven("bob", nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, test)
}

// topics returns names from one number up to another.
func topics(from, to int) (names []string) {
	for i := from; i <= to; i++ {
		names = append(names, fmt.Sprintf("doors/%04d", i))
	}
	return names
}

// finish has the link confirm everything at once, and checks that exactly these have come to bob, in order.
func (p *piped) finish(t *testing.T, want []string) {
	t.Helper()
	p.link.with(func() {
		p.link.confirms = true
		p.link.confirm(len(p.link.flying))
	})
	time.Sleep(time.Minute)
	synctest.Wait()
	p.stop(t)
	p.link.mu.Lock()
	defer p.link.mu.Unlock()
	if got := p.link.arrived; !slices.Equal(got, want) {
		t.Errorf("%d messages arrived, of %d: %q", len(got), len(want), got)
	}
	if !p.lane.Empty() {
		t.Errorf("the lane counts %+v", p.lane.Stats())
	}
}

func TestSeveralFramesOfALaneAreInFlight(t *testing.T) {
	for what, c := range map[string]struct{ payload, messages, want int }{
		"small": {0, 60, maxWindow},
		"large": {1<<20 - 1000, 12, 4},
		"huge":  {5 << 20, 4, 1},
	} {
		t.Run(what, func(t *testing.T) {
			payload := noise(c.payload)
			inBubble(t, func(t *testing.T) {
				p := testPiped(t)
				var entries []lanes.Entry
				for _, topic := range topics(1, c.messages) {
					m := frame.Message{Topic: topic, QoS: 1, Payload: payload, Time: time.Now()}
					entries = append(entries, lanes.Entry{Message: m, Lanes: []*lanes.Lane{p.lane}})
				}
				if err := p.store.Append(t.Context(), entries); err != nil {
					t.Fatal(err)
				}
				p.start(t)
				for range c.messages / 2 {
					p.link.with(func() { p.link.confirm(1) })
					time.Sleep(time.Second / 10)
				}
				p.link.with(func() {
					if p.link.most != c.want || len(p.link.flying) > c.want {
						t.Errorf("%d frames were in flight at once, want %d", p.link.most, c.want)
					}
				})
				if s := p.lane.Stats(); s.Delivered != uint64(c.messages/2) {
					t.Errorf("%d frames are confirmed, the lane counts %+v", c.messages/2, s)
				}
				p.finish(t, topics(1, c.messages))
			})
		})
	}
}

func TestFramesAreSentInTheOrderOfTheLane(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := testPiped(t)
		p.batch.Count = 3
		p.start(t)
		for i := 0; i < 2000; i += 100 {
			queue(t, p.store, p.lane, topics(i+1, i+100)...)
			p.link.with(func() { p.link.confirm(len(p.link.flying)) })
			time.Sleep(20 * time.Millisecond)
		}
		p.finish(t, topics(1, 2000))
		if p.link.most < 5 {
			t.Errorf("%d frames were in flight at once", p.link.most)
		}
	})
}

// A link fails while frames are in flight; some of them may have come to bob all the same.
func TestAfterAFailureAllThatWasNotConfirmedComesAgain(t *testing.T) {
	for what, fail := range map[string]func(l *link){
		"at the first":           func(l *link) { l.failAt(0, errors.New("link down")) },
		"in the middle":          func(l *link) { l.confirm(2); l.failAt(5, errors.New("link down")); l.confirm(5) },
		"confirmations are lost": func(l *link) { l.arrive(7); l.failAt(0, errors.New("link down")) },
		"for good":               func(l *link) { l.failAt(3, transports.Permanent(errors.New("no"))); l.confirm(3) },
		"by time":                nil,
	} {
		t.Run(what, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := testPiped(t)
				p.start(t)
				queue(t, p.store, p.lane, topics(1, 100)...)
				for range 30 {
					p.link.with(func() { p.link.confirm(1) })
					time.Sleep(time.Second / 10)
				}
				if fail == nil {
					time.Sleep(attemptTimeout)
				} else {
					p.link.with(func() { fail(p.link) })
				}
				p.link.with(func() {
					if s, n := p.lane.Stats(), len(p.link.arrived); s.Delivered > uint64(n) {
						t.Errorf("%d messages have left the lane, %d have arrived", s.Delivered, n)
					}
				})
				time.Sleep(time.Second)
				p.link.with(func() {
					if n := len(p.link.flying); n != 1 {
						t.Errorf("%d frames are in flight after a failure, want the first alone", n)
					}
				})
				p.finish(t, topics(1, 100))
			})
		})
	}
}

// The lane sends on before it knows that a frame has failed.
func TestNoFrameArrivesWithoutOneThatFailedBeforeIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := testPiped(t)
		p.start(t)
		queue(t, p.store, p.lane, topics(1, 5)...)
		for range 5 {
			p.link.with(func() { p.link.confirm(1) })
			time.Sleep(time.Second / 10)
		}
		queue(t, p.store, p.lane, topics(6, 8)...)
		time.Sleep(time.Second / 10)
		var lost []*held
		p.link.with(func() {
			lost, p.link.flying = p.link.flying, nil
			*lost[0].broken = true
			p.link.confirms = true
		})
		queue(t, p.store, p.lane, topics(9, 10)...)
		time.Sleep(time.Second / 10)
		p.link.with(func() {
			for _, h := range lost {
				h.done <- errBehind
			}
		})
		if len(lost) != 3 {
			t.Errorf("%d frames were in flight", len(lost))
		}
		p.finish(t, topics(1, 10))
	})
}

// What bob does not want, and what is too large for the link, stands among what he gets.
func TestWhatDoesNotGoKeepsTheOrderOfWhatGoes(t *testing.T) {
	for what, limited := range map[string]func(p *piped){
		"a limit that is known": func(p *piped) { p.route.limit, p.link.limit = func() int { return 2000 }, 2000 },
		"a limit that is found": func(p *piped) { p.link.limit = 2000 },
	} {
		t.Run(what, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := testPiped(t)
				p.batch.Count = 4
				limited(p)
				if _, err := announce(t, p.route.interests, 2, "bob", 2, "doors/#"); err != nil {
					t.Fatal(err)
				}
				p.start(t)
				p.link.with(func() { p.link.confirms = true })
				var want []string
				var entries []lanes.Entry
				for i, topic := range topics(1, 400) {
					m := frame.Message{Topic: topic, QoS: 1, Time: time.Now()}
					switch {
					case i%37 == 36:
						m.Topic = "lamps/1"
					case i%53 == 52:
						m.Payload = noise(3000)
					default:
						want = append(want, topic)
					}
					entries = append(entries, lanes.Entry{Message: m, Lanes: []*lanes.Lane{p.lane}})
				}
				for some := range slices.Chunk(entries, 50) {
					if err := p.store.Append(t.Context(), some); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second / 10)
				}
				p.finish(t, want)
				if s := p.lane.Stats(); s.Dropped[reasonUnwanted] != 10 || s.Dropped[reasonUndeliverable] != 7 || s.Delivered != uint64(len(want)) {
					t.Errorf("the lane counts %+v", s)
				}
				if n := len(p.broker.letters(t)); n != 7 {
					t.Errorf("%d dead letters", n)
				}
			})
		})
	}
}

func TestStopWithFramesInFlightLosesNothing(t *testing.T) {
	for what, during := range map[string]func(l *link){
		"nothing is confirmed":     func(*link) {},
		"some arrive all the same": func(l *link) { l.arrive(5) },
		"some are confirmed":       func(l *link) { l.confirm(5) },
	} {
		t.Run(what, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := testPiped(t)
				p.start(t)
				queue(t, p.store, p.lane, topics(1, 100)...)
				for range 30 {
					p.link.with(func() { p.link.confirm(1) })
					time.Sleep(time.Second / 10)
				}
				began := time.Now()
				p.link.with(func() { during(p.link) })
				p.stop(t)
				if took := time.Since(began); took > closeTimeout {
					t.Errorf("stopping took %v", took)
				}
				p.link.with(func() {
					if len(p.link.flying) > 0 || p.sent.Load() != nil {
						t.Error("frames are in flight after the stop")
					}
				})
				p.start(t)
				p.finish(t, topics(1, 100))
			})
		})
	}
}

// What is in flight is on the disk yet: after a kill it comes again, and what was confirmed is no loss.
func TestFramesInFlightComeAgainFromTheDisk(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, dir := testPiped(t), t.TempDir()
		open := func() {
			var err error
			if p.store, err = lanes.Open(dir, lanes.Options{}, slog.New(slog.DiscardHandler)); err != nil {
				t.Fatal(err)
			}
			p.lane = p.store.Lane("r/bob", lanes.Limits{})
		}
		open()
		p.start(t)
		queue(t, p.store, p.lane, topics(1, 100)...)
		for range 30 {
			p.link.with(func() { p.link.confirm(1) })
			time.Sleep(time.Second / 10)
		}
		p.stop(t)
		if err := p.store.Close(); err != nil {
			t.Fatal(err)
		}
		open()
		if n := p.lane.Stats().Depth; n != 70 {
			t.Errorf("%d messages are in the lane, want 70", n)
		}
		p.start(t)
		p.finish(t, topics(1, 100))
		if err := p.store.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestStatusShowsTheOldestFrameInFlight(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := testPiped(t)
		p.start(t)
		queue(t, p.store, p.lane, topics(1, 5)...)
		for range 5 {
			p.link.with(func() { p.link.confirm(1) })
			time.Sleep(time.Second / 10)
		}
		if s := p.status(); !s.OnItsWay.IsZero() || s.State != "idle" || s.Frames != 5 {
			t.Errorf("status %+v when nothing is in flight", s)
		}
		began := len(p.link.sent)
		for i := 6; i <= 8; i++ {
			queue(t, p.store, p.lane, topics(i, i)...)
			time.Sleep(time.Second)
		}
		for i := range 3 {
			if s := p.status(); s.State != "moving" || !s.OnItsWay.Equal(p.link.sent[began+i]) || s.Frames != uint64(5+i) {
				t.Errorf("status %+v, the oldest frame was sent at %v", s, p.link.sent[began+i])
			}
			p.link.with(func() { p.link.confirm(1) })
		}
		p.finish(t, topics(1, 8))
	})
}

// A window must not make many small frames of what one frame can hold.
func TestFramesInFlightKeepTheirDistanceAndGrowWhenTheWindowIsFull(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := testPiped(t)
		p.batch.Count = 1000
		p.start(t)
		last := 0
		one := func() {
			last++
			queue(t, p.store, p.lane, topics(last, last)...)
			time.Sleep(time.Millisecond)
		}
		for range 20 { // the window opens
			one()
			time.Sleep(10 * time.Millisecond)
			p.link.with(func() { p.link.confirm(len(p.link.flying)) })
		}
		for range 500 {
			one()
		}
		synctest.Wait()
		for i := 1; i < len(p.link.sent); i++ {
			if d := p.link.sent[i].Sub(p.link.sent[i-1]); d < distance(p.link.sizes[i-1]) {
				t.Errorf("a frame %v after one of %d messages", d, p.link.sizes[i-1])
			}
		}
		sent := len(p.link.sent)
		if n := len(p.link.flying); n != maxWindow {
			t.Fatalf("%d frames are in flight", n)
		}
		p.link.with(func() { p.link.confirm(1) })
		time.Sleep(time.Second)
		if n := p.link.sizes[sent]; n < 400 {
			t.Errorf("the first frame for which there was room has %d messages", n)
		}
		p.finish(t, topics(1, last))
	})
}

// A link takes a second for a frame, so that a full window would keep the last of its frames until their attempts have ended.
func TestSlowLinkIsGivenNoMoreThanItCarriesInTime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := testPiped(t)
		p.start(t)
		queue(t, p.store, p.lane, topics(1, 60)...)
		for range 40 {
			time.Sleep(time.Second)
			p.link.with(func() { p.link.confirm(1) })
		}
		p.finish(t, topics(1, 60))
		if n := len(p.link.sent); n != 60 || p.link.most < 2 {
			t.Errorf("60 frames were sent %d times, up to %d were in flight", n, p.link.most)
		}
	})
}
