package e2e_test

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/transports"
)

// requireBalance fails the test unless what came to the lane is what was delivered, is queued, or was dropped for a reason.
func requireBalance(t *testing.T, l pipeline.LaneStatus) {
	t.Helper()
	sum := l.Delivered + uint64(l.Depth)
	for _, n := range l.Dropped {
		sum += n
	}
	require.Equal(t, l.In, sum, "in = delivered + queued + dropped: %+v", l.Stats)
}

// flood publishes 2,000 messages of about 250 bytes into a lane of 64 KiB whose network is down, and returns the load and the
// lane's account, which must be right, and stay right over a kill -9.
func flood(t *testing.T, m *mesh, queue object) (*load, pipeline.LaneStatus) {
	t.Helper()
	alice, bob := m.sites[0], m.sites[1]
	queue["bytes"] = "64KiB"
	alice.node.config["routes"] = list{object{"name": "all", "match": list{"#"}, "to": "hub", "queue": queue}}
	bob.node.config["routes"] = list{}
	m.start()
	m.nats.kill()
	l := newLoad(t, alice.broker.addr, "q1", 1)
	l.topics, l.pad = 1, strings.Repeat("x", 200)
	require.NoError(t, l.publish(t.Context(), 2000))
	if queue["when_full"] != "block" {
		alice.node.await(20*time.Second, func(s pipeline.Status) error {
			if s.Outgoing.Taken != 2000 {
				return fmt.Errorf("%d of 2000 messages were taken", s.Outgoing.Taken)
			}
			return nil
		})
	}
	account := func() pipeline.LaneStatus {
		t.Helper()
		s, err := alice.node.status()
		require.NoError(t, err)
		lane := lane(t, s, "all/bob")
		requireBalance(t, lane)
		require.LessOrEqual(t, lane.Bytes, int64(64<<10))
		return lane
	}
	before := account()
	alice.node.kill()
	alice.node.start()
	after := account()
	require.GreaterOrEqual(t, after.In, before.In)
	return l, after
}

// arrivals starts the network, and returns what arrives.
func arrivals(t *testing.T, m *mesh) *record {
	t.Helper()
	r := newRecord(t, m.sites[1].broker.addr, "#", 1)
	m.nats.start()
	m.sites[0].node.awaitEmpty(30 * time.Second)
	return r
}

// requireRun fails the test unless exactly the messages from one number to before another came, once and in order.
func requireRun(t *testing.T, r *record, from, to int) {
	t.Helper()
	r.awaitArrivals(t, to-from, 20*time.Second)
	r.requireOrder(t)
	r.requireOnce(t)
	for n := from; n < to; n++ {
		require.Equal(t, 1, r.count("q1/0", n), "number %d", n)
	}
	require.Equal(t, to-from, r.arrivals())
}

func TestFullLaneThatDropsTheNewKeepsTheOldest(t *testing.T) {
	m, _, _ := pair(t)
	_, lane := flood(t, m, object{"when_full": "drop_new"})
	require.EqualValues(t, 2000-lane.Depth, lane.Dropped["full"])
	requireRun(t, arrivals(t, m), 0, lane.Depth)
}

// What is on its way to the network is not dropped: the messages that were in flight when the lane filled up are still first.
func TestFullLaneThatDropsTheOldestKeepsTheNewest(t *testing.T) {
	m, _, _ := pair(t)
	_, lane := flood(t, m, object{"when_full": "drop_oldest"})
	require.EqualValues(t, 2000-lane.Depth, lane.Dropped["full"])
	r := arrivals(t, m)
	r.awaitArrivals(t, lane.Depth, 20*time.Second)
	r.requireOrder(t)
	r.requireOnce(t)
	inFlight := 0
	for r.count("q1/0", inFlight) == 1 {
		inFlight++
	}
	require.Less(t, inFlight, 50, "messages of the first frame")
	for n := 2000 - lane.Depth + inFlight; n < 2000; n++ {
		require.Equal(t, 1, r.count("q1/0", n), "number %d", n)
	}
}

func TestFullLaneThatBlocksLosesNothing(t *testing.T) {
	m, _, _ := pair(t)
	l, lane := flood(t, m, object{"when_full": "block"})
	require.Empty(t, lane.Dropped)
	require.Less(t, lane.Depth, 2000)
	r := newRecord(t, m.sites[1].broker.addr, "#", 1)
	m.nats.start()
	r.awaitAll(t, l, 30*time.Second)
	r.requireOrder(t)
}

func TestMessagesOlderThanTheLimitAreDropped(t *testing.T) {
	m, alice, _ := pair(t)
	flood(t, m, object{"when_full": "drop_new", "age": "1s"})
	alice.node.await(20*time.Second, func(s pipeline.Status) error {
		l := lane(t, s, "all/bob")
		requireBalance(t, l)
		if l.Depth > 0 {
			return fmt.Errorf("%d messages are still queued", l.Depth)
		}
		return nil
	})
	alice.broker.pub("-t", "q1/0", "-q", "1", "-m", "2000 fresh")
	r := arrivals(t, m)
	requireRun(t, r, 2000, 2001)
}

// The bucket of profiles was made by somebody else, with room for less than this node's profile. Is that named where people and
// machines look, logged once, and over when its operator has raised the limit?
func TestProfileThatTheBucketDoesNotTakeIsAProblemUntilItDoes(t *testing.T) {
	m := newMesh(t, []string{"alice", "bob"})
	alice, bob := m.sites[0], m.sites[1]
	m.nats.start()
	js, err := jetstream.New(m.nats.connect())
	require.NoError(t, err)
	bucket := jetstream.KeyValueConfig{Bucket: "WEFT_PROFILES", MaxValueSize: 100}
	_, err = js.CreateKeyValue(t.Context(), bucket)
	require.NoError(t, err)
	m.introduce()
	for _, s := range m.sites {
		s.broker.start()
		s.node.start()
	}
	const words = "the bucket WEFT_PROFILES, made by somebody else, takes 100; raise it"
	eventually(t, 20*time.Second, func() error {
		code, body, err := alice.node.get("/readyz")
		if err == nil && (code != http.StatusServiceUnavailable || !strings.Contains(body, words)) {
			err = fmt.Errorf("/readyz says %d %q", code, body)
		}
		return err
	})
	out, err := exec.Command(weftBin, "status", "-c", alice.node.file).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), words)
	bucket.MaxValueSize = transports.MaxProfile
	_, err = js.UpdateKeyValue(t.Context(), bucket)
	require.NoError(t, err)
	bob.node.awaitWishes("alice", "#")
	alice.node.awaitReady()
	require.Equal(t, 1, strings.Count(alice.node.output(), words), "lines in the log")
}
