package twister_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister"
	"github.com/weft-relay/weft/transports/twister/rpc"
	"github.com/weft-relay/weft/transports/twister/twistertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// world is a network with one daemon a user, all of whom are registered.
type world struct {
	*twistertest.Network
	users   []string
	daemons map[string]*twistertest.Daemon
	dirs    string
}

// blocks are mined before a test begins: enough for thousands of posts.
const blocks = 3000

func newWorld(t *testing.T, opts twistertest.Options, users ...string) *world {
	t.Helper()
	w := newPoorWorld(t, opts, users...)
	w.Mine(blocks)
	return w
}

// newPoorWorld is one with so few blocks that users can post no more than 23 times.
func newPoorWorld(t *testing.T, opts twistertest.Options, users ...string) *world {
	t.Helper()
	n, err := twistertest.New(opts)
	require.NoError(t, err)
	t.Cleanup(n.Close)
	w := &world{Network: n, users: users, daemons: map[string]*twistertest.Daemon{}, dirs: t.TempDir()}
	for _, user := range users {
		d, err := n.Daemon(user)
		require.NoError(t, err)
		require.Eventually(t, d.Ready, patience, time.Millisecond)
		require.NoError(t, d.Register(user))
		w.daemons[user] = d
	}
	n.Mine(2)
	return w
}

// config is quick, and has all other users as peers.
func (w *world) config(user string) twister.Config {
	return twister.Config{
		URL: w.daemons[user].URL(), User: user, Peers: slices.DeleteFunc(slices.Clone(w.users), func(u string) bool { return u == user }),
		DataDir: w.dirs, Poll: 3 * time.Millisecond, Second: 3 * time.Millisecond, ReceiptDelay: 3 * time.Millisecond, ResendAfter: time.Second,
	}
}

// node starts a transport that ends with the test.
func (w *world) node(t *testing.T, user string, change ...func(*twister.Config)) *twister.Transport {
	t.Helper()
	n := w.transport(t, user, change...)
	require.NoError(t, n.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	return n
}

// transport returns one that is not started.
func (w *world) transport(t *testing.T, user string, change ...func(*twister.Config)) *twister.Transport {
	t.Helper()
	c := w.config(user)
	for _, f := range change {
		f(&c)
	}
	n, err := twister.New(c, quiet())
	require.NoError(t, err)
	return n
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// posts returns how many posts of a user his daemon has.
func (w *world) posts(t *testing.T, user string) []rpc.Post {
	t.Helper()
	client, err := rpc.New(rpc.Config{URL: w.daemons[user].URL()})
	require.NoError(t, err)
	posts, err := client.Posts(t.Context(), 1<<20, rpc.AllPosts, 0, rpc.Range{User: user})
	require.NoError(t, err)
	return slices.DeleteFunc(posts, rpc.Post.Promoted)
}

func frame(number int) *message.Message {
	return message.NewMessage(fmt.Sprintf("frame-%d", number), fmt.Appendf(nil, "frame %d", number))
}

// send publishes a frame until it is taken, as a lane does.
func send(ctx context.Context, n *twister.Transport, to string, m *message.Message) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		again := m.Copy()
		again.SetContext(attempt)
		err := n.Publish(transports.Direct(to), again)
		cancel()
		if err == nil || ctx.Err() != nil || transports.IsPermanent(err) || errors.Is(err, twister.ErrClosed) {
			return err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func publish(t *testing.T, n *twister.Transport, to string, frames ...*message.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, m := range frames {
		m.SetContext(ctx)
	}
	require.NoError(t, n.Publish(transports.Direct(to), frames...))
}

func subscribe(t *testing.T, n *twister.Transport) <-chan *message.Message {
	t.Helper()
	inbox, err := n.Subscribe(t.Context(), transports.Inbox)
	require.NoError(t, err)
	return inbox
}

func receive(t *testing.T, inbox <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-inbox:
		require.True(t, ok, "channel closed")
		return m
	case <-time.After(patience):
		require.FailNow(t, "no frame")
	}
	return nil
}

// gather acknowledges what comes, until the subscription ends.
type gather struct {
	mu   sync.Mutex
	got  []string
	done chan struct{}
}

func gatherFrom(inbox <-chan *message.Message) *gather {
	g := &gather{done: make(chan struct{})}
	go func() {
		defer close(g.done)
		for m := range inbox {
			g.mu.Lock()
			g.got = append(g.got, string(m.Payload))
			g.mu.Unlock()
			m.Ack()
		}
	}()
	return g
}

func (g *gather) all() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.got)
}
