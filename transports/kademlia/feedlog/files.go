package feedlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxNumber leaves room behind every number.
const maxNumber = 1 << 62

func (l *Log) path(first uint64) string {
	return filepath.Join(l.dir, fmt.Sprintf("%016x.seg", first))
}

// files lists the first numbers of the segments in the folder, in order.
func (l *Log) files() ([]uint64, error) {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return nil, err
	}
	var firsts []uint64
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".seg")
		if n, err := strconv.ParseUint(name, 16, 64); ok && err == nil && len(name) == 16 && n > 0 && n <= maxNumber {
			firsts = append(firsts, n)
		}
	}
	slices.Sort(firsts)
	return firsts, nil
}

// remove deletes the file of a segment, which may be gone already.
func (l *Log) remove(first uint64) error {
	if err := os.Remove(l.path(first)); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// handle is the open file of a segment. A log keeps the last one that it used; the Log's mu guards it.
type handle struct {
	seg   *segment
	file  *os.File
	users int
}

// acquire opens the file of a segment if it is not the one that is open. The caller releases it.
func (l *Log) acquire(seg *segment) (*handle, error) {
	l.mu.Lock()
	if h := l.open; h != nil && h.seg == seg {
		h.users++
		l.mu.Unlock()
		return h, nil
	}
	l.mu.Unlock()
	f, err := os.OpenFile(l.path(seg.first), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return l.keep(seg, f)
}

// keep makes a file the one that stays open.
func (l *Log) keep(seg *segment, f *os.File) (*handle, error) {
	h := &handle{seg: seg, file: f, users: 1}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil, errors.Join(ErrClosed, f.Close())
	}
	idle := l.swap(h)
	l.mu.Unlock()
	idle.close()
	return h, nil
}

// swap puts a handle, or nil, in the place of the open one, and returns that if nobody uses it. The caller holds mu.
func (l *Log) swap(h *handle) (idle *handle) {
	if l.open != nil && l.open.users == 0 {
		idle = l.open
	}
	l.open = h
	return idle
}

func (l *Log) release(h *handle) {
	l.mu.Lock()
	h.users--
	idle := h.users == 0 && l.open != h
	l.mu.Unlock()
	if idle {
		h.close()
	}
}

// forget closes the file of a segment that is no longer there, when its last user has released it.
func (l *Log) forget(seg *segment) {
	var idle *handle
	l.mu.Lock()
	if l.open != nil && l.open.seg == seg {
		idle = l.swap(nil)
	}
	l.mu.Unlock()
	idle.close()
}

// close ends a handle, or nil. All that was written through it and counts has been synced.
func (h *handle) close() {
	if h != nil {
		h.file.Close()
	}
}
