package twister

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/rpc"
)

// runPeers reads the peers' profiles until ctx ends.
func (d *directory) runPeers(ctx context.Context) {
	first := true
	for {
		s, err := d.daemon.await(ctx)
		if err != nil {
			return
		}
		if first {
			d.log.Info("reading the peers' filters", slog.Int("peers", len(d.peers())))
			first = false
		}
		d.readPeers(s.ctx)
		pause(ctx, d.config.ProfilePoll)
	}
}

// readPeers reads each peer's profile once.
func (d *directory) readPeers(ctx context.Context) {
	next := make(chan string)
	var readers sync.WaitGroup
	for range profileReaders {
		readers.Go(func() {
			for peer := range next {
				d.readPeer(ctx, peer)
			}
		})
	}
	for _, peer := range d.peers() {
		next <- peer
	}
	close(next)
	readers.Wait()
}

func (d *directory) readPeer(ctx context.Context, peer string) {
	e, found, err := d.lookUp(ctx, peer)
	if err != nil {
		if ctx.Err() == nil {
			d.log.Debug("profile of a peer is not read", slog.String("peer", peer), slog.Any("err", err))
			d.daemon.suspect()
		}
		return
	}
	if found { // else he has none, or no node has it now: what is known stays
		d.takeProfile(peer, e)
	}
}

// takeProfile takes in a profile that was read. An older one than is known is one that a node still has, unless it is read again
// and again.
func (d *directory) takeProfile(peer string, e rpc.Entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	state, known := d.kept.Peers[peer]
	switch {
	case known && e.Seq == state.Seq:
		d.older[peer] = 0
		return
	case known && e.Seq < state.Seq:
		if d.older[peer]++; d.older[peer] < olderTaken {
			return
		}
	}
	d.older[peer] = 0
	filters, dropped := wishesIn(e.Value, d.config.ProfileField)
	d.status.dropped(dropWishes, dropped)
	d.kept.Peers[peer] = peerState{e.Seq, filters}
	if err := d.save(); err != nil {
		d.log.Warn("profile of a peer is not kept", slog.Any("err", err))
	}
	if known && slices.Equal(filters, state.Filters) && (filters == nil) == (state.Filters == nil) {
		return
	}
	d.version[peer]++
	if time.Since(d.logged[peer]) >= wishesLogged {
		d.logged[peer] = time.Now()
		d.log.Info("filters of a peer", slog.String("peer", peer), slog.String("filters", brief(filters)))
	}
	close(d.changed)
	d.changed = make(chan struct{})
}

// watch delivers what is known of the peers' filters and then each change, until ctx ends. Of changes that come faster than they are
// taken the last is delivered.
func (d *directory) watch(ctx context.Context, out chan<- transports.Wishes) {
	delivered := map[string]int{}
	for {
		wishes, versions, changed := d.news(delivered)
		for i, w := range wishes {
			select {
			case out <- w:
				delivered[w.Node] = versions[i]
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// news returns the filters that were not delivered yet.
func (d *directory) news(delivered map[string]int) (wishes []transports.Wishes, versions []int, changed <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, peer := range d.peers() {
		if v := d.version[peer]; v > delivered[peer] {
			wishes = append(wishes, transports.Wishes{Node: peer, Filters: slices.Clone(d.kept.Peers[peer].Filters)})
			versions = append(versions, v)
		}
	}
	return wishes, versions, d.changed
}
