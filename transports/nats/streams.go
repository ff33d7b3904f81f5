package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-relay/weft/transports"
)

const (
	// minBytes and defaultBytes are the least size of a stream and the one that it has where there is room.
	minBytes, defaultBytes = 1 << 20, 1 << 30
	// minProfiles and maxProfiles bound the bucket, which otherwise has the size of a stream.
	minProfiles, maxProfiles = 16 << 20, 256 << 20
	// duplicateWindow is how long the server recognises a frame that is published again. It is short because the server keeps
	// every id in memory so long; the receiver recognises what comes later.
	duplicateWindow = 15 * time.Second
)

// streams returns the streams as this node makes them.
//
// Direct frames are a work queue: what the peer has acknowledged goes. A full stream refuses (DiscardNew), so that the frame stays in the
// sender's lane instead of vanishing here, and no peer may have more than its share waiting.
// The feed keeps what its limits allow, whoever has read it: the oldest frames give way.
func (t *Transport) streams() []jetstream.StreamConfig {
	limits := t.config.Limits
	limits.Bytes = t.streamBytes()
	return []jetstream.StreamConfig{{
		Name: t.names.direct, Subjects: []string{t.names.directSubject("*")}, Description: "Weft: direct frames",
		Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true,
		MaxMsgsPerSubject: limits.Frames, MaxBytes: limits.Bytes, MaxAge: limits.Age,
		Duplicates: duplicateWindow, Replicas: t.config.Replicas,
	}, {
		Name: t.names.feed, Subjects: []string{t.names.feedSubject("*")}, Description: "Weft: broadcast frames",
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld, MaxMsgsPerSubject: -1,
		MaxBytes: limits.Bytes, MaxAge: limits.Age,
		Duplicates: duplicateWindow, Replicas: t.config.Replicas,
	}}
}

// streamBytes returns the size of a stream that is made now. JetStream reserves it at once: a default that the embedded server's
// disk has no room for would keep the node from ever working.
func (t *Transport) streamBytes() int64 {
	switch {
	case t.config.Limits.Bytes > 0:
		return t.config.Limits.Bytes
	case t.server != nil:
		return min(max(t.server.room()/4/minBytes*minBytes, minBytes), defaultBytes)
	}
	return defaultBytes
}

// codeNoStorage is JetStream's refusal to reserve a stream's size.
const codeNoStorage jetstream.ErrorCode = 10047

// explain says what to do about a stream or bucket that there is no room for.
func (t *Transport) explain(err error, bytes int64) error {
	var api *jetstream.APIError
	switch {
	case !errors.As(err, &api) || api.ErrorCode != codeNoStorage:
		return err
	case t.server != nil:
		return fmt.Errorf("it reserves %s, and the disk of %s has %s left for streams: set limits.bytes of this transport lower, or make room there and start again",
			megabytes(bytes), t.config.Embedded.StoreDir, megabytes(t.server.room()))
	}
	return fmt.Errorf("it reserves %s, and the server has no room for it: set limits.bytes of this transport lower, or let the server's operator make room", megabytes(bytes))
}

func megabytes(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }

// ensureStream makes the stream if it is missing, and returns its configuration as it is. One that exists is not altered.
func (t *Transport) ensureStream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (jetstream.StreamConfig, error) {
	stream, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node made it in between
			stream, err = js.Stream(ctx, want.Name)
		} else if err == nil {
			t.log.Info("stream made", slog.String("stream", want.Name), slog.Int64("bytes", want.MaxBytes))
		}
		err = t.explain(err, want.MaxBytes)
	}
	if err != nil {
		return jetstream.StreamConfig{}, fmt.Errorf("stream %s: %w", want.Name, err)
	}
	have := stream.CachedInfo().Config
	t.noteDifferences(want, have)
	return have, nil
}

// noteDifferences logs, once a stream, what an existing stream has otherwise than this node would have made it.
func (t *Transport) noteDifferences(want, have jetstream.StreamConfig) {
	if t.noted[want.Name] {
		return
	}
	t.noted[want.Name] = true
	if t.config.Limits.Bytes == 0 { // what the disk had room for when it was made
		want.MaxBytes = have.MaxBytes
	}
	var differences []string
	for _, d := range []struct {
		what       string
		want, have any
	}{
		{"subjects", want.Subjects, have.Subjects},
		{"retention", want.Retention, have.Retention},
		{"discard", want.Discard, have.Discard},
		{"discard_new_per_subject", want.DiscardNewPerSubject, have.DiscardNewPerSubject},
		{"max_msgs_per_subject", want.MaxMsgsPerSubject, have.MaxMsgsPerSubject},
		{"max_bytes", want.MaxBytes, have.MaxBytes},
		{"max_age", want.MaxAge, have.MaxAge},
		{"replicas", want.Replicas, have.Replicas},
	} {
		if !reflect.DeepEqual(d.want, d.have) {
			differences = append(differences, fmt.Sprintf("%s is %v, not %v", d.what, d.have, d.want))
		}
	}
	if len(differences) > 0 {
		t.log.Info("existing stream is used as it is",
			slog.String("stream", want.Name), slog.String("differences", strings.Join(differences, "; ")))
	}
}

// ensureBucket returns the bucket of profiles, made if it is missing.
func (t *Transport) ensureBucket(ctx context.Context, js jetstream.JetStream) (jetstream.KeyValue, error) {
	bucket, err := js.KeyValue(ctx, t.names.bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		bytes := min(max(t.streamBytes(), minProfiles), maxProfiles)
		bucket, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: t.names.bucket, Description: "Weft: profiles", MaxValueSize: transports.MaxProfile, MaxBytes: bytes, Replicas: t.config.Replicas,
		})
		if errors.Is(err, jetstream.ErrBucketExists) {
			bucket, err = js.KeyValue(ctx, t.names.bucket)
		}
		err = t.explain(err, bytes)
	}
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", t.names.bucket, err)
	}
	return bucket, nil
}

// headerRoom is what the header of a frame takes of a message: the version line, Nats-Msg-Id and a UUID of any usual length.
const headerRoom = 256

// maxPayload returns what both the server and the streams take.
func maxPayload(server int64, streams ...jetstream.StreamConfig) int {
	limit := server
	for _, s := range streams {
		if s.MaxMsgSize > 0 {
			limit = min(limit, int64(s.MaxMsgSize))
		}
	}
	return int(min(max(limit-headerRoom, 0), math.MaxInt32))
}
