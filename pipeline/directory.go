package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-relay/weft/pipeline/identity"
	"github.com/weft-relay/weft/pipeline/profile"
	"github.com/weft-relay/weft/transports"
)

// board is what directories of both kinds have in common: this node puts up there what it wants, and reads what its peers do.
type board struct {
	interests *interests
	log       *slog.Logger
	tasks     []func(context.Context) // what runs from start to stop

	unannounced atomic.Pointer[string] // why the directory does not have what we want, in plain words; nil when it has, or was not asked yet
	rivals      rivals

	cancel context.CancelFunc
	done   sync.WaitGroup
}

func (b *board) start() {
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	for _, task := range b.tasks {
		b.done.Go(func() { task(ctx) })
	}
}

func (b *board) stop() {
	b.cancel()
	b.done.Wait()
}

// noteAnnounced remembers how the last attempt to put up what we want has ended.
func (b *board) noteAnnounced(err error) {
	if err == nil {
		b.unannounced.Store(nil)
		return
	}
	text := err.Error()
	b.unannounced.Store(&text)
}

// follow takes what a directory shows until that ends. It takes all that is there before it makes it effective, so that a peer that
// changes its mind every moment costs no more than one that does not.
func follow[A any](b *board, found <-chan A, take func(A) (news bool)) {
	for a := range found {
		news := take(a)
		for more := true; more; {
			select {
			case a, ok := <-found:
				if more = ok; ok {
					news = take(a) || news
				}
			default:
				more = false
			}
		}
		if !news {
			continue
		}
		if err := b.interests.rebuild(); err != nil {
			b.log.Error("what peers announced is not taken over", "error", err)
		}
	}
}

// directory announces this node's profile on one transport and follows those of the peers.
type directory struct {
	board
	node      string
	id        *identity.Identity
	transport transports.Directory
	entries   []profile.Entry
	version   atomic.Uint64 // the highest that this process has announced, or tried to
}

func newDirectory(cfg Config, id *identity.Identity, t transports.Directory, in *interests, log *slog.Logger) *board {
	d := &directory{
		board: board{interests: in, log: log.With("transport", in.transport)},
		node:  cfg.Node, id: id, transport: t, entries: entries(cfg),
	}
	own := make(chan uint64, 1) // versions of our own profile that the directory holds
	d.tasks = []func(context.Context){
		func(ctx context.Context) { d.announce(ctx, own) },
		func(ctx context.Context) { d.watch(ctx, own) },
	}
	return &d.board
}

// entries lists for each peer that has a key the filters that this node wants from it.
func entries(cfg Config) (all []profile.Entry) {
	for _, p := range cfg.Peers {
		if len(p.Key) == 0 {
			continue
		}
		e := profile.Entry{Peer: p.Key}
		for _, s := range cfg.Subscribe {
			if s.asks(p.Name) {
				e.Filters = append(e.Filters, s.Filter)
			}
		}
		all = append(all, e)
	}
	return all
}

// rivalPause is how long a node waits before it announces itself again where another one does so under its name.
const rivalPause = 5 * time.Second

// announce keeps the directory's copy of our profile as it is in this process. Its version is the time, or one more than the
// last one where the clock has gone back.
func (d *directory) announce(ctx context.Context, own <-chan uint64) {
	version := uint64(time.Now().UnixMilli())
	for found := uint64(0); ; {
		retry(ctx, d.log, "announcing the profile", func() (err error) {
			select {
			case last := <-own: // what came before this attempt is no answer to it
				found = max(found, last)
			default:
			}
			if version, err = d.newVersion(max(version, found+1)); err != nil {
				return err
			}
			data, err := profile.Encode(d.id, d.node, version, d.entries)
			if err != nil {
				return err
			}
			err = d.transport.Announce(ctx, data)
			d.noteAnnounced(err)
			return err
		})
		for found = version; found == version; {
			select {
			case <-ctx.Done():
				return
			case found = <-own:
			}
		}
		wait := time.Second // somebody put back an old profile, or runs under our name
		if d.rivals.problem(d.node) != "" {
			wait = rivalPause
		}
		if !pause(ctx, wait, nil) {
			return
		}
	}
}

// newVersion returns a version that is at least as high as asked and higher than any that was announced before, and remembers it.
func (d *directory) newVersion(least uint64) (uint64, error) {
	path := filepath.Join(d.interests.dir, ".version")
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	last, parseErr := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64) // 0 where there is none
	if err == nil && parseErr != nil {
		d.log.Warn("the version of the own profile cannot be read, the time and the directory's copy give a new one", "file", path, "error", parseErr)
	}
	version := max(least, last+1)
	d.version.Store(version)
	return version, writeFile(path, strconv.AppendUint(nil, version, 10))
}

// watch takes the profiles that are announced until ctx ends.
func (d *directory) watch(ctx context.Context, own chan uint64) {
	var found <-chan transports.Announcement
	retry(ctx, d.log, "watching the profiles", func() (err error) {
		found, err = d.transport.Watch(ctx)
		return err
	})
	if found != nil {
		follow(&d.board, found, func(a transports.Announcement) bool { return d.take(a, own) })
	}
}

func (d *directory) take(a transports.Announcement, own chan uint64) bool {
	switch p, err := profile.Open(a.Profile, d.id.Public(), d.id); {
	case err == nil && p.Node == d.node:
		if announced := d.version.Load(); announced > 0 && p.Version > announced {
			d.noteRival(true)
		}
		d.noteOwn(own, p.Version)
		return false
	case a.Node == d.node && errors.Is(err, profile.ErrSignature):
		d.noteRival(false)
		d.noteOwn(own, 0) // ours is not there
		return false
	}
	news, err := d.interests.take(a)
	if d.interests.note(a.Node, err) {
		d.log.Warn("profile refused", "from", a.Node, "error", err)
	}
	return news
}

// noteOwn tells announce which version of the own profile the directory holds. What announce has not looked at yet is out of date: it
// may be waiting for the directory to take a profile.
func (d *directory) noteOwn(own chan uint64, version uint64) {
	select {
	case <-own:
	default:
	}
	own <- version // nobody else sends
}

func (d *directory) noteRival(ownKey bool) {
	if d.rivals.see(ownKey) {
		d.log.Warn("this node is not alone under its name", "problem", d.rivals.problem(d.node))
	}
}

// retry calls attempt until it succeeds or ctx ends, and logs when the error changes.
func retry(ctx context.Context, log *slog.Logger, doing string, attempt func() error) {
	var last string
	for wait := newBackoff(); ; {
		err := attempt()
		if err == nil || ctx.Err() != nil {
			return
		}
		if text := fmt.Sprint(err); text != last {
			log.Warn(doing+" goes on trying", "error", err)
			last = text
		}
		if !wait.sleep(ctx) {
			return
		}
	}
}
