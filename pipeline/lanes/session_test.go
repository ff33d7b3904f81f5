package lanes_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline/lanes"
)

type kept struct {
	id     uint16
	packet string
}

func packets(s *lanes.Store) (out []kept) {
	for id, p := range s.Packets() {
		out = append(out, kept{id, string(p)})
	}
	return out
}

func uuid(lane, seq uint64) string {
	return lanes.ID{Origin: "bob", Lane: lane, Epoch: 7, Seq: seq}.String()
}

// What Sync has confirmed is there after a crash, in the order in which it came.
func TestSessionSurvivesACrash(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, lanes.Options{FlushPeriod: time.Hour})
	s.SetSubscriptions(map[string]byte{"a/#": 2, "b": 0})
	for id := uint16(5); id > 0; id-- {
		s.PutPacket(id, uuid(1, uint64(id)), fmt.Appendf(nil, "publish %d", id))
	}
	s.PutPacket(4, "", []byte("pubrel 4"))
	s.DelPacket(3)
	s.Receive(100)
	s.Receive(101)
	s.Forget(100)
	l := s.Lane("a", lanes.Limits{})
	require.NoError(t, s.Append(t.Context(), []lanes.Entry{
		{Message: message(0, 2), Lanes: []*lanes.Lane{l}, PacketID: 102}, {Message: message(1, 2), PacketID: 103},
	}))
	s.SetDone("bob", 1, 7, 2)
	require.NoError(t, s.Sync())
	check := func(s *lanes.Store) {
		require.Equal(t, []kept{{5, "publish 5"}, {4, "pubrel 4"}, {2, "publish 2"}, {1, "publish 1"}}, packets(s))
		require.Equal(t, map[string]byte{"a/#": 2, "b": 0}, s.Subscriptions())
		for id, want := range map[uint16]bool{100: false, 101: true, 102: true, 103: true, 104: false} {
			require.Equal(t, want, s.Received(id), id)
		}
		for seq, want := range map[uint64]bool{1: true, 2: true, 3: true, 4: true, 5: true, 6: false} {
			require.Equal(t, want, s.Handed(uuid(1, seq)), seq)
		}
		require.False(t, s.Handed(uuid(2, 1)))
		require.False(t, s.Handed("no id"))
	}
	check(s)
	s.PutPacket(9, uuid(1, 9), []byte("publish 9"))
	require.NoError(t, s.Sync())
	s.DelPacket(9)
	require.NoError(t, s.Sync())
	crashed := copyDir(t, dir)
	for range 3 { // through checkpoints as well
		s = open(t, crashed, lanes.Options{})
		check(s)
		seq, known := s.Done("bob", 1, 7)
		require.True(t, known)
		require.Equal(t, uint64(2), seq)
		require.True(t, s.Handed(uuid(1, 9)), "stays handed when its packet is done")
		require.NoError(t, s.Close())
	}
	s = open(t, crashed, lanes.Options{})
	s.Reset()
	require.NoError(t, s.Sync())
	crashed = copyDir(t, crashed)
	s = open(t, crashed, lanes.Options{})
	require.Empty(t, packets(s))
	require.Empty(t, s.Subscriptions())
	require.False(t, s.Received(101))
	require.True(t, s.Handed(uuid(1, 5)))
}

func TestMarksOfAnOriginAreBounded(t *testing.T) {
	s := open(t, t.TempDir(), lanes.Options{})
	for lane := range uint64(2000) {
		s.SetDone("bob", lane, 1, 10)
		s.SetDone("bob", 0, 1, lane) // used all the time
	}
	known := map[uint64]bool{}
	for lane := range uint64(2000) {
		if _, ok := s.Done("bob", lane, 1); ok {
			known[lane] = true
		}
	}
	require.Len(t, known, 1024)
	require.True(t, known[0])
	require.True(t, known[1999])
	require.False(t, known[1])
	_, ok := s.Done("carol", 1999, 1)
	require.False(t, ok)
}

func TestIDIsReadAsItIsWritten(t *testing.T) {
	id := lanes.ID{Origin: "a_b-1", Lane: 1<<64 - 1, Epoch: 255, Seq: 1 << 40}
	require.Equal(t, "a_b-1/ffffffffffffffff/ff/10000000000", id.String())
	got, ok := lanes.ParseID(id.String())
	require.True(t, ok)
	require.Equal(t, id, got)
	for _, bad := range []string{"", "a", "a/1/2", "a/1/2/x", "a//2/3", "7f3c9a52-0000-4000-8000-000000000000"} {
		_, ok := lanes.ParseID(bad)
		require.False(t, ok, bad)
	}
}
