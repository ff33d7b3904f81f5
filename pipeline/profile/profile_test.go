package profile_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/weft-relay/weft/pipeline/identity"
	"github.com/weft-relay/weft/pipeline/profile"
)

func node(t testing.TB, seed byte) *identity.Identity {
	t.Helper()
	id, err := identity.New(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func encode(t testing.TB, id *identity.Identity, entries ...profile.Entry) []byte {
	t.Helper()
	data, err := profile.Encode(id, "bob", 7, entries)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestEachPeerReadsItsOwnWishesAndNobodyElses(t *testing.T) {
	bob, alice, carol, eve := node(t, 1), node(t, 2), node(t, 3), node(t, 4)
	data := encode(t, bob,
		profile.Entry{Peer: alice.Public(), Filters: []string{"doors/#", "alarms/+", "doors/#"}},
		profile.Entry{Peer: carol.Public()})
	for _, tc := range []struct {
		name   string
		reader *identity.Identity
		want   profile.Profile
	}{
		{"asked", alice, profile.Profile{Node: "bob", Version: 7, Listed: true, Filters: []string{"alarms/+", "doors/#"}}},
		{"listed, asked for nothing", carol, profile.Profile{Node: "bob", Version: 7, Listed: true}},
		{"not listed", eve, profile.Profile{Node: "bob", Version: 7}},
	} {
		got, err := profile.Open(data, bob.Public(), tc.reader)
		if err != nil || !reflect.DeepEqual(*got, tc.want) {
			t.Errorf("%s: %+v, %v; want %+v", tc.name, got, err, tc.want)
		}
	}
	if bytes.Contains(data, []byte("doors")) {
		t.Error("a filter can be read by everybody")
	}
}

func TestProfileThatItsNodeDidNotMakeIsRefused(t *testing.T) {
	bob, alice := node(t, 1), node(t, 2)
	genuine := encode(t, bob, profile.Entry{Peer: alice.Public(), Filters: []string{"a"}})
	for i := range genuine {
		data := bytes.Clone(genuine)
		data[i] ^= 1
		if _, err := profile.Open(data, bob.Public(), alice); !errors.Is(err, profile.ErrInvalid) {
			t.Fatalf("byte %d flipped: error %v", i, err)
		}
	}
	if _, err := profile.Open(genuine, alice.Public(), alice); !errors.Is(err, profile.ErrInvalid) || !errors.Is(err, profile.ErrSignature) {
		t.Errorf("another key: error %v", err)
	}
	if _, err := profile.Open(nil, bob.Public(), alice); !errors.Is(err, profile.ErrInvalid) {
		t.Errorf("nothing: error %v", err)
	}
}

func TestHostilePeersWishesAreHeldToTheRules(t *testing.T) {
	bob, alice := node(t, 1), node(t, 2)
	for name, filters := range map[string][]string{
		"no filter":        {"a#"},
		"shared":           {"$share/g/a"},
		"too many filters": strings.Split(strings.Repeat("x,", profile.MaxFilters), ","),
	} {
		data := encode(t, bob, profile.Entry{Peer: alice.Public(), Filters: filters})
		if _, err := profile.Open(data, bob.Public(), alice); !errors.Is(err, profile.ErrInvalid) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// What Check passes a reader takes, up to the last byte.
func TestLargestProfileThatCheckPassesIsRead(t *testing.T) {
	bob, alice, carol := node(t, 1), node(t, 2), node(t, 3)
	entries := []profile.Entry{{Peer: alice.Public()}, {Peer: carol.Public()}}
	for i := 0; profile.Check("bob", entries) == nil; i++ {
		entries[1].Filters = append(entries[1].Filters, strings.Repeat("x", 60_000))
	}
	last := &entries[1].Filters[len(entries[1].Filters)-1]
	for profile.Check("bob", entries) != nil {
		*last = (*last)[1:]
	}
	data := encode(t, bob, entries...)
	if len(data) > profile.MaxSize || len(data) < profile.MaxSize-9 { // a version may take 10 bytes, and 7 takes one
		t.Errorf("%d bytes, at most %d were announced", len(data), profile.MaxSize)
	}
	if _, err := profile.Open(data, bob.Public(), alice); err != nil {
		t.Error(err)
	}
	many := profile.Entry{Peer: alice.Public(), Filters: strings.Split(strings.Repeat("x,", profile.MaxFilters), ",")}
	if err := profile.Check("bob", []profile.Entry{many}); err == nil || !strings.Contains(err.Error(), "10001 filters") {
		t.Errorf("too many filters: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	bob, alice := node(f, 1), node(f, 2)
	genuine := encode(f, bob, profile.Entry{Peer: alice.Public(), Filters: []string{"a/#"}})
	f.Add(genuine[:len(genuine)-ed25519.SignatureSize])
	f.Fuzz(func(t *testing.T, data []byte) { // properly signed, whatever it is
		p, err := profile.Open(append(bytes.Clone(data), bob.Sign(data)...), bob.Public(), alice)
		if err == nil && len(p.Filters) > 0 && !p.Listed {
			t.Fatalf("wishes of a node that does not list us: %+v", p)
		}
	})
}
