package twister

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/rpc"
	"github.com/weft-relay/weft/transports/twister/twistertest"
)

// open starts a transport that ends with the test, or with stop.
func open(t testing.TB, c Config) (n *Transport, log *logBuffer) {
	t.Helper()
	log = &logBuffer{}
	n, err := New(c, slog.New(slog.NewTextHandler(log, nil)))
	require.NoError(t, err)
	require.NoError(t, n.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	return n, log
}

func profileOf(t testing.TB, at *twistertest.Daemon, user string) (fields map[string]any, seq int) {
	t.Helper()
	entries, err := newClient(t, at).DHTGet(t.Context(), user, "profile", rpc.Single, 0)
	require.NoError(t, err)
	if len(entries) == 0 {
		return nil, -1
	}
	fields, _ = entries[0].Value.(map[string]any)
	return fields, entries[0].Seq
}

func putProfile(t testing.TB, at *twistertest.Daemon, user string, seq int64, fields any) {
	t.Helper()
	require.NoError(t, newClient(t, at).DHTPut(t.Context(), user, "profile", rpc.Single, fields, user, seq))
}

func show(t testing.TB, n *Transport, filters ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	require.NoError(t, n.ShowWishes(ctx, filters))
}

// seen is the filters of a peer that were delivered last.
func awaitWishes(t testing.TB, wishes <-chan transports.Wishes, node string, filters ...string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case w := <-wishes:
			if w.Node == node && fmt.Sprint(w.Filters) == fmt.Sprint(filters) {
				return
			}
		case <-deadline:
			t.Fatalf("never seen: %s wants %q", node, filters)
		}
	}
}

func watchWishes(t testing.TB, n *Transport) <-chan transports.Wishes {
	t.Helper()
	wishes, err := n.WatchWishes(t.Context())
	require.NoError(t, err)
	return wishes
}

func TestFiltersAreShownAmongWhatTheProfileHolds(t *testing.T) {
	_, atAlice, atBob := twoTwisterds(t)
	other := map[string]any{"fullname": "Alice", "bio": "漢 <&>  \"q\"", "n": 5, "list": []any{"x", map[string]any{"y": 1}}}
	putProfile(t, atAlice, alice, 7, other)
	n, _ := open(t, testConfig(t, atAlice, alice, bob))
	show(t, n, "doors/#", "fridges/#")
	fields, seq := profileOf(t, atBob, alice)
	require.Equal(t, []any{"doors/#", "fridges/#"}, fields["mqtt_topics"])
	require.Equal(t, 8, seq)
	for key, value := range other {
		require.Equal(t, fmt.Sprint(value), fmt.Sprint(fields[key]), key)
	}
	show(t, n, "earrings/#")
	fields, _ = profileOf(t, atBob, alice)
	require.Equal(t, []any{"earrings/#"}, fields["mqtt_topics"])
	require.Equal(t, "Alice", fields["fullname"])
}

// No node answers with the profile, but it was seen before.
func TestProfileThatIsNotFoundIsMergedFromWhatWasKept(t *testing.T) {
	_, atAlice, atBob := twoTwisterds(t)
	putProfile(t, atAlice, alice, 7, map[string]any{"fullname": "Alice"})
	c := testConfig(t, atAlice, alice, bob)
	n, _ := open(t, c)
	show(t, n, "doors/#")
	require.NoError(t, n.Close())
	atAlice.Kill()
	atBob.Kill() // neither has saved its store
	require.NoError(t, atAlice.Start())
	require.NoError(t, atBob.Start())
	fields, _ := profileOf(t, atBob, alice)
	require.Nil(t, fields)
	n, _ = open(t, c)
	show(t, n, "fridges/#")
	fields, seq := profileOf(t, atBob, alice)
	require.Equal(t, "Alice", fields["fullname"])
	require.Equal(t, []any{"fridges/#"}, fields["mqtt_topics"])
	require.Equal(t, 9, seq)
}

// The first put goes out before the profile was ever seen. Does it spoil nothing?
func TestProfileThatWasNeverSeenIsNotReplaced(t *testing.T) {
	n, atAlice, atBob := twoTwisterds(t)
	fresh, empty := newTwisterd(t, n, "fresh"), newTwisterd(t, n, "empty")
	require.NoError(t, fresh.ImportKey(atAlice, alice))
	for _, cut := range []*twistertest.Daemon{fresh, empty} {
		n.Partition(cut, atAlice)
		n.Partition(cut, atBob)
	}
	putProfile(t, atAlice, alice, 1, map[string]any{"fullname": "Alice"})
	atAlice.Kill() // so that bob's daemon alone has it
	node, log := open(t, testConfig(t, fresh, alice, bob))
	show(t, node, "doors/#")
	_, seq := profileOf(t, empty, alice)
	require.Zero(t, seq)
	n.Heal(fresh, atBob)
	eventually(t, "the two are merged", func() bool {
		fields, _ := profileOf(t, atBob, alice)
		return fields["fullname"] == "Alice" && fields["mqtt_topics"] != nil
	})
	require.Contains(t, log.String(), "putting them back")
}

func TestFiltersThatWereEditedAwayAreShownAgain(t *testing.T) {
	_, atAlice, atBob := twoTwisterds(t)
	n, log := open(t, testConfig(t, atAlice, alice, bob))
	show(t, n, "doors/#")
	for range 3 {
		_, seq := profileOf(t, atBob, alice)
		putProfile(t, atAlice, alice, int64(seq)+1, map[string]any{"bio": fmt.Sprint("edit of ", seq)})
		eventually(t, "the filters are back", func() bool {
			fields, _ := profileOf(t, atBob, alice)
			return fields["mqtt_topics"] != nil && fields["bio"] == fmt.Sprint("edit of ", seq)
		})
	}
	require.Equal(t, 1, log.count("putting them back"))
}

func TestFiltersAreShownOnceADHTNodeIsThere(t *testing.T) {
	n, atAlice, atBob := twoTwisterds(t)
	n.Partition(atAlice, atBob)
	node, _ := open(t, testConfig(t, atAlice, alice, bob))
	ctx, cancel := context.WithCancel(t.Context())
	shown := make(chan error)
	go func() { shown <- node.ShowWishes(ctx, []string{"doors/#"}) }()
	eventually(t, "it is tried", func() bool {
		node.directory.mu.Lock()
		defer node.directory.mu.Unlock()
		return node.directory.kept.Own != nil
	})
	cancel()
	require.ErrorIs(t, <-shown, context.Canceled)
	n.Heal(atAlice, atBob)
	eventually(t, "it goes on", func() bool {
		fields, _ := profileOf(t, atBob, alice)
		return fields["mqtt_topics"] != nil
	})
}

func TestFiltersThatDoNotFitAProfileAreRefusedForGood(t *testing.T) {
	_, atAlice, atBob := twoTwisterds(t)
	putProfile(t, atAlice, alice, 1, map[string]any{"bio": strings.Repeat("x", 4000)})
	n, _ := open(t, testConfig(t, atAlice, alice, bob))
	err := n.ShowWishes(t.Context(), []string{strings.Repeat("x", 8192)})
	require.True(t, transports.IsPermanent(err), "%v", err)
	require.ErrorContains(t, err, "takes 8192")
	err = n.ShowWishes(t.Context(), []string{strings.Repeat("x", 4100)})
	require.True(t, transports.IsPermanent(err), "with what else the profile holds: %v", err)
	err = n.ShowWishes(t.Context(), []string{"\xff"})
	require.True(t, transports.IsPermanent(err), "%v", err)
	show(t, n, strings.Repeat("x", 4000))
	fields, _ := profileOf(t, atBob, alice)
	require.Len(t, fields["bio"], 4000)
}

// What is the longest filter that passes, beside nothing else? (8101 bytes were measured of a profile that is one string)
func TestLargestProfileIsTakenByOtherNodes(t *testing.T) {
	_, atAlice, atBob := twoTwisterds(t)
	n, _ := open(t, testConfig(t, atAlice, alice, bob))
	length := 8192
	for ; fits(alice, "mqtt_topics", map[string]any{"mqtt_topics": []any{strings.Repeat("x", length)}}) != nil; length-- {
	}
	show(t, n, strings.Repeat("x", length))
	fields, _ := profileOf(t, atBob, alice)
	require.NotNil(t, fields)
	require.Greater(t, length, 8000)
}

func TestPeersFiltersArriveChangeAndSurviveRestarts(t *testing.T) {
	_, atAlice, atBob := twoTwisterds(t)
	c := testConfig(t, atAlice, alice, bob)
	n, log := open(t, c)
	wishes := watchWishes(t, n)
	atBobs, _ := open(t, testConfig(t, atBob, bob, alice))
	show(t, atBobs, "doors/#", "fridges/#")
	awaitWishes(t, wishes, bob, "doors/#", "fridges/#")
	awaitWishes(t, watchWishes(t, n), bob, "doors/#", "fridges/#")
	show(t, atBobs, "earrings/#")
	awaitWishes(t, wishes, bob, "earrings/#")
	require.Equal(t, 1, log.count("filters of a peer"), "changes are not logged each time")
	require.NoError(t, n.Close())
	for range wishes { // until it is closed
	}
	atAlice.Stop()
	n, _ = open(t, c)
	awaitWishes(t, watchWishes(t, n), bob, "earrings/#")
	require.NoError(t, atAlice.Start())
	show(t, atBobs)
	awaitWishes(t, watchWishes(t, n), bob)
}

// Does a node that still has an older profile take nothing back, and one that alone is left win in the end?
func TestOlderProfileCountsOnlyIfNothingElseIsRead(t *testing.T) {
	_, atAlice, _ := twoTwisterds(t)
	c := testConfig(t, atAlice, alice, bob)
	d := newDirectory(c, newClient(t, atAlice), nil, newStatus(slog.New(slog.DiscardHandler)), slog.New(slog.DiscardHandler))
	entry := func(seq int, filter string) rpc.Entry {
		return rpc.Entry{Signer: bob, Seq: seq, Value: map[string]any{"mqtt_topics": filter}}
	}
	for _, e := range []rpc.Entry{entry(5, "new"), entry(4, "old"), entry(4, "old"), entry(5, "new"), entry(4, "old"), entry(4, "old")} {
		d.takeProfile(bob, e)
		require.Equal(t, []string{"new"}, d.kept.Peers[bob].Filters)
	}
	d.takeProfile(bob, entry(4, "old"))
	require.Equal(t, []string{"old"}, d.kept.Peers[bob].Filters)
}

func TestOddProfilesAreBoundedAndCounted(t *testing.T) {
	many := make([]any, 100_000)
	for i := range many {
		many[i] = fmt.Sprint("filter/", i)
	}
	hashes := make([]any, 1000)
	for i := range hashes {
		hashes[i] = "#"
	}
	for _, tt := range []struct {
		name    string
		value   any
		want    int // filters
		dropped bool
	}{
		{"a string", map[string]any{"mqtt_topics": "a,b\nc"}, 1, false},
		{"a list", map[string]any{"mqtt_topics": []any{"a", "b"}}, 2, false},
		{"none", map[string]any{"bio": "x"}, 0, false},
		{"the same a thousand times", map[string]any{"mqtt_topics": hashes}, 1, false},
		{"a megabyte", map[string]any{"mqtt_topics": many}, 830, true},
		{"one of a megabyte", map[string]any{"mqtt_topics": strings.Repeat("x", 1<<20)}, 0, true},
		{"numbers and lists among them", map[string]any{"mqtt_topics": []any{5, "a", []any{"b"}, map[string]any{}}}, 1, true},
		{"an object", map[string]any{"mqtt_topics": map[string]any{"a": "b"}}, 0, true},
		{"a number", map[string]any{"mqtt_topics": 5}, 0, true},
		{"no profile", "text", 0, true},
	} {
		filters, dropped := wishesIn(tt.value, "mqtt_topics")
		require.InDelta(t, tt.want, len(filters), float64(tt.want)/3, tt.name)
		require.Equal(t, tt.dropped, dropped > 0, tt.name)
	}
}

func TestHostileProfileReachesThePipelineBounded(t *testing.T) {
	_, atAlice, atBob := twoTwisterds(t)
	n, log := open(t, testConfig(t, atAlice, alice, bob))
	wishes := watchWishes(t, n)
	large := make([]any, 50_000) // other nodes refuse it, his own hands it out
	for i := range large {
		large[i] = fmt.Sprint("x/", i)
	}
	for seq := range 5 {
		putProfile(t, atBob, bob, int64(seq)+1, map[string]any{"mqtt_topics": large[seq:]})
	}
	select {
	case w := <-wishes:
		require.Less(t, len(strings.Join(w.Filters, "")), maxProfile)
		require.Greater(t, len(w.Filters), 100)
	case <-time.After(30 * time.Second):
		t.Fatal("no filters")
	}
	require.Greater(t, n.Report().Dropped[dropWishes], uint64(1000))
	require.Equal(t, 1, log.count("drops something"))
}

func TestBencodeLengthIsThatOfBencoding(t *testing.T) {
	require.Equal(t, len("d1:ai-5e3:keyl2:xyi100eee"), bencodeLen(map[string]any{"a": -5, "key": []any{"xy", 100}}))
}
