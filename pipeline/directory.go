package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-relay/weft/pipeline/identity"
	"github.com/weft-relay/weft/pipeline/profile"
	"github.com/weft-relay/weft/transports"
)

// directory announces this node's profile on one transport and follows those of the peers.
type directory struct {
	node      string
	id        *identity.Identity
	transport transports.Directory
	interests *interests
	entries   []profile.Entry
	log       *slog.Logger

	unannounced atomic.Pointer[string] // why the directory does not have our profile, in plain words; nil when it has, or was not asked yet

	cancel context.CancelFunc
	done   sync.WaitGroup
}

func newDirectory(cfg Config, id *identity.Identity, t transports.Directory, in *interests, log *slog.Logger) *directory {
	return &directory{
		node: cfg.Node, id: id, transport: t, interests: in,
		entries: wishes(cfg), log: log.With("transport", in.transport),
	}
}

// wishes lists for each peer the filters that this node wants from it.
func wishes(cfg Config) []profile.Entry {
	entries := make([]profile.Entry, len(cfg.Peers))
	for i, p := range cfg.Peers {
		entries[i].Peer = p.Key
		for _, s := range cfg.Subscribe {
			if len(s.From) == 0 || slices.Contains(s.From, p.Name) {
				entries[i].Filters = append(entries[i].Filters, s.Filter)
			}
		}
	}
	return entries
}

func (d *directory) start() {
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	own := make(chan uint64, 1) // versions of our own profile that the directory holds
	d.done.Go(func() { d.announce(ctx, own) })
	d.done.Go(func() { d.watch(ctx, own) })
}

func (d *directory) stop() {
	d.cancel()
	d.done.Wait()
}

// announce keeps the directory's copy of our profile as it is in this process. Its version is the time, or one more than the
// last one where the clock has gone back.
func (d *directory) announce(ctx context.Context, own <-chan uint64) {
	version := uint64(time.Now().UnixMilli())
	for found := uint64(0); ; {
		retry(ctx, d.log, "announcing the profile", func() (err error) {
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
		if !pause(ctx, time.Second, nil) { // somebody put back an old profile, or runs under our name
			return
		}
	}
}

// noteAnnounced remembers how the last attempt to announce our profile has ended.
func (d *directory) noteAnnounced(err error) {
	if err == nil {
		d.unannounced.Store(nil)
		return
	}
	text := err.Error()
	d.unannounced.Store(&text)
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
	return version, writeFile(path, strconv.AppendUint(nil, version, 10))
}

// watch takes what is announced until ctx ends. It takes all that is there before it makes it effective, so that a peer that
// changes its mind every moment costs no more than one that does not.
func (d *directory) watch(ctx context.Context, own chan<- uint64) {
	var found <-chan transports.Announcement
	retry(ctx, d.log, "watching the profiles", func() (err error) {
		found, err = d.transport.Watch(ctx)
		return err
	})
	for a := range found {
		news := d.take(ctx, a, own)
		for more := true; more; {
			select {
			case a, ok := <-found:
				if more = ok; ok {
					news = d.take(ctx, a, own) || news
				}
			default:
				more = false
			}
		}
		if !news {
			continue
		}
		if err := d.interests.rebuild(); err != nil {
			d.log.Error("profiles not taken over", "error", err)
		}
	}
}

func (d *directory) take(ctx context.Context, a transports.Announcement, own chan<- uint64) bool {
	if p, err := profile.Open(a.Profile, d.id.Public(), d.id); err == nil && p.Node == d.node {
		select {
		case own <- p.Version:
		case <-ctx.Done():
		}
		return false
	}
	news, err := d.interests.take(a)
	d.interests.note(a.Node, err)
	if err != nil {
		d.log.Warn("profile refused", "from", a.Node, "error", err)
	}
	return news
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
