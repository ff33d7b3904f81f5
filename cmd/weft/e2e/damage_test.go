package e2e_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline"
)

// The journal is damaged while it holds messages. Does the node start, set aside and report what is damaged, hand on what is
// whole in its order, and go on with its work?
func TestNodeStartsOnADamagedJournal(t *testing.T) {
	for _, damage := range []struct {
		name string
		do   func(file []byte, at int) []byte
	}{
		{"truncated", func(file []byte, at int) []byte { return file[:at] }},
		{"flipped", func(file []byte, at int) []byte { file[at] ^= 0x10; return file }},
		{"zeroed", func(file []byte, at int) []byte { clear(file[at:min(at+4096, len(file))]); return file }},
		{"emptied", func([]byte, int) []byte { return nil }},
	} {
		t.Run(damage.name, func(t *testing.T) {
			m, alice, bob := pair(t)
			m.start()
			m.nats.stop()
			l := newLoad(t, alice.broker.addr, "q1", 1)
			require.NoError(t, l.publish(t.Context(), 2000))
			awaitQueued(t, alice.node, "all/bob", 2000)
			alice.node.kill()
			file := largestSegment(t, alice.node)
			whole, err := os.ReadFile(file)
			require.NoError(t, err)
			whole = bytes.TrimRight(whole, "\x00") // to cut off what was only written ahead is no damage
			at := len(whole)/4 + rand.N(len(whole)/2)
			if bytes.HasPrefix(whole[at:], []byte{0xE5, 0x57}) { // nor is a cut between two records
				at++
			}
			t.Logf("damaged at %d of %d bytes", at, len(whole))
			require.NoError(t, os.WriteFile(file, damage.do(whole, at), 0o600))

			r := newRecord(t, bob.broker.addr, "#", 1)
			alice.node.start()
			require.Regexp(t, `level=(WARN|ERROR) .*damage|an unfinished record at the end was dropped|a segment is empty`, alice.node.output())
			set, err := filepath.Glob(filepath.Join(alice.node.dataDir(), "damaged", "*"))
			require.NoError(t, err)
			require.Equal(t, damage.name != "emptied", len(set) > 0, "what is damaged is set aside")

			m.nats.start()
			alice.node.awaitEmpty(30 * time.Second)
			fresh := newLoad(t, alice.broker.addr, "fresh", 1)
			require.NoError(t, fresh.publish(t.Context(), 100))
			r.awaitAll(t, fresh, 20*time.Second)
			r.requireOrder(t)
			lost, _ := r.missing(l, 0)
			t.Logf("%d of 2000 messages were lost", lost)
			alice.node.await(5*time.Second, func(s pipeline.Status) error {
				requireBalance(t, lane(t, s, "all/bob"))
				return nil
			})
			if damage.name == "flipped" || damage.name == "zeroed" {
				require.Less(t, lost, 1000, "messages lost with at most 4096 damaged bytes of %d", len(whole))
			}
		})
	}
}

func largestSegment(t *testing.T, n *node) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(n.dataDir(), "journal", "*.seg"))
	require.NoError(t, err)
	require.NotEmpty(t, files, "no journal in %s", n.dataDir())
	return slices.MaxFunc(files, func(a, b string) int { return int(size(t, a) - size(t, b)) })
}

func size(t *testing.T, file string) int64 {
	t.Helper()
	info, err := os.Stat(file)
	require.NoError(t, err)
	return info.Size()
}

// Every file of the data directory is overwritten with noise. The identity cannot be guessed, and the node says so; without it
// in the way the node starts.
func TestNodeSaysWhenItsIdentityIsDamaged(t *testing.T) {
	m, alice, _ := pair(t)
	m.start()
	alice.node.kill()
	key := filepath.Join(alice.node.dataDir(), "identity.key")
	require.NoError(t, os.WriteFile(key, []byte("noise"), 0o600))
	alice.node.write()
	alice.node.program.start()
	require.Equal(t, 1, alice.node.exit(20*time.Second))
	require.Contains(t, alice.node.output(), fmt.Sprintf("identity %s: not an identity file", key))
}

// What the node keeps beside its journal is damaged: the peer's profile, the version of its own, the frames kept for a later
// version. Does it start, say what it leaves out, and learn and announce everything anew?
func TestNodeStartsOnDamagedProfilesAndKeptFrames(t *testing.T) {
	m, alice, bob := pair(t)
	m.start()
	alice.node.stop()
	profiles, kept := filepath.Join(alice.node.dataDir(), "profiles", "hub"), filepath.Join(alice.node.dataDir(), "kept")
	for path, content := range map[string]string{
		filepath.Join(profiles, "bob"):                    "noise",
		filepath.Join(profiles, ".version"):               "\x00noise",
		filepath.Join(kept, "00000000000000000001.frame"): "",
		filepath.Join(kept, "00000000000000000002.frame"): "noise",
		filepath.Join(kept, "00000000000000000003.frame"): "wf\x01\xff\xff\xff",
		filepath.Join(kept, "not-one.frame"):              "wf\x01",
	} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	require.NoError(t, os.Mkdir(filepath.Join(kept, "folder.frame"), 0o700))
	alice.node.config["subscribe"] = list{"fresh/#"}
	alice.node.start()
	alice.node.awaitReady()
	alice.node.awaitWishes("bob", "#")
	bob.node.awaitWishes("alice", "fresh/#")
	require.Contains(t, alice.node.output(), "kept profile left out")
	require.Contains(t, alice.node.output(), "the version of the own profile cannot be read")
	alice.node.await(10*time.Second, func(s pipeline.Status) error {
		if n := s.Incoming.Refused["malformed"]; n != 4 {
			return fmt.Errorf("%d damaged frames are counted, not 4", n)
		}
		return nil
	})
	sub := alice.broker.sub("-t", "#", "-F", "%t %p")
	bob.broker.pub("-t", "fresh/1", "-q", "1", "-m", "on")
	awaitLines(t, sub, "fresh/1 on")
}
