package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-relay/weft/transports"
)

const (
	// ackWait is how long the server waits for a sign of life from the holder of a frame before it delivers it again. It is
	// short so that a node that was killed gets its unacknowledged frame soon after its restart.
	ackWait       = 5 * time.Second
	inProgress    = ackWait / 4
	pullHeartbeat = 5 * time.Second        // a consumer that is gone without a word is noticed after two of them
	nackPause     = 100 * time.Millisecond // before a refused frame is offered again
)

// Subscribe delivers the frames of [transports.Inbox], up to 32 before the first is acknowledged, or of [transports.Feed], one at a
// time. A node has one subscription of each. Consumers are durable: frames sent while
// this node is away wait for it. A feed followed for the first time begins with the frames published from then on. Close the
// channel's subscription by ending ctx.
func (t *Transport) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	var stream string
	var config jetstream.ConsumerConfig
	switch topic {
	case transports.Inbox:
		stream, config = t.names.direct, t.inbox()
	case transports.Feed:
		stream, config = t.names.feed, t.feed()
	default:
		return nil, fmt.Errorf("subscribe topic %q: neither %q nor %q", topic, transports.Inbox, transports.Feed)
	}
	if err := t.enter(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(t.ctx, cancel)
	out := make(chan *message.Message)
	go func() {
		defer t.running.Done()
		defer close(out)
		defer unhook()
		defer cancel()
		if topic == transports.Inbox {
			t.consumeInbox(ctx, out)
			return
		}
		in := &intake{t: t, out: out}
		if len(config.FilterSubjects) == 0 { // follows nobody; a consumer without a filter would get every feed
			<-ctx.Done()
			return
		}
		t.consume(ctx, func(ctx context.Context, _ context.CancelCauseFunc, s *session) (jetstream.Consumer, error) {
			consumer, err := durable(ctx, s.js, stream, config)
			if err == nil {
				in.resume(s.js.Conn(), consumer.CachedInfo().Created)
			}
			return consumer, err
		}, func(msg jetstream.Msg) error { return in.take(ctx, msg) })
	}()
	return out, nil
}

// consumeInbox hands out direct frames until ctx ends.
func (t *Transport) consumeInbox(ctx context.Context, out chan *message.Message) {
	w := &windows{t: t, out: out}
	defer w.stop()
	t.consume(ctx, func(ctx context.Context, over context.CancelCauseFunc, s *session) (jetstream.Consumer, error) {
		w.begin(ctx, over)
		consumer, err := t.freshInbox(ctx, s.js)
		if err == nil {
			w.current.count = consumer.CachedInfo().Delivered.Consumer
		}
		return consumer, err
	}, w.take)
}

func (t *Transport) inbox() jetstream.ConsumerConfig {
	return t.durableConfig(jetstream.DeliverAllPolicy, []string{t.names.directSubject(t.names.node)})
}

func (t *Transport) feed() jetstream.ConsumerConfig {
	var subjects []string
	for _, node := range t.config.Follow {
		if node != t.names.node {
			subjects = append(subjects, t.names.feedSubject(node))
		}
	}
	slices.Sort(subjects)
	return t.durableConfig(jetstream.DeliverNewPolicy, slices.Compact(subjects))
}

func (t *Transport) durableConfig(from jetstream.DeliverPolicy, subjects []string) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: t.names.node, FilterSubjects: subjects, DeliverPolicy: from,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxDeliver: -1,
		MaxAckPending: 1, // see the package comment
	}
}

// durable returns the consumer, made if it is missing. One that exists is altered only in what it filters.
func durable(ctx context.Context, js jetstream.JetStream, stream string, want jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	consumer, err := js.Consumer(ctx, stream, want.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return js.CreateConsumer(ctx, stream, want)
	}
	if err != nil {
		return nil, err
	}
	have := consumer.CachedInfo().Config
	filters := have.FilterSubjects
	if have.FilterSubject != "" {
		filters = []string{have.FilterSubject}
	}
	if slices.Equal(slices.Sorted(slices.Values(filters)), want.FilterSubjects) {
		return consumer, nil
	}
	have.FilterSubject, have.FilterSubjects = "", want.FilterSubjects
	return js.UpdateConsumer(ctx, stream, have)
}

// consume hands over the messages of a consumer until ctx ends. Whatever breaks (the connection, the consumer, the stream) is made
// anew.
func (t *Transport) consume(
	ctx context.Context,
	open func(context.Context, context.CancelCauseFunc, *session) (jetstream.Consumer, error),
	take func(jetstream.Msg) error,
) {
	for {
		s, err := t.await(ctx)
		if err != nil {
			return
		}
		err = t.consumeIn(ctx, s, open, take)
		if ctx.Err() != nil || s.ctx.Err() != nil {
			continue
		}
		if errors.Is(err, errRefused) {
			pause(ctx, nackPause)
			continue
		}
		t.log.Debug("nats consumer is made anew", slog.Any("err", err))
		t.status.note(err)
		if noStream(err) {
			t.endSession(s)
		}
		pause(ctx, retryDelay)
	}
}

// consumeIn consumes until the session ends, ctx ends, or something breaks.
func (t *Transport) consumeIn(
	ctx context.Context,
	s *session,
	open func(context.Context, context.CancelCauseFunc, *session) (jetstream.Consumer, error),
	take func(jetstream.Msg) error,
) error {
	next, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.ctx, func() { cancel(context.Cause(s.ctx)) })()
	consumer, err := open(next, cancel, s)
	if err != nil {
		return fmt.Errorf("consumer: %w", err)
	}
	messages, err := consumer.Messages(jetstream.PullHeartbeat(pullHeartbeat))
	if err != nil {
		return fmt.Errorf("consumer: %w", err)
	}
	defer messages.Stop()
	t.status.note(nil)
	for {
		msg, err := messages.Next(jetstream.NextContext(next))
		if next.Err() != nil {
			return context.Cause(next)
		}
		if err != nil {
			return fmt.Errorf("consumer: %w", err)
		}
		if err := take(msg); err != nil {
			return err
		}
	}
}

// intake hands frames to a subscriber.
type intake struct {
	t     *Transport
	out   chan *message.Message
	acked stored // the last frame that the subscriber acknowledged

	made  time.Time // when the consumer was made
	reply string    // subject of the acknowledgement of acked, or ""
}

// stored is the identity of a message in a stream, also of one that was deleted and made again.
type stored struct {
	seq  uint64
	time time.Time
}

// resume acknowledges the last frame once more, on the connection of a new session: the acknowledgement may have been lost with the old
// one, and the server would wait for ackWait before it goes on. One that it has already is ignored; a consumer made anew counts anew.
func (in *intake) resume(nc *natsgo.Conn, made time.Time) {
	if in.reply != "" && made.Equal(in.made) {
		_ = nc.Publish(in.reply, []byte("+ACK")) // if it fails, this session has failed as well
	}
	in.made = made
}

// take offers the frame until it is acknowledged, and returns an error only when ctx ends before.
func (in *intake) take(ctx context.Context, msg jetstream.Msg) error {
	meta, err := msg.Metadata()
	if err != nil {
		return fmt.Errorf("message without metadata: %w", err)
	}
	place := stored{meta.Sequence.Stream, meta.Timestamp}
	if place != in.acked {
		in.t.status.bytesIn.Add(uint64(len(msg.Data())))
		for acked := false; !acked; {
			if acked, err = in.offer(ctx, msg); err != nil {
				// Whoever subscribes next need not wait for ackWait; the delay lets this subscription go first.
				_ = msg.NakWithDelay(nackPause)
				return err
			}
		}
	}
	in.acked, in.reply = place, msg.Reply()
	if err := msg.Ack(); err != nil { // resume makes up for it
		in.t.log.Debug("frame not acknowledged", slog.Any("err", err))
	}
	return nil
}

// offer hands the frame to the subscriber and reports whether it acknowledged it. Meanwhile the server hears that the frame is being
// worked on.
func (in *intake) offer(ctx context.Context, msg jetstream.Msg) (acked bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	frame := message.NewMessage(uuid(msg.Headers().Get(jetstream.MsgIDHeader)), msg.Data())
	frame.SetContext(ctx)
	alive := time.NewTicker(inProgress)
	defer alive.Stop()
	out := in.out
	for {
		select {
		case out <- frame:
			out = nil // once
		case <-frame.Acked():
			return true, nil
		case <-frame.Nacked():
			pause(ctx, nackPause)
			return false, nil
		case <-alive.C:
			// Without a connection nobody hears it, and the frame comes again.
			_ = msg.InProgress()
		case <-ctx.Done():
			select {
			case <-frame.Acked(): // before the end: it need not come again
				return true, nil
			default:
				return false, ctx.Err()
			}
		}
	}
}
