package kademlia_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"log/slog"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/kademlia"
)

// said is a stream on which the other side has said all that it will.
type said struct {
	net.Conn
	*bytes.Reader
}

func (s said) Read(b []byte) (int, error)       { return s.Reader.Read(b) }
func (said) Write(b []byte) (int, error)        { return len(b), nil }
func (said) Close() error                       { return nil }
func (said) SetReadDeadline(t time.Time) error  { return nil }
func (said) SetWriteDeadline(t time.Time) error { return nil }

func FuzzStrings(f *testing.F) {
	f.Add([]byte{3, 'a', 'b', 'c'}, 10)
	f.Add([]byte{0}, 0)
	f.Add([]byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1}, 1<<20)
	f.Add(binary.AppendUvarint(nil, 1<<63), 1<<20)
	f.Fuzz(func(t *testing.T, b []byte, most int) {
		most = max(0, most%(1<<20))
		got, err := kademlia.ReadBytes(said{Reader: bytes.NewReader(b)}, most)
		size, n := binary.Uvarint(b)
		whole := n > 0 && size <= uint64(most) && uint64(len(b)-n) >= size
		switch {
		case whole != (err == nil):
			t.Errorf("%d bytes, at most %d: %v", len(b), most, err)
		case err == nil && !bytes.Equal(got, b[n:n+int(size)]):
			t.Errorf("%x read from %x", got, b)
		case cap(got) > 2*len(b)+1<<17:
			t.Errorf("%d bytes of memory for %d that arrived", cap(got), len(b))
		}
	})
}

// lone returns a node that lists bob and takes frames, and has no network.
func lone(t *testing.T) *kademlia.Transport {
	c := kademlia.Config{Node: "alice", Peers: []kademlia.Peer{{Name: "bob", Key: keyOf("bob").Public().(ed25519.PublicKey)}}}
	c.SetDefaults()
	node, err := kademlia.New(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return kademlia.Running(node)
}

// FuzzReceiveDirect has a listed peer say anything: the hello and frames.
func FuzzReceiveDirect(f *testing.F) {
	f.Add([]byte{7, 0})
	f.Add(append([]byte{7, 0}, frameBytes("a", "b")...))
	f.Add(append([]byte{7, 200, 1}, append(frameBytes("", ""), frameBytes("uuid", "payload")...)...))
	f.Add([]byte{7, 0, 1, 'a', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		node := lone(t)
		in, err := node.Subscribe(t.Context(), transports.Inbox)
		if err != nil {
			t.Fatal(err)
		}
		taken := make(chan int)
		go func() {
			bytes := 0
			for m := range in {
				bytes += len(m.UUID) + len(m.Payload)
				m.Ack()
			}
			taken <- bytes
		}()
		if err := kademlia.ReceiveDirect(node, "bob", said{Reader: bytes.NewReader(b)}); err == nil {
			t.Error("the stream has ended without an error")
		}
		_ = node.Close()
		if bytes := <-taken; bytes > len(b) {
			t.Errorf("%d bytes of frames in %d bytes", bytes, len(b))
		}
	})
}

// FuzzConfirmations has a listed peer answer anything to three frames.
func FuzzConfirmations(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3})
	f.Add([]byte{0, 3})
	f.Add([]byte{3, 3})
	f.Add([]byte{0, 2, 1, 0})
	f.Add(binary.AppendUvarint([]byte{0}, 1<<63))
	f.Fuzz(func(t *testing.T, b []byte) {
		node := lone(t)
		ctx, cancel := context.WithCancel(t.Context())
		sent := send(ctx, node, 1, 2, 3)
		if err := kademlia.Deliver(node, "bob", said{Reader: bytes.NewReader(b)}); err == nil {
			t.Error("the stream has ended without an error")
		}
		cancel()
		failed := false
		for n, s := range sent {
			err := <-s
			if err == nil && failed {
				t.Errorf("frame %d was taken, and one before it was not", n+1)
			}
			failed = err != nil
		}
	})
}

// fuzzSigned fuzzes what a node signs: as it stands, and as a hostile node signs it.
func fuzzSigned(f *testing.F, label string, open func(t *testing.T, id peer.ID, raw []byte) error) {
	key := keyOf("bob")
	id, err := kademlia.PeerID(key.Public().(ed25519.PublicKey))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if open(t, id, b) == nil && !ed25519.Verify(key.Public().(ed25519.PublicKey), append([]byte(label), b[:len(b)-64]...), b[len(b)-64:]) {
			t.Errorf("%x is taken, and bob has not signed it", b)
		}
		signed := append(bytes.Clone(b), ed25519.Sign(key, append([]byte(label), b...))...)
		_ = open(t, id, signed)
		signed[len(signed)-1] ^= 1
		if open(t, id, signed) == nil {
			t.Errorf("%x is taken with another signature", b)
		}
	})
}

func FuzzRecord(f *testing.F) {
	signed := kademlia.SignRecord(keyOf("bob"), 1<<40, []byte("profile"))
	f.Add(signed)
	f.Add(signed[:len(signed)-64])
	f.Add([]byte("wd\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Add([]byte("wd\x01"))
	fuzzSigned(f, "weft directory 1\x00", func(t *testing.T, id peer.ID, raw []byte) error {
		err := kademlia.OpenRecord(id, raw)
		if kept := kademlia.KeepRecord(kademlia.RecordKey(id), raw); (kept == nil) != (err == nil && len(raw) <= kademlia.MaxRecord) {
			t.Errorf("a record (%v) of %d bytes in the directory: %v", err, len(raw), kept)
		}
		return err
	})
}

func FuzzEntry(f *testing.F) {
	signed := kademlia.SignEntry(keyOf("bob"), 1<<40, 7, "uuid", []byte("payload"))
	f.Add(signed)
	f.Add(signed[:len(signed)-64])
	f.Add([]byte("wb\x01\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Add([]byte("wb\x01\x01\x01\x04abc"))
	f.Add([]byte("wb\x01\x00\x00\x00"))
	fuzzSigned(f, "weft broadcast 1\x00", func(_ *testing.T, id peer.ID, raw []byte) error { return kademlia.OpenEntry(id, raw) })
}

// FuzzReceiveProfile has a listed peer say anything instead of its profile.
func FuzzReceiveProfile(f *testing.F) {
	signed := kademlia.SignRecord(keyOf("bob"), 1, []byte("profile"))
	f.Add(append([]byte{byte(len(signed))}, signed...))
	f.Add([]byte{5, 'w', 'd', 1, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		node := lone(t)
		err := kademlia.ReceiveProfile(node, "bob", said{Reader: bytes.NewReader(b)})
		if node.Version("bob") == 0 {
			return
		}
		size, n := binary.Uvarint(b)
		if err != nil || kademlia.OpenRecord(idOf(t, "bob"), b[n:n+int(size)]) != nil {
			t.Errorf("%x has become bob's profile: %v", b, err)
		}
	})
}

// inMemory makes a folder where syncs take no time, if the machine has such a place.
func inMemory(t *testing.T) string {
	t.Helper()
	for _, place := range []string{"/dev/shm", ""} {
		if dir, err := os.MkdirTemp(place, "weft"); err == nil {
			return dir
		}
	}
	t.Fatal("no folder can be made")
	return ""
}

// FuzzHearFeed has anybody answer anything when he is asked for what is missing of a feed.
func FuzzHearFeed(f *testing.F) {
	const epoch, next = 1 << 40, 3
	sized := func(b []byte) []byte { return append(binary.AppendUvarint(nil, uint64(len(b))), b...) }
	entry := func(epoch, number uint64, uuid string, payload []byte) []byte {
		return sized(kademlia.SignEntry(keyOf("bob"), epoch, number, uuid, payload))
	}
	head := func(all ...uint64) (b []byte) {
		for _, n := range all {
			b = binary.AppendUvarint(b, n)
		}
		return b
	}
	three, four := entry(epoch, 3, "three", []byte("3")), entry(epoch, 4, "four", []byte("4"))
	f.Add(slices.Concat(head(epoch, 1, 5), three, four, []byte{0}), false)
	f.Add(slices.Concat(head(epoch, 1, 5), four, three, []byte{0}), true)
	f.Add(slices.Concat(head(epoch, 1, 5), three, three, []byte{0}), false)
	f.Add(slices.Concat(head(epoch, 1, 5), entry(epoch, 3, "", nil), []byte{0}), false)
	f.Add(slices.Concat(head(epoch, 1, 5), entry(epoch+1, 3, "new", nil), []byte{0}), false)
	f.Add(slices.Concat(head(epoch, 1<<62, 1<<63), []byte{0}), true)
	f.Add(head(epoch+1, 1, 1<<63), true)
	f.Add(slices.Concat(head(epoch, 1, 5), []byte{0xff, 0xff, 0xff, 0xff, 1}), false)
	f.Add([]byte{0}, false)
	f.Fuzz(func(t *testing.T, b []byte, fromOrigin bool) {
		dir := inMemory(t)
		defer os.RemoveAll(dir)
		follower, err := kademlia.Follow(lone(t), "bob", dir, epoch, next)
		if err != nil {
			t.Fatal(err)
		}
		l := follower.Log()
		defer l.Close()
		_ = follower.Hear(said{Reader: bytes.NewReader(b)}, fromOrigin)
		if !fromOrigin && l.First() > next {
			t.Errorf("%x of a stranger has made this node give up entries from %d to %d", b, next, l.First())
		}
		for n := l.First(); n < l.Next(); n++ {
			raw, err := l.Read(n)
			if err != nil || kademlia.OpenEntry(idOf(t, "bob"), raw) != nil {
				t.Errorf("entry %d: %x, %v", n, raw, err)
			}
		}
	})
}
