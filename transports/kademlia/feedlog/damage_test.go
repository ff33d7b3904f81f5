package feedlog_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/kademlia/feedlog"
)

// Files that are gone altogether are damage as well.
func TestMissingFilesAreDamage(t *testing.T) {
	im, firsts := small(t)
	for i, first := range firsts {
		dir := im.write(t, "", nil)
		require.NoError(t, os.Remove(filepath.Join(dir, fmt.Sprintf("%016x.seg", first))))
		l := open(t, dir, feedlog.Limits{})
		require.Equal(t, uint64(13), l.Next())
		switch end := readable(t, l); i {
		case len(firsts) - 1:
			require.Equal(t, uint64(1), l.First())
			require.Equal(t, first, end)
		default:
			require.Equal(t, firsts[i+1], l.First())
		}
		requireGoesOn(t, dir, l)
	}
	dir := im.write(t, "", nil)
	require.NoError(t, os.Remove(filepath.Join(dir, "mark")))
	requireRun(t, open(t, dir, feedlog.Limits{}), 1, 13)
}

// A record goes bad while the log is open. Is it never given out, and does the log go on at once?
func TestDamageIsFoundByTheReaderToo(t *testing.T) {
	im, firsts := small(t)
	for i, first := range firsts {
		dir := im.write(t, "", nil)
		l := open(t, dir, feedlog.Limits{})
		name := fmt.Sprintf("%016x.seg", first)
		path := filepath.Join(dir, name)
		file := []byte(string(im[name]))
		file[16+24] ^= 4 // in its first record
		require.NoError(t, os.WriteFile(path, file, 0o600))
		_, err := l.Read(first)
		if i == len(firsts)-1 {
			require.ErrorIs(t, err, feedlog.ErrNotYet)
			require.Equal(t, first, readable(t, l))
		} else {
			require.ErrorIs(t, err, feedlog.ErrGone)
			require.Equal(t, firsts[i+1], l.First())
		}
		require.Equal(t, int64(len(file)-16), l.Damage().Bytes)
		requireGoesOn(t, dir, l)
	}
}

func TestOnlyTheLastDamagedFilesAreKept(t *testing.T) {
	dir := t.TempDir()
	for round := range 10 {
		l := open(t, dir, feedlog.Limits{})
		fill(t, l, 3)
		require.NoError(t, l.Close())
		paths := segments(t, dir)
		file, err := os.ReadFile(paths[len(paths)-1])
		require.NoError(t, err)
		file[len(file)-1] ^= 1
		require.NoError(t, os.WriteFile(paths[len(paths)-1], file, 0o600))
		l = open(t, dir, feedlog.Limits{})
		require.Equal(t, uint64(round*3+4), l.Next())
		require.Equal(t, uint64(1), l.Damage().Records)
		require.NoError(t, l.Close())
	}
	kept, err := filepath.Glob(filepath.Join(dir, "*.damaged"))
	require.NoError(t, err)
	require.Len(t, kept, 4)
	require.True(t, strings.HasPrefix(filepath.Base(kept[3]), fmt.Sprintf("%016x-", 28)), kept[3])
}

// Several files are damaged at once, in any way. Does the log open and go on, with nothing in it that was not appended, and no number twice?
func TestManyDamagesAtOnce(t *testing.T) {
	im, _ := small(t)
	rounds := 300
	if testing.Short() {
		rounds = 50
	}
	for range rounds {
		harmed := image{}
		for name, file := range im {
			file = bytes.Clone(file)
			if at, n := rand.IntN(len(file)), 1+rand.IntN(100); name != "mark" && rand.IntN(2) == 0 {
				switch rest := file[min(at+n, len(file)):]; rand.IntN(4) {
				case 0:
					file = file[:at]
				case 1:
					clear(file[at : len(file)-len(rest)])
				case 2:
					file = append(file[:at:at], rest...)
				default:
					file = append(append(file[:at:at], im[name][:n]...), file[at:]...)
				}
			}
			harmed[name] = file
		}
		dir := harmed.write(t, "", nil)
		l := open(t, dir, feedlog.Limits{})
		require.Equal(t, uint64(13), l.Next())
		require.Equal(t, lost(l, readable(t, l)), l.Damage().Records)
		requireGoesOn(t, dir, l)
	}
}
