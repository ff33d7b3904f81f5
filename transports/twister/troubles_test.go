package twister

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/rpc"
	"github.com/weft-relay/weft/transports/twister/twistertest"
)

// A daemon that fetches the chain has another height at each look.
func TestTroubleThatOnlyCountsOnIsLoggedOnce(t *testing.T) {
	log := &logBuffer{}
	s := newStatus(newLog(log))
	for height := range 1000 {
		s.set(transports.Stalled, fmt.Errorf("user %s: %w (it has %d)", alice, rpc.ErrNoSuchUser, height))
		s.set(transports.Stalled, beside(fmt.Errorf("%w (%d)", errBlind, height), fmt.Errorf("%w (%d)", errCliff, height)))
	}
	require.Equal(t, 2, log.count("level=WARN"), "%s", log)
	require.Contains(t, s.report().Detail, "(999)", "the report has the numbers")
	for i := range 1000 {
		s.set(transports.Stalled, fmt.Errorf("trouble %d", i))
	}
	require.LessOrEqual(t, len(s.warned), maxWarned)
}

// While nothing can be read of the DHT the user edits his profile elsewhere. Does the edit last?
func TestEditOfTheProfileOutlastsADHTThatIsAway(t *testing.T) {
	n, atAlice, atBob := twoTwisterds(t)
	other := newTwisterd(t, n, "other")
	require.NoError(t, other.ImportKey(atAlice, alice))
	putProfile(t, atAlice, alice, 1, map[string]any{"fullname": "Alice"})
	node, _ := open(t, testConfig(t, atAlice, alice, bob))
	show(t, node, "doors/#")
	_, seq := profileOf(t, atBob, alice)
	n.Partition(atAlice, atBob)
	n.Partition(atAlice, other)
	putProfile(t, other, alice, int64(seq)+1, map[string]any{"bio": "edited", "mqtt_topics": []any{"doors/#"}})
	w := &wish{filters: []string{"doors/#"}, done: make(chan struct{})}
	for range 10 {
		require.NoError(t, node.directory.put(t.Context(), w, false))
	}
	own := func() profile {
		node.directory.mu.Lock()
		defer node.directory.mu.Unlock()
		return *node.directory.kept.Own
	}
	require.Equal(t, seq, own().Seq)
	n.Heal(atAlice, atBob)
	n.Heal(atAlice, other)
	eventually(t, "the edit is read", func() bool {
		p := own()
		return p.fields()["bio"] == "edited"
	})
	fields, now := profileOf(t, atBob, alice)
	require.Equal(t, "edited", fields["bio"])
	require.Equal(t, seq+1, now)
}

// The list of one peer is larger than an answer may be.
func TestListThatIsTooLargeKeepsNoOtherFromBeingRead(t *testing.T) {
	n, atAlice, atBob := twoTwisterds(t)
	atCarol := newTwisterd(t, n, "c")
	require.NoError(t, atCarol.Register("mqtt_carol"))
	n.Mine(100)
	require.NoError(t, atBob.Follow(bob, bob, alice, "mqtt_carol"))
	require.NoError(t, atAlice.Follow(alice, alice, bob))
	for k := range 5 {
		_, err := newClient(t, atAlice).DirectMessage(t.Context(), alice, k, bob, strings.Repeat(fmt.Sprint(k), 1500))
		require.NoError(t, err)
	}
	_, err := newClient(t, atCarol).DirectMessage(t.Context(), "mqtt_carol", 0, bob, `{"topic": "a", "payload": "MQ==", "qos": 0}`)
	require.NoError(t, err)
	log := &logBuffer{}
	c := testConfig(t, atBob, bob, alice, "mqtt_carol")
	b, err := New(c, newLog(log))
	require.NoError(t, err)
	small, err := rpc.New(rpc.Config{URL: c.URL, MaxAnswer: 4096})
	require.NoError(t, err)
	b.client, b.daemon.client = small, small
	require.NoError(t, b.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	inbox, err := b.Subscribe(t.Context(), transports.Inbox)
	require.NoError(t, err)
	require.Equal(t, "mqtt_carol", next(t, inbox).Metadata.Get(transports.MetaFrom))
	eventually(t, "it is said what to do", func() bool { return strings.Contains(b.Report().Detail, "move its user_data away") })
	eventually(t, "and logged", func() bool { return log.count("direct messages not read") == 1 })
}

// What could not be measured is measured again no sooner than what could.
func TestUserDataIsNotMeasuredAgainAtEachLook(t *testing.T) {
	_, atAlice, _ := twoTwisterds(t)
	client := newClient(t, atAlice)
	d := newDaemon(testConfig(t, atAlice, alice, bob), client, newStatus(quietLog()), nil, quietLog())
	var calls atomic.Int64
	atAlice.SetFault(func(string) twistertest.Fault { calls.Add(1); return twistertest.DropAnswer })
	for range 5 {
		d.watchData(t.Context())
	}
	require.EqualValues(t, 1, calls.Load())
	d.start.measured = time.Now().Add(-2 * d.pace.data)
	d.watchData(t.Context())
	require.EqualValues(t, 2, calls.Load())
}
