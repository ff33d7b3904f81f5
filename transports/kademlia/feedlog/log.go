// Package feedlog keeps a feed on the disk: numbered records, of which the oldest go when there are too many or they are too old.
//
// A log is a folder with one file a segment, and holds one run of consecutive numbers. Records are checked when the log is opened and
// again whenever one is read: what is given out is what was appended. Where the run is broken by damage, what is newer stays. A number
// is never given twice, whatever is damaged. An open log has no goroutine of its own and at most two open files at rest.
package feedlog

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// MaxRecord is how long a record may be, in bytes.
const MaxRecord = 64 << 20

var (
	// ErrGone is returned by Read for a record that is no longer kept: its number is below First.
	ErrGone = errors.New("record is no longer kept")

	// ErrNotYet is returned by Read for a record that nobody has appended yet: its number is Next or more. It is also returned for
	// the numbers that damage took off the end of the log, until the next Append, which makes them ErrGone. Either way the
	// reader waits for Changed and asks again.
	ErrNotYet = errors.New("record is not there yet")

	// ErrRecordSize is returned by Append, which then takes nothing, for a record that is empty or longer than MaxRecord.
	ErrRecordSize = errors.New("a record has 1 byte to 64 MiB")

	// ErrClosed is returned by all calls after Close.
	ErrClosed = errors.New("feed log is closed")
)

// Limits is how much a log keeps. Records go by whole segments, each about an eighth of a limit. The newest record always stays.
type Limits struct {
	Bytes int64         // on the disk; 0 is no limit
	Age   time.Duration // since Append; 0 is no limit
}

// Damage counts what a log has lost to damage since it was opened. What Limits has trimmed is not in it, nor what a kill left unfinished.
type Damage struct {
	Records uint64 // unreadable, or on the wrong side of one that is
	Bytes   int64  // set aside in *.damaged files of the log's folder
}

// Log is a log of numbered records. Its methods may be called concurrently.
type Log struct {
	dir    string
	limits Limits
	log    *slog.Logger

	// What writing guards is changed by one call at a time, with the disk in between. It is taken before mu.
	writing   sync.Mutex
	mark      *mark
	uncut     *segment // has, behind its end, what a failed Append left
	halfReset bool     // segments from before a Reset may still be there
	complain  bool     // segments could not be removed, and the log has said so

	mu       sync.Mutex
	segments []*segment // consecutive; the last one is written to
	next     uint64
	size     int64
	open     *handle
	hints    [8]hint
	oldest   int // of hints
	changed  chan struct{}
	damage   Damage
	closed   bool
}

// Open opens the log in the folder and makes it if there is none. It reads all of it: what is damaged is set aside, counted in Damage and
// logged. It returns an error only where the disk does, another process has the log open, or a newer version of weft wrote it.
func Open(dir string, limits Limits, log *slog.Logger) (*Log, error) {
	l := &Log{dir: dir, limits: limits, log: log, changed: make(chan struct{})}
	if err := l.start(); err != nil {
		return nil, fmt.Errorf("open feed log %s: %w", dir, err)
	}
	return l, nil
}

func (l *Log) start() error {
	if err := makeDir(l.dir); err != nil {
		return err
	}
	var err error
	if l.mark, err = openMark(filepath.Join(l.dir, "mark")); err != nil {
		return err
	}
	if err := l.recover(); err != nil {
		return errors.Join(err, l.mark.file.Close())
	}
	l.trim(time.Now())
	return nil
}

// makeDir makes a folder, with those above it, durably.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	parent := filepath.Dir(dir)
	if err := makeDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) { // another log may be making the same parent
		return err
	}
	return syncDir(parent)
}

// First returns the number of the oldest record that is kept, or Next if there is none.
func (l *Log) First() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first()
}

func (l *Log) first() uint64 {
	if len(l.segments) == 0 {
		return l.next
	}
	return l.segments[0].first
}

// end returns the number behind the newest record that can be read: Next, but for damage.
func (l *Log) end() uint64 {
	if len(l.segments) == 0 {
		return l.next
	}
	return l.segments[len(l.segments)-1].next
}

// Next returns the number that the next record gets. It starts at 1.
func (l *Log) Next() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

// Size returns how many bytes the records take on the disk. What was set aside is not in it.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}

// Damage returns what was lost to damage since Open.
func (l *Log) Damage() Damage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.damage
}

// Changed returns a channel that is closed at the next Append, Reset or Close, and when damage is found. A reader takes it before it asks for a
// record, and waits for it when there is none.
func (l *Log) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// change wakes those who wait. The caller holds mu.
func (l *Log) change() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Close waits for the Append under way and closes the log. Closing it again does nothing.
func (l *Log) Close() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return nil
	}
	err := l.cut()
	l.mu.Lock()
	l.closed = true
	idle := l.swap(nil)
	close(l.changed) // for good
	l.mu.Unlock()
	idle.close()
	if !l.halfReset && (l.mark.dirty || l.mark.next != l.next) { // after half a Reset the mark must keep saying so
		err = errors.Join(err, l.mark.set(l.next, false, true))
	}
	if err = errors.Join(err, l.mark.file.Close()); err != nil {
		return fmt.Errorf("close feed log %s: %w", l.dir, err)
	}
	return nil
}
