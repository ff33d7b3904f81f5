package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/weft-relay/weft/matching"
	"github.com/weft-relay/weft/pipeline/profile"
	"github.com/weft-relay/weft/transports"
)

// openDirectory shows what this node wants in one transport's open directory and follows what the peers show there.
type openDirectory struct {
	board
	transport transports.OpenDirectory
	filters   []string
}

func newOpenDirectory(cfg Config, t transports.OpenDirectory, in *interests, log *slog.Logger) *board {
	d := &openDirectory{
		board:     board{interests: in, log: log.With("transport", in.transport)},
		transport: t, filters: cfg.Shown(in.transport),
	}
	d.tasks = []func(context.Context){d.show, d.watch}
	return &d.board
}

// Shown lists the filters that this node wants from any of its peers on a transport that authenticates names: what an open directory
// shows there.
func (c Config) Shown(transport string) []string {
	filters := []string{}
	for _, s := range c.Subscribe {
		asked := func(p Peer) bool { return s.asks(p.Name) && p.ReachedOver(transport, true) }
		if slices.ContainsFunc(c.Peers, asked) {
			filters = append(filters, s.Filter)
		}
	}
	slices.Sort(filters)
	return slices.Compact(filters)
}

// show ends when the directory has what we want: the transport keeps it there.
func (d *openDirectory) show(ctx context.Context) {
	retry(ctx, d.log, "showing what is wanted", func() error {
		err := d.transport.ShowWishes(ctx, slices.Clone(d.filters))
		d.noteAnnounced(err)
		if transports.IsPermanent(err) {
			d.log.Error("the directory does not take what this node wants: subscribe to fewer, wider filters", "error", err)
			return nil
		}
		return err
	})
}

func (d *openDirectory) watch(ctx context.Context) {
	var found <-chan transports.Wishes
	retry(ctx, d.log, "watching what the peers want", func() (err error) {
		found, err = d.transport.WatchWishes(ctx)
		return err
	})
	if found != nil {
		follow(&d.board, found, d.take)
	}
}

func (d *openDirectory) take(w transports.Wishes) bool {
	news, err := d.interests.takeWishes(w)
	if d.interests.note(w.Node, err) {
		d.log.Warn("not all that a peer shows is taken", "from", w.Node, "error", err)
	}
	return news
}

// takeWishes keeps what a peer shows in the open directory and reports whether it is news. The error says what of it is not taken.
// A peer that shows nothing changes nothing, as a profile that was withdrawn does not.
func (in *interests) takeWishes(w transports.Wishes) (news bool, err error) {
	p := in.peers[w.Node]
	if p == nil || w.Filters == nil {
		return false, nil
	}
	filters, refused := sift(w.Filters)
	newer, news := in.want(p, filters, true)
	if !newer {
		return news, refused
	}
	in.log.Info("peer shows what it wants", "peer", p.Name)
	in.keep(p, []byte(wishesMagic+strings.Join(filters, "\x00")))
	return news, refused
}

// want remembers what a peer wants, see accept.
func (in *interests) want(p *peer, filters []string, announced bool) (newer, news bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	old := in.known[p.Name]
	newer = old == nil || !slices.Equal(old.Filters, filters)
	return newer, in.adopt(p, &profile.Profile{Node: p.Name, Listed: true, Filters: filters}, newer, announced)
}

// wishesMagic begins the file in which the wishes of a peer are kept; its filters follow, separated by U+0000, which none of them
// holds [MQTT-1.5.3-2].
const wishesMagic = "ww\x01"

func (in *interests) loadWishes(p *peer, data []byte) error {
	text, ok := strings.CutPrefix(string(data), wishesMagic)
	if !ok {
		return errors.New("not the wishes of a peer")
	}
	var filters []string
	if text != "" {
		filters = strings.Split(text, "\x00")
	}
	filters, err := sift(filters)
	if err == nil {
		in.want(p, filters, false)
	}
	return err
}

// sift returns what may be taken of the filters in an open directory, in order and without repetition, within the limits that
// profiles have. The error says of the others how many they are and what is wrong with the first.
func sift(filters []string) (taken []string, err error) {
	refused, size, first := 0, 0, error(nil)
	known := make(map[string]bool, min(len(filters), profile.MaxFilters))
	for _, f := range filters {
		wrong := matching.ValidateInterest(f)
		switch {
		case wrong != nil:
		case known[f]:
			continue
		case len(taken) == profile.MaxFilters:
			wrong = fmt.Errorf("more than %d filters", profile.MaxFilters)
		case size+len(f) > profile.MaxSize:
			wrong = fmt.Errorf("more than %d bytes of filters", profile.MaxSize)
		default:
			known[f], size = true, size+len(f)
			taken = append(taken, f)
			continue
		}
		if refused++; first == nil {
			first = wrong
		}
	}
	slices.Sort(taken)
	if refused > 0 {
		err = fmt.Errorf("%d of %d filters are refused, the first: %w", refused, len(filters), first)
	}
	return taken, err
}
