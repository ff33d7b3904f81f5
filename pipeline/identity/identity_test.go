package identity_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-relay/weft/pipeline/identity"
)

func load(t *testing.T, dir string) *identity.Identity {
	t.Helper()
	id, err := identity.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestIdentityIsMadeOnceAndKeptPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	first := load(t, dir)
	info, err := os.Stat(filepath.Join(dir, "identity.key"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %04o, want 0600", info.Mode().Perm())
	}
	if !first.Public().Equal(load(t, dir).Public()) {
		t.Error("a second start made another identity")
	}
}

func TestTwoProcessesThatStartTogetherNeverKeepTwoIdentities(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	keys := make([]ed25519.PublicKey, 8)
	for i := range keys {
		wg.Go(func() {
			if id, err := identity.Load(dir); err == nil { // whoever comes second may fail, but never with a key of its own
				keys[i] = id.Public()
			}
		})
	}
	wg.Wait()
	kept := load(t, dir).Public()
	for _, k := range keys {
		if k != nil && !k.Equal(kept) {
			t.Fatal("a process runs with an identity that is not the kept one")
		}
	}
}

func TestIdentityFileThatCannotServeIsRefusedWithTheCure(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(path string) error
		want   string
	}{
		"readable by others": {func(p string) error { return os.Chmod(p, 0o644) }, "chmod 600"},
		"rubbish":            {func(p string) error { return os.WriteFile(p, []byte("hello"), 0o600) }, "not an identity file"},
		"truncated":          {func(p string) error { return os.Truncate(p, 30) }, "not an identity file"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			load(t, dir)
			if err := tc.change(filepath.Join(dir, "identity.key")); err != nil {
				t.Fatal(err)
			}
			if _, err := identity.Load(dir); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
		})
	}
}

func TestOnlyTheRecipientOpensWhatIsSealedForIt(t *testing.T) {
	alice, bob := load(t, t.TempDir()), load(t, t.TempDir())
	to, err := identity.NewRecipient(bob.Public())
	if err != nil {
		t.Fatal(err)
	}
	info, secret := []byte("info"), []byte("the doors are open")
	sealer, opener := to.Sealer(info), bob.Opener(info)
	first, err := sealer.Seal(secret)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := sealer.Seal(secret)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(first, sealed) {
		t.Error("the same data looks the same when it is sealed again")
	}
	if len(sealed) != len(secret)+identity.Overhead {
		t.Errorf("sealing adds %d bytes, want %d", len(sealed)-len(secret), identity.Overhead)
	}
	for _, s := range [][]byte{sealed, first, sealed} { // in any order, and again
		if got, err := opener.Open(s); err != nil || !bytes.Equal(got, secret) {
			t.Errorf("opened %q, %v", got, err)
		}
	}
	if _, err := alice.Opener(info).Open(sealed); err == nil {
		t.Error("somebody else opened it")
	}
	if _, err := bob.Opener([]byte("other")).Open(sealed); err == nil {
		t.Error("opened under another info")
	}
	for i := range sealed {
		altered := bytes.Clone(sealed)
		altered[i] ^= 1
		if _, err := opener.Open(altered); err == nil {
			t.Errorf("opened although byte %d is altered", i)
		}
	}
	if _, err := opener.Open(sealed[:identity.Overhead-1]); err == nil {
		t.Error("opened although truncated")
	}
}

// A sender takes a new key at each start and each hour. Does an opener read what any number of them have sealed?
func TestEveryKeyOfASenderIsRead(t *testing.T) {
	bob := load(t, t.TempDir())
	to, err := identity.NewRecipient(bob.Public())
	if err != nil {
		t.Fatal(err)
	}
	opener := bob.Opener(nil)
	var sealed [][]byte
	for i := range byte(20) {
		s, err := to.Sealer(nil).Seal([]byte{i})
		if err != nil {
			t.Fatal(err)
		}
		sealed = append(sealed, s)
	}
	for range 2 {
		for i, s := range sealed {
			if got, err := opener.Open(s); err != nil || !bytes.Equal(got, []byte{byte(i)}) {
				t.Errorf("start %d: opened %x, %v", i, got, err)
			}
		}
	}
}

func TestASenderChangesItsKeyEveryHour(t *testing.T) {
	bob := load(t, t.TempDir())
	to, err := identity.NewRecipient(bob.Public())
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		sealer, opener := to.Sealer(nil), bob.Opener(nil)
		keys := map[string]bool{}
		for range 5 {
			sealed, err := sealer.Seal([]byte("x"))
			if err != nil {
				t.Fatal(err)
			}
			keys[string(sealed[:32])] = true
			if _, err := opener.Open(sealed); err != nil {
				t.Error(err)
			}
			time.Sleep(31 * time.Minute)
		}
		if len(keys) != 3 {
			t.Errorf("%d keys in 2 hours, want 3", len(keys))
		}
	})
}

func TestKeysAreWrittenAsTheyAreRead(t *testing.T) {
	key, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	got, err := identity.ParseKey(identity.FormatKey(key))
	if err != nil || !got.Equal(key) {
		t.Errorf("got %x, %v", got, err)
	}
	noPoint := bytes.Repeat([]byte{2}, 32) // y = 2 + 2*2^8 + ... is the y of no point of the curve
	for _, bad := range []string{"", "ed25519:", "ed25519:abc", identity.FormatKey(key)[8:], identity.FormatKey(key) + "A", identity.FormatKey(noPoint)} {
		if _, err := identity.ParseKey(bad); err == nil || !strings.Contains(err.Error(), "weft id") {
			t.Errorf("%q: error %v, want one that names `weft id`", bad, err)
		}
	}
}
