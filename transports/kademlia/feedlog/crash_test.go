package feedlog_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/kademlia/feedlog"
)

// image is a log's folder as a crash leaves it: files by name.
type image map[string][]byte

func imageOf(t testing.TB, dir string) image {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	im := image{}
	for _, e := range entries {
		im[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
	}
	return im
}

// write puts the image into an empty folder, but for one file, which has other content.
func (im image) write(t testing.TB, name string, content []byte) (dir string) {
	t.Helper()
	dir = scratch(t)
	for n, b := range im {
		if n == name {
			b = content
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, n), b, 0o600))
	}
	return dir
}

// readable returns the number behind the last record that can be read, and checks that all up to there are what was appended.
func readable(t testing.TB, l *feedlog.Log) uint64 {
	t.Helper()
	number := l.First()
	for ; number < l.Next(); number++ {
		got, err := l.Read(number)
		if err != nil {
			require.ErrorIs(t, err, feedlog.ErrNotYet)
			break
		}
		require.Equal(t, record(number), got)
	}
	for lost := number; lost < l.Next(); lost++ {
		_, err := l.Read(lost)
		require.ErrorIs(t, err, feedlog.ErrNotYet)
	}
	return number
}

// requireGoesOn checks that the log works: the next records get the next numbers, and are there after a restart.
func requireGoesOn(t testing.TB, dir string, l *feedlog.Log) {
	t.Helper()
	first, next := l.First(), l.Next()
	if readable(t, l) < next {
		first = next
	}
	fill(t, l, 2)
	requireRun(t, l, first, next+2)
	require.NoError(t, l.Close())
	l = open(t, dir, feedlog.Limits{})
	requireRun(t, l, first, next+2)
	require.Zero(t, l.Damage(), "the damage has been dealt with")
	require.NoError(t, l.Close())
}

// small makes a log of three segments with records 1 to 12, and says with which number each segment begins.
func small(t testing.TB) (image, []uint64) {
	t.Helper()
	dir := t.TempDir()
	l := open(t, dir, feedlog.Limits{Bytes: 8 * 230})
	for l.Next() <= 12 {
		number := l.Next()
		_, err := l.Append(record(number), record(number+1))
		require.NoError(t, err)
	}
	require.Equal(t, uint64(13), l.Next())
	require.NoError(t, l.Close())
	var firsts []uint64
	for _, path := range segments(t, dir) {
		var first uint64
		_, err := fmt.Sscanf(filepath.Base(path), "%016x.seg", &first)
		require.NoError(t, err)
		firsts = append(firsts, first)
	}
	require.Len(t, firsts, 3)
	return imageOf(t, dir), firsts
}

// Wherever one file is cut or one byte of it is wrong: does the log open, keep what is newer, lose no number, and go on?
func TestDamageAnywhereKeepsWhatIsNewerAndEveryNumber(t *testing.T) {
	im, firsts := small(t)
	step := 1
	if testing.Short() {
		step = 7
	}
	for kind, harm := range map[string]func(file []byte, at int) []byte{
		"cut":     func(file []byte, at int) []byte { return file[:at] },
		"flipped": func(file []byte, at int) []byte { file[at] ^= 0x10; return file },
		"zeroed":  func(file []byte, at int) []byte { clear(file[at:]); return file },
	} {
		for i, first := range firsts {
			name := fmt.Sprintf("%016x.seg", first)
			t.Run(kind+" "+name, func(t *testing.T) {
				for at := 0; at < len(im[name]); at += step {
					dir := im.write(t, name, harm([]byte(string(im[name])), at))
					l := open(t, dir, feedlog.Limits{})
					require.Equal(t, uint64(13), l.Next(), "at %d", at)
					end := readable(t, l)
					if i < len(firsts)-1 {
						require.Equal(t, firsts[i+1], l.First(), "what is newer stays")
						require.Equal(t, uint64(13), end)
					} else {
						require.Equal(t, lastBefore(im[name], first, at), end, "at %d", at)
					}
					require.Equal(t, lost(l, end), l.Damage().Records)
					requireGoesOn(t, dir, l)
				}
			})
		}
	}
}

// lost is how many of the records from 1 are missing.
func lost(l *feedlog.Log, end uint64) uint64 {
	if l.First() == l.Next() {
		return l.Next() - 1
	}
	return l.First() - 1 + l.Next() - end
}

// lastBefore returns the number of the record of a segment that the offset is in, as the test has written it.
func lastBefore(file []byte, first uint64, at int) uint64 {
	off := 16
	for number := first; ; number++ {
		if off += 24 + len(record(number)); off > at || off >= len(file) {
			return number
		}
	}
}

// The mark is the second witness: does a log do without it, or with half of it, when nothing else is wrong?
func TestDamageOfTheMarkCostsNothing(t *testing.T) {
	im, _ := small(t)
	for at := range im["mark"] {
		if testing.Short() && at%7 != 0 || at%512 > 40 {
			continue
		}
		for _, file := range [][]byte{im["mark"][:at], append([]byte(string(im["mark"][:at])), im["mark"][at]^1)} {
			l := open(t, im.write(t, "mark", file), feedlog.Limits{})
			requireRun(t, l, 1, 13)
			require.Zero(t, l.Damage())
			require.NoError(t, l.Close())
		}
	}
}

// A process or its machine dies during an Append: is there all of it or nothing, without a word about damage?
func TestUnfinishedAppendLeavesNothing(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before int // records before it, so many that a segment is full or not
	}{{"in a segment", 5}, {"in a new segment", 7}, {"in a new log", 0}} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, dir, feedlog.Limits{Bytes: 8 * 400})
			fill(t, l, tt.before)
			before, next := imageOf(t, dir), l.Next()
			_, err := l.Append(record(next), record(next+1), record(next+2))
			require.NoError(t, err)
			after := imageOf(t, dir)
			name := filepath.Base(segments(t, dir)[len(segments(t, dir))-1])
			after["mark"] = before["mark"]
			for at := len(before[name]); at < len(after[name]); at++ {
				torn := append([]byte(string(after[name][:at])), make([]byte, at%2*30)...) // or zeros in place of what had not got there
				dir := after.write(t, name, torn)
				l := open(t, dir, feedlog.Limits{})
				requireRun(t, l, 1, next)
				require.Zero(t, l.Damage())
				requireGoesOn(t, dir, l)
			}
			requireRun(t, open(t, after.write(t, "", nil), feedlog.Limits{}), 1, next+3)
		})
	}
}
