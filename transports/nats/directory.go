package nats

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-relay/weft/transports"
)

// Announce stores this node's profile, of at most [transports.MaxProfile] bytes, in the bucket. It waits for a connection as
// long as ctx allows. Should the bucket be deleted, the transport puts the profile back. A bucket or a server with a smaller
// limit is named in the error, and is not altered.
func (t *Transport) Announce(ctx context.Context, profile []byte) error {
	if len(profile) > transports.MaxProfile {
		return transports.Permanent(fmt.Errorf("profile of %d bytes; at most %d are allowed", len(profile), transports.MaxProfile))
	}
	if err := t.enter(); err != nil {
		return err
	}
	defer t.running.Done()
	for again := false; ; again = true {
		s, err := t.await(ctx)
		if err == nil {
			err = t.putIn(ctx, s, profile)
		}
		switch {
		case err == nil:
			t.mu.Lock()
			t.profile = profile
			t.mu.Unlock()
			return nil
		case s != nil && s.ctx.Err() != nil && ctx.Err() == nil:
			// The connection broke under it: the next session takes it.
		case s == nil || ctx.Err() != nil || again:
			return fmt.Errorf("announce profile: %w", err)
		case noStream(err):
			t.endSession(s)
		}
	}
}

// putIn is put until the session or ctx ends: a server that has gone never answers.
func (t *Transport) putIn(ctx context.Context, s *session, profile []byte) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	return t.put(ctx, s.js, s.bucket, profile)
}

// restoreProfile puts the last announced profile into a bucket that does not have it.
func (t *Transport) restoreProfile(ctx context.Context, js jetstream.JetStream, bucket jetstream.KeyValue) error {
	t.mu.Lock()
	profile := t.profile
	t.mu.Unlock()
	if profile == nil {
		return nil
	}
	_, err := bucket.Get(ctx, t.names.node)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		err = t.put(ctx, js, bucket, profile)
	}
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	return nil
}

// bucketMade returns when the bucket was made, which tells it from one of the same name that was deleted.
func (n names) bucketMade(ctx context.Context, js jetstream.JetStream) (time.Time, error) {
	stream, err := js.Stream(ctx, n.bucketStream())
	if err != nil {
		return time.Time{}, fmt.Errorf("bucket %s: %w", n.bucket, err)
	}
	return stream.CachedInfo().Created, nil
}

// put stores a profile in the bucket. Where one is too large for it, the error says what the limit is and how to raise it.
func (t *Transport) put(ctx context.Context, js jetstream.JetStream, bucket jetstream.KeyValue, profile []byte) error {
	_, err := bucket.Put(ctx, t.names.node, profile)
	switch {
	case errors.Is(err, natsgo.ErrMaxPayload):
		return fmt.Errorf("profile of %d bytes: the server takes %d; raise its max_payload, or subscribe to fewer, wider filters: %w",
			len(profile), js.Conn().MaxPayload(), err)
	case errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum):
		limit := "less"
		if stream, err := js.Stream(ctx, t.names.bucketStream()); err == nil {
			limit = strconv.Itoa(int(stream.CachedInfo().Config.MaxMsgSize))
		}
		return fmt.Errorf("profile of %d bytes: the bucket %s, made by somebody else, takes %s; raise it "+
			"(nats stream edit %s --max-msg-size=%d), or subscribe to fewer, wider filters: %w",
			len(profile), t.names.bucket, limit, t.names.bucketStream(), transports.MaxProfile, err)
	}
	return err
}

// Watch delivers the profiles that the bucket holds, this node's own among them, and then every change. After a reconnect it delivers
// all of them again. The channel is closed when ctx ends or the transport is closed.
func (t *Transport) Watch(ctx context.Context) (<-chan transports.Announcement, error) {
	if err := t.enter(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(t.ctx, cancel)
	out := make(chan transports.Announcement)
	go func() {
		defer t.running.Done()
		defer close(out)
		defer unhook()
		defer cancel()
		w := watch{names: t.names, out: out}
		t.consume(ctx, w.open, func(msg jetstream.Msg) error { return w.take(ctx, msg) })
	}()
	return out, nil
}

// watch reads the bucket by a consumer that asks for no acknowledgements; it begins anew when it misses one.
type watch struct {
	names names
	out   chan<- transports.Announcement
	seq   uint64 // of the consumer's last message
}

// open makes the consumer. The last one may have gone with its bucket, and another node been the first to make that anew: only its age
// shows it then. The session ends, and the next one puts the profile back. A bucket deleted after the look takes the consumer with it.
func (w *watch) open(ctx context.Context, _ context.CancelCauseFunc, s *session) (jetstream.Consumer, error) {
	w.seq = 0
	consumer, err := s.js.CreateConsumer(ctx, w.names.bucketStream(), jetstream.ConsumerConfig{
		FilterSubject: w.names.bucketSubject(), DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: 2 * pullHeartbeat,
	})
	if err != nil {
		return nil, err
	}
	made, err := w.names.bucketMade(ctx, s.js)
	if err == nil && !made.Equal(s.bucketMade) {
		err = errOtherBucket
	}
	return consumer, err
}

func (w *watch) take(ctx context.Context, msg jetstream.Msg) error {
	meta, err := msg.Metadata()
	if err != nil {
		return fmt.Errorf("message without metadata: %w", err)
	}
	if w.seq++; meta.Sequence.Consumer != w.seq {
		return fmt.Errorf("profile %d came after %d", meta.Sequence.Consumer, w.seq-1)
	}
	key := strings.TrimPrefix(msg.Subject(), strings.TrimSuffix(w.names.bucketSubject(), ">"))
	select {
	case w.out <- transports.Announcement{Node: key, Profile: msg.Data()}: // a deleted key has no value
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
