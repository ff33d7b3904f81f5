package pipeline

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-relay/weft/pipeline/profile"
	"github.com/weft-relay/weft/transports"
)

// plaza is a directory that shows what the test says. It takes what is announced unless refusal is set.
type plaza struct {
	refusal error
	shown   chan transports.Announcement
	taken   chan []byte // what was announced, as far as there is room
}

func newPlaza(refusal error) *plaza {
	return &plaza{refusal, make(chan transports.Announcement), make(chan []byte, 100)}
}

func (p *plaza) Announce(_ context.Context, data []byte) error {
	if p.refusal == nil {
		p.taken <- data
	}
	return p.refusal
}

func (p *plaza) Watch(context.Context) (<-chan transports.Announcement, error) { return p.shown, nil }

func (p *plaza) Start(context.Context) error { return nil }
func (p *plaza) Close() error                { return nil }

// show shows a profile under a name, made by the identity of the seed, that asks of alice for the filters.
func (p *plaza) show(t *testing.T, at string, seed byte, node string, version uint64, filters ...string) {
	t.Helper()
	data, err := profile.Encode(testIdentity(t, seed), node, version, []profile.Entry{{Peer: testIdentity(t, 1).Public(), Filters: filters}})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case p.shown <- transports.Announcement{Node: at, Profile: data}:
	case <-time.After(10 * time.Second):
		t.Fatal("nobody takes what the directory shows")
	}
}

// lines is a log in memory.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) count(words string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), words)
}

// testDirectory is alice's, running.
func testDirectory(t *testing.T, p *plaza) (*board, *interests, *lines) {
	t.Helper()
	in, log := testInterests(t, t.TempDir()), &lines{}
	in.log = slog.New(slog.NewTextHandler(log, nil))
	b := newDirectory(Config{Node: "alice"}, testIdentity(t, 1), p, in, in.log)
	b.start()
	t.Cleanup(b.stop)
	t.Cleanup(func() { close(p.shown) })
	return b, in, log
}

// The own profile cannot be announced while the directory shows an older one of it again and again. Does what a peer wants take
// effect all the same?
func TestPeersAreHeardWhileTheOwnProfileCannotBeAnnounced(t *testing.T) {
	p := newPlaza(errors.New("the disk of the directory is full"))
	_, in, _ := testDirectory(t, p)
	for version := range uint64(5) {
		p.show(t, "alice", 1, "alice", version)
	}
	p.show(t, "mqtt_bob", 2, "bob", 10, "doors/#")
	await(t, func() bool { return len(wanting(in, "doors/1")) == 1 })
}

func TestRefusedProfileThatComesAndGoesIsLoggedOnce(t *testing.T) {
	p := newPlaza(nil)
	_, in, log := testDirectory(t, p)
	for range 5 {
		p.show(t, "mqtt_bob", 2, "bob", 10, "doors/#")
		p.show(t, "mqtt_bob", 3, "bob", 11, "doors/#")
	}
	p.show(t, "mqtt_carol", 3, "carol", 1, "windows/#")
	await(t, func() bool { return len(wanting(in, "windows/1")) == 1 })
	if n := log.count("profile refused"); n != 1 {
		t.Errorf("logged %d times, not once", n)
	}
}

// The disk is full when a peer announces itself. Does that take effect, is it no fault of the peer's, and is it logged once?
func TestProfileThatCannotBeKeptIsInEffect(t *testing.T) {
	p := newPlaza(nil)
	_, in, log := testDirectory(t, p)
	if err := os.RemoveAll(in.dir); err != nil {
		t.Fatal(err)
	}
	for version := range uint64(3) {
		p.show(t, "mqtt_bob", 2, "bob", version+1, "doors/#")
	}
	p.show(t, "mqtt_bob", 2, "bob", 10, "windows/#")
	await(t, func() bool { return len(wanting(in, "windows/1")) == 1 })
	if problem := in.problem("bob"); problem != "" {
		t.Error(problem)
	}
	if n := log.count("cannot be kept"); n != 1 {
		t.Errorf("logged %d times, not once", n)
	}
}

// Another process announces itself under the node's name, again and again. Is that reported, and does the node put its own profile
// back each time? What is seen once or twice may be what the node itself was before.
func TestRivalUnderTheSameNameIsReported(t *testing.T) {
	for _, tt := range []struct {
		name, words string
		seed        byte
	}{
		{"with its identity", "another process runs with this node's identity", 1},
		{"with another key", "another node announces itself as alice with another key", 7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlaza(nil)
				b, _, log := testDirectory(t, p)
				first := version(t, <-p.taken)
				p.show(t, "alice", 1, "alice", first-1) // of the last run
				for i := range uint64(3) {
					if problem := b.rivals.problem("alice"); problem != "" {
						t.Fatalf("seen %d times: %s", i, problem)
					}
					p.show(t, "alice", tt.seed, "alice", first+1000*(i+1))
					synctest.Wait()
					time.Sleep(10 * time.Second)
				}
				if problem := b.rivals.problem("alice"); !strings.HasPrefix(problem, tt.words) {
					t.Errorf("reported %q", problem)
				}
				if n := log.count("not alone under its name"); n != 1 {
					t.Errorf("logged %d times, not once", n)
				}
				for range 3 {
					if again := version(t, <-p.taken); again <= first {
						t.Errorf("announced version %d after %d", again, first)
					}
				}
				time.Sleep(rivalFor)
				if problem := b.rivals.problem("alice"); problem != "" {
					t.Errorf("5 minutes later: %s", problem)
				}
			})
		})
	}
}

// The directory shows what was announced a moment later, and at first the profile of the last run. Does the node announce itself once
// more, and then no more?
func TestLateEchoOfTheOwnProfileIsNoRival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaza(nil)
		testDirectory(t, p)
		first := version(t, <-p.taken)
		p.show(t, "alice", 1, "alice", first-1)
		synctest.Wait() // seen, and put right in a second
		p.show(t, "alice", 1, "alice", first)
		again := version(t, <-p.taken)
		p.show(t, "alice", 1, "alice", again)
		time.Sleep(10 * time.Second)
		if n := len(p.taken); n > 0 {
			t.Errorf("announced %d times more", n)
		}
	})
}

// version returns the version of a profile of alice.
func version(t *testing.T, data []byte) uint64 {
	t.Helper()
	p, err := profile.Open(data, testIdentity(t, 1).Public(), testIdentity(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	return p.Version
}
