package twister

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/rpc"
)

func TestTurnsGoByPriorityAndThenByWhoCameFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all turns
		require.NoError(t, all.take(t.Context(), 0))
		gone := make(chan string, 10)
		for i, priority := range []int{0, 5, 0, 9, 5} {
			go func() {
				if all.take(t.Context(), priority) == nil {
					gone <- fmt.Sprint(i)
					all.give()
				}
			}()
			synctest.Wait()
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { gone <- fmt.Sprint(all.take(ctx, 99)) }()
		synctest.Wait()
		cancel()
		require.Equal(t, "context canceled", <-gone)
		all.give()
		var order []string
		for range 5 {
			order = append(order, <-gone)
		}
		require.Equal(t, "3 1 4 0 2", strings.Join(order, " "))
		require.NoError(t, all.take(t.Context(), 0), "all have given it back")
	})
}

// Posts are spent, and broadcast frames wait for blocks.
func TestBroadcastFramesGoByPriorityWhenPostsAreShort(t *testing.T) {
	n, atAlice, _ := twoTwisterds(t)
	c := testConfig(t, atAlice, alice, bob)
	require.NoError(t, makeFolder(c))
	require.NoError(t, saveState(statePath(c, "poster.json"), posterState{Next: 500, Last: -1}))
	a, _ := open(t, c)
	for i, priority := range []int{0, 0, 9} {
		m := message.NewMessage(fmt.Sprint("uuid", i), fmt.Append(nil, "frame ", i))
		m.Metadata.Set(transports.MetaPriority, fmt.Sprint(priority))
		m.SetContext(t.Context())
		spawn(t, func(context.Context) { _ = a.Publish(transports.Broadcast, m) })
		eventually(t, "it waits", func() bool {
			a.feed.turn.mu.Lock()
			defer a.feed.turn.mu.Unlock()
			return a.feed.turn.taken && len(a.feed.turn.waiting) == i
		})
	}
	n.Mine(1000)
	var order []string
	eventually(t, "all are posted", func() bool {
		posts, err := newClient(t, atAlice).Posts(t.Context(), 10, rpc.PlainPosts, 0, rpc.Range{User: alice})
		order = make([]string, 3)
		for _, p := range posts {
			if part, err := parsePart(p.Text); err == nil {
				order[p.K-500] = string(part.data)
			}
		}
		return err == nil && order[0] != "" && order[1] != "" && order[2] != ""
	})
	require.Equal(t, []string{"frame 0", "frame 2", "frame 1"}, order, "the first had its turn")
}
