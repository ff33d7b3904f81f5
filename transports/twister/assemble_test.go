package twister

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/rpc"
)

func TestFrameOfManyPostsIsPutTogether(t *testing.T) {
	w := newFeedWorld(t)
	a, _ := open(t, w.alice)
	b, _ := open(t, w.bob)
	feed := feedOf(t, b)
	reads(t, b, alice)
	large := bytes.Repeat([]byte("0123456\xff\x00\x80"), 2000)
	tellAll(t, a, message.NewMessage("large", large), numberedFrame(1))
	m := next(t, feed)
	require.True(t, bytes.Equal(large, m.Payload))
	require.Equal(t, "large", m.UUID)
	m.Ack()
	comes(t, feed, "frame 1")
	err := a.Publish(transports.Broadcast, message.NewMessage("larger", make([]byte, MaxPayload+1)))
	require.True(t, transports.IsPermanent(err), "%v", err)
}

// Whatever a peer posts as parts: nothing of it grows without bound or comes out wrong.
func TestOddPartsAreCountedAndForgotten(t *testing.T) {
	w := newFeedWorld(t)
	b, _ := open(t, w.bob)
	f := b.feed
	id, other := frameID("a"), frameID("b")
	first := func(id [8]byte) *part { return &part{id: id, data: []byte("first ")} }
	last := func(id [8]byte, index int) *part {
		return &part{id: id, index: index, last: true, data: []byte("last")}
	}
	for _, tt := range []struct {
		name  string
		parts []*part
		want  int
		why   string
	}{
		{"whole", []*part{first(id), last(id, 1)}, 1, ""},
		{"twice", []*part{first(id), first(id), last(id, 1), last(id, 1)}, 1, dropPart},
		{"posted again", []*part{first(id), last(id, 1), first(id), last(id, 1)}, 1, ""},
		{"without a beginning", []*part{last(id, 1)}, 0, dropPart},
		{"with a hole", []*part{first(id), last(id, 2)}, 0, dropPart},
		{"given up", []*part{first(other), first(id), last(id, 1)}, 1, dropNoWhole},
		{"another's end", []*part{first(other), last(id, 1)}, 0, dropNoWhole},
		{"a message that is none", []*part{{id: id, last: true, bare: true, data: []byte{9}}}, 0, dropPart},
	} {
		r := f.follow("carol", time.Now())
		r.at = feedPosition{Began: true, K: -1}
		f.status.lost = map[string]uint64{}
		out := make(chan *message.Message, 8)
		ctx, cancel := context.WithCancel(t.Context())
		acks := make(chan int)
		go func() {
			n := 0
			for m := range out {
				m.Ack()
				n++
			}
			acks <- n
		}()
		for k, p := range tt.parts {
			require.True(t, r.read(ctx, rpc.Post{Sig: "20", Name: "carol", K: k, Text: p.text()}, out))
			require.Equal(t, k, r.k)
		}
		cancel()
		close(out)
		require.Equal(t, tt.want, <-acks, tt.name)
		require.Equal(t, tt.why != "", b.Report().Dropped[tt.why] == 1, "%s: %v", tt.name, b.Report().Dropped)
	}
}

func TestEndlessFrameIsForgotten(t *testing.T) {
	w := newFeedWorld(t)
	b, _ := open(t, w.bob)
	r := b.feed.follow("carol", time.Now())
	r.at = feedPosition{Began: true, K: -1}
	id, data := frameID("a"), make([]byte, 1500)
	for k := range MaxPayload/len(data) + 1 {
		text := (&part{id: id, index: k, data: data}).text()
		require.True(t, r.read(t.Context(), rpc.Post{Sig: "20", Name: "carol", K: k, Text: text}, nil))
		require.LessOrEqual(t, len(r.parts.data), MaxPayload)
	}
	require.EqualValues(t, 1, b.Report().Dropped[dropPart])
	require.Empty(t, r.parts.data)
}
