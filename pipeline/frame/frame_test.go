package frame_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/identity"
)

var update = flag.Bool("update", false, "write the golden files anew")

func node(t testing.TB, seed byte) *identity.Identity {
	t.Helper()
	id, err := identity.New(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// sealer seals for bob's identity what alice sends.
func sealer(t testing.TB, bob *identity.Identity) *identity.Sealer {
	t.Helper()
	key, err := identity.NewRecipient(bob.Public())
	if err != nil {
		t.Fatal(err)
	}
	return key.Sealer(frame.SealInfo("alice", "bob"))
}

func sealFor(t testing.TB, from, to *identity.Identity, f *frame.Frame) []byte {
	t.Helper()
	data, err := frame.Seal(from, "alice", "bob", sealer(t, to), f)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func open(data []byte, self *identity.Identity, name string, origin ed25519.PublicKey) (*frame.Frame, error) {
	e, err := frame.Parse(data)
	if err != nil {
		return nil, err
	}
	return e.Open(name, origin, self.Opener(frame.SealInfo(e.Origin, name)))
}

// openProven is open where the network has said that alice sent it.
func openProven(data []byte, self *identity.Identity, name string, _ ed25519.PublicKey) (*frame.Frame, error) {
	e, err := frame.Parse(data)
	if err != nil {
		return nil, err
	}
	return e.OpenProven(name, self.Opener(frame.SealInfo(e.Origin, name)))
}

// sample has every kind of message: topic kept and changed, time standing and going back, gaps in the sequence, each QoS,
// retain, an empty payload, and enough text for compression to pay.
func sample() *frame.Frame {
	at := time.UnixMilli(1_800_000_000_123)
	return &frame.Frame{Lane: 0xfeedfacecafebeef, Epoch: 1_799_999_999_999, Messages: []frame.Message{
		{Seq: 3<<40 | 1, Time: at, Topic: "doors/1", Payload: []byte("open"), QoS: 1},
		{Seq: 3<<40 | 2, Time: at, Topic: "doors/1", Payload: []byte("closed"), QoS: 2, Retain: true},
		{Seq: 3<<40 | 9, Time: at.Add(-time.Second), Topic: "doors/2", Retain: true},
		{Seq: 4<<40 | 1, Time: at.Add(time.Hour), Topic: "a//b c/ü/$x.*>", Payload: []byte{0, 255, 128}},
		{Seq: 4<<40 | 2, Time: at.Add(time.Hour), Topic: "long", Payload: []byte(strings.Repeat("temperature 21.5 ", 40)), QoS: 1},
	}}
}

func TestFrameArrivesAsItWasSent(t *testing.T) {
	alice, bob := node(t, 1), node(t, 2)
	for name, data := range map[string][]byte{
		"sealed": sealFor(t, alice, bob, sample()),
		"open":   frame.Sign(alice, "alice", sample()),
	} {
		got, err := open(data, bob, "bob", alice.Public())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(got, sample()) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, sample())
		}
	}
}

// A golden file of each version stays readable for ever. Broadcasts are deterministic, so that their bytes are compared as well.
func TestGoldenFramesAreRead(t *testing.T) {
	alice, bob := node(t, 1), node(t, 2)
	broadcast, direct := filepath.Join("testdata", "v1-broadcast.frame"), filepath.Join("testdata", "v1-direct.frame")
	plain := filepath.Join("testdata", "v1-plain.frame")
	if *update {
		for path, data := range map[string][]byte{broadcast: frame.Sign(alice, "alice", sample()), direct: sealFor(t, alice, bob, sample()), plain: frame.Plain("alice", sample())} {
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, path := range []string{broadcast, direct, plain} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		read := open
		if path == plain {
			read = openProven
		}
		got, err := read(data, bob, "bob", alice.Public())
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if !reflect.DeepEqual(got, sample()) {
			t.Errorf("%s: got %+v", path, got)
		}
		if path == broadcast && !bytes.Equal(data, frame.Sign(alice, "alice", sample())) || path == plain && !bytes.Equal(data, frame.Plain("alice", sample())) {
			t.Errorf("%s: the encoding has changed: it needs a new version", path)
		}
	}
}

func TestFrameOfANewerVersionSaysWhatToDo(t *testing.T) {
	data := frame.Sign(node(t, 1), "alice", sample())
	data[2] = 2
	_, err := frame.Parse(data)
	if !errors.Is(err, frame.ErrVersion) || !strings.Contains(err.Error(), "update this relay") {
		t.Errorf("error %v", err)
	}
}

func TestFrameThatIsNotForUsOrNotGenuineIsRefused(t *testing.T) {
	alice, bob, eve := node(t, 1), node(t, 2), node(t, 3)
	genuine := sealFor(t, alice, bob, sample())
	flipped := bytes.Clone(genuine)
	flipped[len(flipped)/2] ^= 1
	forged := sealFor(t, eve, bob, sample())
	for name, tc := range map[string]struct {
		data   []byte
		self   *identity.Identity
		name   string
		origin ed25519.PublicKey
		want   error
	}{
		"flipped":                 {flipped, bob, "bob", alice.Public(), frame.ErrSignature},
		"forged":                  {forged, bob, "bob", alice.Public(), frame.ErrSignature},
		"for somebody else":       {genuine, eve, "eve", alice.Public(), frame.ErrRecipient},
		"somebody with our name":  {genuine, eve, "bob", alice.Public(), frame.ErrRecipient},
		"origin without a key":    {genuine, bob, "bob", nil, frame.ErrSignature},
		"not a frame":             {[]byte("hello"), bob, "bob", alice.Public(), frame.ErrMalformed},
		"nothing":                 {nil, bob, "bob", alice.Public(), frame.ErrMalformed},
		"only a header":           {[]byte("wf\x01"), bob, "bob", alice.Public(), frame.ErrMalformed},
		"larger than any may be":  {make([]byte, frame.MaxSize+1), bob, "bob", alice.Public(), frame.ErrMalformed},
		"plain":                   {frame.Plain("alice", sample()), bob, "bob", alice.Public(), frame.ErrSignature},
		"plain, without a key":    {frame.Plain("alice", sample()), bob, "bob", nil, frame.ErrSignature},
		"passed on as eve's own ": {resign(t, genuine, eve), bob, "bob", eve.Public(), frame.ErrRecipient},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := open(tc.data, tc.self, tc.name, tc.origin); !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
		})
	}
}

// resign takes a sealed body out of alice's envelope and signs it as eve's, which a peer of both could try.
func resign(t *testing.T, data []byte, eve *identity.Identity) []byte {
	t.Helper()
	signed := bytes.Replace(data[:len(data)-ed25519.SignatureSize], []byte("\x05alice"), []byte("\x03eve"), 1)
	return append(signed, eve.Sign(signed)...)
}

// The network has proven the sender, whose key is not known here: it may have signed and sealed all the same.
func TestFrameOfAProvenSenderIsReadWithoutItsKey(t *testing.T) {
	alice, bob, eve := node(t, 1), node(t, 2), node(t, 3)
	for name, data := range map[string][]byte{
		"plain":  frame.Plain("alice", sample()),
		"signed": frame.Sign(alice, "alice", sample()),
		"sealed": sealFor(t, alice, bob, sample()),
	} {
		got, err := openProven(data, bob, "bob", nil)
		if err != nil || !reflect.DeepEqual(got, sample()) {
			t.Errorf("%s: %+v, error %v", name, got, err)
		}
	}
	if _, err := openProven(sealFor(t, alice, bob, sample()), eve, "eve", nil); !errors.Is(err, frame.ErrRecipient) {
		t.Errorf("sealed for somebody else: error %v", err)
	}
	if len(frame.Plain("alice", sample())) != len(frame.Sign(alice, "alice", sample()))-ed25519.SignatureSize {
		t.Error("a plain frame has the room of a signature")
	}
}

func TestOperatorOfTheNetworkSeesNeitherTopicNorPayload(t *testing.T) {
	f := sample()
	f.Messages = f.Messages[:1] // small: not compressed, so that only the seal hides it
	data := sealFor(t, node(t, 1), node(t, 2), f)
	for _, word := range []string{"doors", "open"} {
		if bytes.Contains(data, []byte(word)) {
			t.Errorf("%q can be read in the sealed frame", word)
		}
	}
}

func TestCompressionIsUsedOnlyWhenItPays(t *testing.T) {
	alice := node(t, 1)
	noise := make([]byte, 4096)
	state := uint64(1)
	for i := range noise {
		state = state*6364136223846793005 + 1442695040888963407
		noise[i] = byte(state >> 56)
	}
	one := func(payload []byte) int {
		return len(frame.Sign(alice, "alice", &frame.Frame{Messages: []frame.Message{{Topic: "t", Payload: payload}}}))
	}
	if got := one(noise); got > len(noise)+200 {
		t.Errorf("noise of %d bytes became %d", len(noise), got)
	}
	if got := one(bytes.Repeat([]byte("21.5 "), 1000)); got > 500 {
		t.Errorf("5000 bytes of repetition became %d", got)
	}
}

// A small frame that expands to more than any frame may have is refused before the memory is spent.
func TestFrameThatExpandsWithoutEndIsRefused(t *testing.T) {
	alice := node(t, 1)
	huge := frame.Sign(alice, "alice", &frame.Frame{Messages: []frame.Message{{Topic: "t", Payload: make([]byte, frame.MaxSize+1)}}})
	if len(huge) > 1<<20 {
		t.Fatalf("the test needs a small frame, this one has %d bytes", len(huge))
	}
	if _, err := open(huge, node(t, 2), "bob", alice.Public()); !errors.Is(err, frame.ErrMalformed) {
		t.Errorf("error %v, want ErrMalformed", err)
	}
}

func FuzzOpen(f *testing.F) {
	alice, bob := node(f, 1), node(f, 2)
	f.Add(frame.Sign(alice, "alice", sample()))
	f.Add(sealFor(f, alice, bob, sample()))
	f.Add([]byte("wf\x01"))
	f.Add(frame.Plain("alice", sample()))
	f.Add([]byte("wu\x02"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := open(data, bob, "bob", alice.Public()); err == nil {
			return
		}
		if got, err := openProven(data, bob, "bob", nil); err == nil {
			valid(t, got)
			return
		}
		// What a genuine but hostile peer could send: anything, properly signed.
		if len(data) == 0 {
			return
		}
		body := append([]byte("wf\x01"), data...)
		got, err := open(append(body, alice.Sign(body)...), bob, "bob", alice.Public())
		if err != nil {
			return
		}
		valid(t, got)
	})
}

func valid(t *testing.T, f *frame.Frame) {
	for i, m := range f.Messages {
		if m.QoS > 2 || i > 0 && m.Seq <= f.Messages[i-1].Seq {
			t.Fatalf("accepted %+v", f.Messages)
		}
	}
}

func BenchmarkSealAndOpen(b *testing.B) {
	alice, bob := node(b, 1), node(b, 2)
	to, from := sealer(b, bob), bob.Opener(frame.SealInfo("alice", "bob"))
	for _, n := range []int{1, 100} {
		f := &frame.Frame{}
		for i := range n {
			f.Messages = append(f.Messages, frame.Message{Seq: uint64(i + 1), Topic: "sensors/temperature/1", Payload: []byte(`{"temperature":21.5,"humidity":40,"battery":98,"ok":true}`), QoS: 1})
		}
		b.Run(map[int]string{1: "1 message", 100: "100 messages"}[n], func(b *testing.B) {
			for b.Loop() {
				data, err := frame.Seal(alice, "alice", "bob", to, f)
				if err != nil {
					b.Fatal(err)
				}
				e, err := frame.Parse(data)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := e.Open("bob", alice.Public(), from); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/message")
		})
	}
}

// An empty message takes two bytes before compression and a hundred in memory.
func TestFrameOfTooManyMessagesIsRefused(t *testing.T) {
	alice := node(t, 1)
	f := &frame.Frame{Messages: make([]frame.Message, frame.MaxMessages+1)}
	for i := range f.Messages {
		f.Messages[i].Seq = uint64(i + 1)
	}
	if _, err := open(frame.Sign(alice, "alice", f), node(t, 2), "bob", alice.Public()); !errors.Is(err, frame.ErrMalformed) {
		t.Errorf("error %v, want ErrMalformed", err)
	}
	f.Messages = f.Messages[1:]
	if _, err := open(frame.Sign(alice, "alice", f), node(t, 2), "bob", alice.Public()); err != nil {
		t.Errorf("%d messages: %v", len(f.Messages), err)
	}
}
