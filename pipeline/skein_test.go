package pipeline_test

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/transports"
)

// skein is a bird that takes frames while earlier ones are not confirmed.
type skein struct {
	*bird
	room chan struct{} // full when no more may be in flight

	sending sync.Mutex
	flying  map[string][]*flown // by topic
}

// flown is a frame in flight.
type flown struct {
	*letter
	broken *atomic.Bool // the stream has lost a frame
	done   chan error
}

const (
	skeinFrames  = 8
	skeinPayload = 64 << 10
)

func newSkein(b *bird) *skein {
	return &skein{bird: b, room: make(chan struct{}, skeinFrames), flying: map[string][]*flown{}}
}

func (*skein) MaxPayload() int { return skeinPayload }

func (s *skein) Publish(topic string, msgs ...*message.Message) error {
	for _, m := range msgs {
		if err := <-s.Stream(topic)(m); err != nil {
			return err
		}
	}
	return nil
}

var errTooLarge = errors.New("frame is too large")

func (s *skein) Stream(topic string) func(*message.Message) <-chan error {
	broken := new(atomic.Bool)
	return func(m *message.Message) <-chan error {
		return s.send(topic, m, &flown{broken: broken, done: make(chan error, 1)})
	}
}

func (s *skein) send(topic string, m *message.Message, f *flown) <-chan error {
	_, direct := transports.DirectPeer(topic)
	err := s.enter()
	if err != nil {
		return f.fail(err)
	}
	switch {
	case len(m.Payload) > skeinPayload:
		err = transports.Permanent(errTooLarge)
	case !direct || !userForm.MatchString(topic[len(transports.Direct("")):]):
		f.done <- s.bird.Publish(topic, m)
		s.running.Done()
		return f.done
	default:
		err = s.launch(topic, m, f)
	}
	if err != nil {
		s.running.Done()
		return f.fail(err)
	}
	return f.done
}

func (f *flown) fail(err error) <-chan error {
	f.broken.Store(true)
	f.done <- err
	return f.done
}

func (s *skein) launch(topic string, m *message.Message, f *flown) error {
	select {
	case s.room <- struct{}{}:
	case <-m.Context().Done():
		return m.Context().Err()
	case <-s.ctx.Done():
		return errClosed
	}
	s.sending.Lock()
	defer s.sending.Unlock()
	if err := m.Context().Err(); err != nil || f.broken.Load() {
		<-s.room
		return errors.Join(err, errBehind)
	}
	f.letter = s.post(topic, m)
	s.flying[topic] = append(s.flying[topic], f)
	go func() {
		defer s.running.Done()
		select {
		case <-f.taken:
		case <-m.Context().Done():
			s.drop(topic, f, m.Context().Err())
		case <-s.ctx.Done():
			s.drop(topic, f, errClosed)
		}
		s.land(topic)
		<-s.room
	}()
	return nil
}

var errBehind = errors.New("a frame before it has failed")

// land settles the frames that were taken.
func (s *skein) land(topic string) {
	s.sending.Lock()
	defer s.sending.Unlock()
	for len(s.flying[topic]) > 0 {
		f := s.flying[topic][0]
		select {
		case <-f.taken:
			f.done <- nil
			s.flying[topic] = s.flying[topic][1:]
		default:
			return
		}
	}
}

// drop fails a frame, unless it was taken, and those behind it.
func (s *skein) drop(topic string, f *flown, err error) {
	s.land(topic)
	s.sending.Lock()
	defer s.sending.Unlock()
	s.sky.mu.Lock()
	defer s.sky.mu.Unlock()
	peer, _ := transports.DirectPeer(topic)
	box := s.sky.box(peer, transports.Inbox)
	i := slices.Index(s.flying[topic], f)
	if i < 0 {
		return
	}
	for _, g := range s.flying[topic][i:] {
		select {
		case <-g.taken: // since land
			g.done <- nil
			continue
		default:
		}
		g.fail(err)
		box.queue = slices.DeleteFunc(box.queue, func(l *letter) bool { return l == g.letter })
		err = errBehind
	}
	s.flying[topic] = s.flying[topic][:i]
}
