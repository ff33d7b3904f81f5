package pipeline

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-relay/weft/matching"
	"github.com/weft-relay/weft/pipeline/identity"
	"github.com/weft-relay/weft/pipeline/profile"
	"github.com/weft-relay/weft/transports"
)

// interests is what each peer wants, as the profiles in one transport's directory say, or the wishes in an open one. Profiles are kept on disk, so that
// after a restart the peers' wishes are known before the first message is taken from the broker. What a kept profile asks for is
// sent; that something is not wanted any more only one that has been seen in the directory since the start can say.
type interests struct {
	transport string
	open      bool   // the directory has wishes, not profiles
	dir       string // where the profiles or wishes are kept
	id        *identity.Identity
	peers     map[string]*peer // those that are reached over it, by their names there
	log       *slog.Logger

	view atomic.Pointer[view] // what is in effect
	// otherKey is set while what the directory shows of a peer, by its name, is not signed with the key listed for it.
	otherKey map[string]*atomic.Bool

	unkept string // why it could not be kept the last time; who takes what the directory shows has it alone

	mu    sync.Mutex
	known map[string]*profile.Profile // by the peer's name
	seen  map[string]time.Time        // when the directory first showed what is known, or something newer, by the peer's name
	wrong map[string]string           // what is wrong with the last announcement, by the peer's name
	told  map[string]string           // what was wrong when the log said so last, by the peer's name
	news  *bell                       // rung when the view changes
}

// view is what all peers want at one moment.
type view struct {
	wants *matching.Set[int]          // filters to indexes of peers
	known map[string]*profile.Profile // by the peer's name
	seen  map[string]time.Time        // see interests
}

// lists reports whether the peer's profile, kept or seen, lists this node.
func (v *view) lists(p *peer) bool {
	prof := v.known[p.Name]
	return prof != nil && prof.Listed
}

// current reports whether the peer is known to want no more than what the view says.
func (v *view) current(p *peer) bool { return v.lists(p) && !v.seen[p.Name].IsZero() }

// wantedBy reports whether the peer wants messages on the topic.
func (v *view) wantedBy(p *peer, topic string) bool {
	var few [8]int
	return slices.Contains(v.wants.AppendMatch(few[:0], topic), p.index)
}

// bell tells whoever waits that something has changed. The zero value is ready.
type bell struct {
	mu   sync.Mutex
	next chan struct{}
}

// listen returns a channel that is closed when the bell rings next.
func (b *bell) listen() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		b.next = make(chan struct{})
	}
	return b.next
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next != nil {
		close(b.next)
		b.next = nil
	}
}

// newInterests loads the kept profiles, or the wishes where the directory is open. One that cannot be read is left out with a
// warning: it will be announced again.
func newInterests(transport string, open bool, dataDir string, id *identity.Identity, peers []*peer, news *bell, log *slog.Logger) (*interests, error) {
	in := &interests{
		transport: transport,
		open:      open,
		dir:       filepath.Join(dataDir, "profiles", transport),
		id:        id,
		peers:     make(map[string]*peer, len(peers)),
		log:       log.With("transport", transport),
		known:     make(map[string]*profile.Profile, len(peers)),
		seen:      make(map[string]time.Time, len(peers)),
		news:      news,
		wrong:     make(map[string]string),
		told:      make(map[string]string),
		otherKey:  make(map[string]*atomic.Bool, len(peers)),
	}
	if err := os.MkdirAll(in.dir, 0o700); err != nil {
		return nil, fmt.Errorf("profiles: %w", err)
	}
	for _, p := range peers {
		if !p.reachedOver(transport) {
			continue
		}
		in.peers[p.On(transport)] = p
		in.otherKey[p.Name] = &atomic.Bool{}
		listed, _ := os.ReadFile(in.otherKeyPath(p))
		in.otherKey[p.Name].Store(len(p.Key) > 0 && string(listed) == identity.FormatKey(p.Key))
		data, err := os.ReadFile(in.path(p))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = in.load(p, data)
		}
		if err != nil {
			in.log.Warn("kept profile left out, the peer will announce it again", "peer", p.Name, "error", err)
		}
	}
	return in, in.rebuild()
}

// load takes up what was kept of a peer.
func (in *interests) load(p *peer, data []byte) error {
	if in.open {
		return in.loadWishes(p, data)
	}
	_, _, err := in.accept(p, data, false)
	return err
}

func (in *interests) path(p *peer) string { return filepath.Join(in.dir, p.Name) }

// take verifies and keeps an announced profile and reports whether it is news. A withdrawn profile changes nothing: only
// the peer itself, by its signature, can change what it wants.
func (in *interests) take(a transports.Announcement) (bool, error) {
	p := in.peers[a.Node]
	if p == nil || len(a.Profile) == 0 {
		return false, nil
	}
	newer, news, err := in.accept(p, a.Profile, true)
	if err != nil || !newer {
		return news, err
	}
	in.log.Info("peer announced what it wants", "peer", p.Name)
	in.keep(p, a.Profile)
	return true, nil
}

// keep keeps what a peer wants for the next start. Where that is not possible, as on a full disk, it is in effect all the same: the
// directory shows it again then. What makes it impossible is logged once.
func (in *interests) keep(p *peer, data []byte) {
	err := writeFile(in.path(p), data)
	if err == nil {
		in.unkept = ""
		return
	}
	if path, ok := errors.AsType[*os.PathError](err); ok { // its name is a temporary file's, another one each time
		err = path.Err
	}
	if why := err.Error(); why != in.unkept {
		in.unkept = why
		in.log.Warn("what a peer wants is in effect, but cannot be kept for the next start", "peer", p.Name, "folder", in.dir, "error", err)
	}
}

// accept verifies a profile and remembers it if it is newer than the one known. It is news as well when the directory shows for
// the first time what was kept.
func (in *interests) accept(p *peer, data []byte, announced bool) (newer, news bool, err error) {
	prof, err := profile.Open(data, p.Key, in.id)
	if errors.Is(err, profile.ErrSignature) {
		if announced {
			in.noteKey(p, true)
		}
		return false, false, fmt.Errorf("profile of peer %s: %w, %s; if it is %[1]s that announced it, list %[1]s with what `weft id` prints there", p.Name, profile.ErrSignature, identity.FormatKey(p.Key))
	}
	if err != nil {
		return false, false, fmt.Errorf("profile of peer %s: %w", p.Name, err)
	}
	if prof.Node != p.Name {
		return false, false, fmt.Errorf("profile of peer %s: it is of a node that calls itself %q; list it by that name", p.Name, prof.Node)
	}
	if announced {
		in.noteKey(p, false)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	old := in.known[p.Name]
	if old != nil && old.Version > prof.Version {
		return false, false, nil
	}
	newer = old == nil || old.Version < prof.Version
	return newer, in.adopt(p, prof, newer, announced), nil
}

// adopt remembers what a peer wants if it is newer than what is known, and reports whether it is news. It needs mu.
func (in *interests) adopt(p *peer, prof *profile.Profile, newer, announced bool) (news bool) {
	if newer {
		in.known[p.Name] = prof
	}
	first := announced && in.seen[p.Name].IsZero()
	if first {
		in.seen[p.Name] = time.Now()
	}
	return newer || first
}

// noteKey remembers, also for the next start, whether the peer's announcement is signed with another key than the listed one: then
// nobody may be left who can read what is sealed for it.
func (in *interests) noteKey(p *peer, other bool) {
	if in.otherKey[p.Name].Swap(other) == other {
		return
	}
	var err error
	if other {
		err = writeFile(in.otherKeyPath(p), []byte(identity.FormatKey(p.Key)))
	} else {
		err = os.Remove(in.otherKeyPath(p))
		in.news.ring()
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		in.log.Warn("that a peer's key has changed cannot be kept for the next start", "peer", p.Name, "error", err)
	}
}

// otherKeyPath is where the key stands that is listed for the peer while the directory shows another one.
func (in *interests) otherKeyPath(p *peer) string {
	return filepath.Join(in.dir, "."+p.Name+".other-key")
}

// hasOtherKey reports whether what the directory shows of the peer last is signed with another key than the listed one.
func (in *interests) hasOtherKey(p *peer) bool {
	other := in.otherKey[p.Name]
	return other != nil && other.Load()
}

// note remembers what is wrong with a peer's announcement, for its status, and reports whether a person is to be told: an error that
// comes and goes is told once, until another one comes.
func (in *interests) note(node string, err error) (tell bool) {
	p := in.peers[node]
	if p == nil {
		return false
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if err == nil {
		delete(in.wrong, p.Name)
		return false
	}
	text := err.Error()
	tell = in.told[p.Name] != text
	in.wrong[p.Name], in.told[p.Name] = text, text
	return tell
}

// problem returns what was noted of the peer last.
func (in *interests) problem(name string) string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.wrong[name]
}

// rebuild makes what is known effective.
func (in *interests) rebuild() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	wants, err := matching.NewSet(in.filters)
	if err != nil {
		return fmt.Errorf("interests of %s: %w", in.transport, err)
	}
	in.view.Store(&view{wants: wants, known: maps.Clone(in.known), seen: maps.Clone(in.seen)})
	in.news.ring()
	return nil
}

// filters needs mu.
func (in *interests) filters(yield func(string, int) bool) {
	for _, p := range in.peers {
		prof := in.known[p.Name]
		if prof == nil {
			continue
		}
		for _, f := range prof.Filters {
			if !yield(f, p.index) {
				return
			}
		}
	}
}

// of returns the profile of a peer that is in effect, or nil.
func (in *interests) of(name string) *profile.Profile { return in.view.Load().known[name] }

// writeFile replaces a file durably, whole or not at all.
func writeFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path)) // the name is durable when its directory is
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
