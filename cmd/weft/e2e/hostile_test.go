package e2e_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/identity"
)

func stranger(t *testing.T) *identity.Identity {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	id, err := identity.New(key)
	require.NoError(t, err)
	return id
}

// sealed is a frame of one message for bob or whoever else has the key.
func sealed(t *testing.T, id *identity.Identity, origin, to string, key ed25519.PublicKey, topic string, seq uint64) []byte {
	t.Helper()
	recipient, err := identity.NewRecipient(key)
	require.NoError(t, err)
	data, err := frame.Seal(id, origin, to, recipient.Sealer(frame.SealInfo(origin, to)), &frame.Frame{Lane: 1, Epoch: 1, Messages: []frame.Message{{
		Seq: seq, Time: time.Now(), Topic: topic, Payload: []byte("hostile"), QoS: 1,
	}}})
	require.NoError(t, err)
	return data
}

// Somebody has got at the NATS server and publishes what he likes into bob's inbox. Is each frame refused and counted, does
// the broker get none of it, and does bob go on with what his peer sends?
func TestHostileFramesAreRefusedAndCounted(t *testing.T) {
	m, alice, bob := pair(t)
	bob.node.config["subscribe"] = list{"doors/#"}
	m.start()
	sub := bob.broker.sub("-t", "#", "-F", "%t %p")
	conn := m.nats.connect()
	spy, err := conn.SubscribeSync("weft.direct.bob")
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
	alice.broker.pub("-t", "doors/1", "-q", "1", "-m", "open")
	awaitLines(t, sub, "doors/1 open")
	genuine, err := spy.NextMsg(5 * time.Second)
	require.NoError(t, err)
	flipped := bytes.Clone(genuine.Data)
	flipped[len(flipped)/2] ^= 1

	bobKey, mallory := key(t, bob), stranger(t)
	aliceID, err := identity.Load(alice.node.dataDir())
	require.NoError(t, err)
	newer := bytes.Clone(genuine.Data[:len(genuine.Data)-ed25519.SignatureSize])
	newer[2]++
	newer = append(newer, aliceID.Sign(newer)...)
	sent := map[string]int{}
	send := func(reason string, data []byte) {
		sent[reason]++
		require.NoError(t, conn.PublishMsg(&nats.Msg{
			Subject: "weft.direct.bob", Data: data, Header: nats.Header{"Nats-Msg-Id": {fmt.Sprintf("x/bob/%s-%d", reason, sent[reason])}},
		}))
	}
	for range 3 {
		send("malformed", nil)
		send("malformed", []byte("rubbish"))
		send("malformed", bytes.Repeat([]byte{0xff}, 500_000))
		send("malformed", genuine.Data[:len(genuine.Data)/2][:4])
		send("newer_version", newer)
		send("not_a_peer", sealed(t, mallory, "mallory", "bob", bobKey, "doors/2", 1))
		send("bad_signature", sealed(t, mallory, "alice", "bob", bobKey, "doors/2", 1))
		send("bad_signature", flipped)
		send("not_for_us", sealed(t, aliceID, "alice", "carol", mallory.Public(), "doors/2", 1))
		send("own_frame", sealed(t, mallory, "bob", "bob", bobKey, "doors/2", 1))
		send("duplicate", genuine.Data)
	}
	// A peer that has turned hostile may send what it likes, but not what bob did not ask for.
	send("not_subscribed", sealed(t, aliceID, "alice", "bob", bobKey, "lamps/1", 1))
	send("bad_topic", sealed(t, aliceID, "alice", "bob", bobKey, "doors/+", 2))
	send("bad_topic", sealed(t, aliceID, "alice", "bob", bobKey, "doors/\xc3\x28", 3))
	send("bad_topic", sealed(t, aliceID, "alice", "bob", bobKey, "doors/\x00", 4))
	send("bad_topic", sealed(t, aliceID, "alice", "bob", bobKey, "doors/"+strings.Repeat("x", 70_000), 5))

	alice.broker.pub("-t", "doors/1", "-q", "1", "-m", "shut")
	awaitLines(t, sub, "doors/1 open", "doors/1 shut")
	bob.node.await(20*time.Second, func(s pipeline.Status) error {
		for reason, n := range sent {
			if s.Incoming.Refused[reason] != uint64(n) {
				return fmt.Errorf("%d refused as %s, not %d: %v", s.Incoming.Refused[reason], reason, n, s.Incoming.Refused)
			}
		}
		return nil
	})
	s, err := bob.node.status()
	require.NoError(t, err)
	require.Len(t, s.Incoming.Refused, len(sent), "%v", s.Incoming.Refused)
	require.EqualValues(t, 2, s.Incoming.Delivered)
}

func key(t *testing.T, s *site) ed25519.PublicKey {
	t.Helper()
	status, err := s.node.status()
	require.NoError(t, err)
	k, err := identity.ParseKey(status.Key)
	require.NoError(t, err)
	return k
}

// Somebody announces in alice's name, in nobody's, and more than anybody could. Does bob keep to what alice has signed?
func TestForgedProfilesChangeNothing(t *testing.T) {
	m, alice, bob := pair(t)
	alice.node.config["subscribe"] = list{"doors/#"}
	m.start()
	conn := m.nats.connect()
	for _, forged := range [][]byte{nil, []byte("wp\x01rubbish"), bytes.Repeat([]byte("wp\x01"), 50_000)} {
		require.NoError(t, conn.Publish("$KV.WEFT_PROFILES.alice", forged))
		require.NoError(t, conn.Publish("$KV.WEFT_PROFILES.mallory", forged))
	}
	require.NoError(t, conn.Flush())
	sub := alice.broker.sub("-t", "#", "-F", "%t %p")
	bob.broker.pub("-t", "lamps/1", "-m", "on")
	bob.broker.pub("-t", "doors/1", "-m", "open")
	awaitLines(t, sub, "doors/1 open")
	bob.node.awaitWishes("alice", "doors/#")
}

// The operator of the NATS server puts a profile back that alice has signed, and replaced since. Do her later wishes stay in
// effect, in a node that runs and in one that starts, and does she put hers back herself?
func TestReplayedProfileChangesNothing(t *testing.T) {
	m, alice, bob := pair(t)
	alice.node.config["subscribe"] = list{"doors/#"}
	m.start()
	js, err := jetstream.New(m.nats.connect())
	require.NoError(t, err)
	bucket, err := js.KeyValue(t.Context(), "WEFT_PROFILES")
	require.NoError(t, err)
	old, err := bucket.Get(t.Context(), "alice")
	require.NoError(t, err)
	alice.node.config["subscribe"] = list{"lamps/#"}
	alice.node.reload()
	bob.node.awaitWishes("alice", "lamps/#")
	alice.node.stop()

	replay := func() {
		t.Helper()
		_, err := bucket.Put(t.Context(), "alice", old.Value())
		require.NoError(t, err)
	}
	replay()
	_, err = bucket.Put(t.Context(), "alice", []byte("forged")) // it is complained of: what came before is through
	require.NoError(t, err)
	bob.node.await(10*time.Second, func(s pipeline.Status) error {
		if s.Peers[0].Problem == "" {
			return fmt.Errorf("the forged profile has not come yet")
		}
		return nil
	})
	bob.node.awaitWishes("alice", "lamps/#")
	replay()
	bob.node.stop()
	bob.node.start()
	bob.node.awaitReady()
	bob.broker.pub("-t", "doors/1", "-q", "1", "-m", "open")
	bob.node.await(10*time.Second, func(s pipeline.Status) error { // the directory's copy is stale, and says nothing of what she wants now
		if l := s.Lanes[0]; l.Depth != 1 || l.Frames != 0 {
			return fmt.Errorf("%d messages of 1 wait, %d frames were sent", l.Depth, l.Frames)
		}
		return nil
	})
	bob.node.awaitWishes("alice", "lamps/#")

	alice.node.start()
	alice.node.awaitReady()
	replay()
	eventually(t, 20*time.Second, func() error {
		now, err := bucket.Get(t.Context(), "alice")
		if err == nil && bytes.Equal(now.Value(), old.Value()) {
			err = fmt.Errorf("alice has not put her profile back")
		}
		return err
	})
	bob.node.await(10*time.Second, func(s pipeline.Status) error {
		if l := s.Lanes[0]; l.Depth != 0 || l.Dropped["unwanted"] != 1 || l.Frames != 0 {
			return fmt.Errorf("%d messages wait, %d of 1 are unwanted, %d frames were sent", l.Depth, l.Dropped["unwanted"], l.Frames)
		}
		return nil
	})
	sub := alice.broker.sub("-t", "#", "-F", "%t %p")
	bob.broker.pub("-t", "lamps/1", "-m", "on")
	awaitLines(t, sub, "lamps/1 on")
}
