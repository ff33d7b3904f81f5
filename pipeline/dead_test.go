package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/identity"
)

// unreadableFrames are of alice, for bob, and signed by her: one is sealed with what is not bob's key, one is for everybody and
// no run.
func unreadableFrames(t *testing.T) [][]byte {
	t.Helper()
	carol, err := identity.NewRecipient(testIdentity(t, 3).Public())
	if err != nil {
		t.Fatal(err)
	}
	f := &frame.Frame{Lane: 1, Epoch: 1, Messages: []frame.Message{{Seq: 1, Topic: "x"}}}
	sealed, err := frame.Seal(testIdentity(t, 1), "alice", "bob", carol.Sealer(frame.SealInfo("alice", "bob")), f)
	if err != nil {
		t.Fatal(err)
	}
	f.Messages[0].QoS = 3
	return [][]byte{sealed, frame.Sign(testIdentity(t, 1), "alice", f)}
}

// What a peer has signed for this node and what cannot be read all the same must not vanish. Is it acknowledged only when the
// dead letter is with the broker, and does the letter say what it was?
func TestFrameOfAPeerThatCannotBeReadGoesToTheDeadLetters(t *testing.T) {
	down := true
	broker := &wire{refuse: func([]byte) error {
		if down {
			return errors.New("the broker is away")
		}
		return nil
	}}
	n := testIn(t, broker, Subscription{Filter: "#", MaxQoS: 2})
	for _, data := range unreadableFrames(t) {
		down = true
		for range maxLetters + 1 { // what was not sent takes nothing of the quota
			if n.take(nil, runOfOne(data)) == nil {
				t.Fatal("acknowledged without a dead letter")
			}
		}
		down = false
		if err := n.take(nil, runOfOne(data)); err != nil {
			t.Fatal(err)
		}
		letters := broker.letters(t)
		if len(letters) != 1 || letters[0].Lane != "from alice" || letters[0].Reason == "" || !bytes.Equal(letters[0].Payload, data) {
			t.Errorf("dead letters %+v", letters)
		}
	}
	if got := n.refused.all(); !mapsEqual(got, map[string]uint64{refusedRecipient: 1, refusedMalformed: 1}) {
		t.Errorf("refused %v", got)
	}
}

// A peer that has turned hostile sends nothing but what cannot be published, each with the longest topic it can think of.
func TestAPeerCannotFloodTheDeadLetters(t *testing.T) {
	broker := &wire{}
	n := testIn(t, broker, Subscription{Filter: "#", MaxQoS: 2})
	f := &frame.Frame{Lane: 1, Epoch: 1}
	for i := range 2 * maxLetters {
		f.Messages = append(f.Messages, frame.Message{Seq: uint64(i + 1), Topic: strings.Repeat("\x00", 1<<20), Payload: make([]byte, 1<<10)})
	}
	if err := n.take(nil, fromAlice(t, f)); err != nil {
		t.Fatal(err)
	}
	letters := broker.letters(t)
	if len(letters) != maxLetters || len(letters[0].Topic) > 2*maxDeadText || len(letters[0].Reason) > 2*maxDeadText {
		t.Errorf("%d dead letters", len(letters))
	}
	if got := n.refused.all(); !mapsEqual(got, map[string]uint64{refusedTopic: 2 * maxLetters, refusedLetter: maxLetters}) {
		t.Errorf("refused %v", got)
	}
}

func TestReasonOfADeadLetterIsReadable(t *testing.T) {
	broker := &wire{}
	dead := &deadLetters{sink: broker, log: slog.New(slog.DiscardHandler)}
	if err := dead.publish(t.Context(), deadLetter{Reason: "invalid operation: <nil> > int"}); err != nil {
		t.Fatal(err)
	}
	if got := string(broker.got[0].Payload); !strings.HasPrefix(got, `{"reason":"invalid operation: <nil> > int",`) || !strings.HasSuffix(got, "}") {
		t.Error(got)
	}
}

// The same with what the broker alone refuses.
func TestAPeerCannotFloodTheDeadLettersWithWhatTheBrokerRefuses(t *testing.T) {
	broker := &wire{}
	n := testIn(t, broker, Subscription{Filter: "#", MaxQoS: 2})
	n.sink = &refuser{broker}
	f := &frame.Frame{Lane: 1, Epoch: 1}
	for i := range 2 * maxLetters {
		f.Messages = append(f.Messages, frame.Message{Seq: uint64(i + 1), Topic: "doors/1", QoS: 1})
	}
	if err := n.take(nil, fromAlice(t, f)); err != nil {
		t.Fatal(err)
	}
	if letters := broker.letters(t); len(letters) != maxLetters {
		t.Errorf("%d dead letters", len(letters))
	}
	if got := n.refused.all(); !mapsEqual(got, map[string]uint64{refusedByBroker: 2 * maxLetters, refusedLetter: maxLetters}) {
		t.Errorf("refused %v", got)
	}
}

// Whoever can publish on the network chooses what his frame says of itself. Does the log repeat no more than a name of it?
func TestLogRepeatsLittleOfWhatAStrangerSays(t *testing.T) {
	n, long := testIn(t, &wire{}), strings.Repeat("x", 1<<20)
	f := &frame.Frame{Lane: 1, Epoch: 1, Messages: []frame.Message{{Seq: 1, Topic: "doors/1"}}}
	misled, err := frame.Seal(testIdentity(t, 1), "alice", long, testPeers(t)[0].sealer, f)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"origin": frame.Sign(testIdentity(t, 1), long, f), "recipient": misled} {
		if _, _, err := n.open(nil, message.NewMessage("", data)); err == nil || len(err.Error()) > 300 {
			t.Errorf("%s: an error of %d bytes", name, len(fmt.Sprint(err)))
		}
	}
}
