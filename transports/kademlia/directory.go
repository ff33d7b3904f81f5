package kademlia

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/routing"

	"github.com/weft-relay/weft/transports"
)

// directory keeps profiles: the own one is pushed to every peer that is connected, and put into the Kademlia directory for those that
// are not; those of peers come in the same ways.
type directory struct {
	t *Transport

	mu      sync.Mutex
	own     record
	signed  []byte // own, as peers get it
	small   []byte // own, as the directory gets it
	known   map[string]record
	changed chan struct{} // closed and replaced when own or known changes
	awake   chan struct{} // holds a token when the directory should be asked now

	// What of own the directory has, and since when: of run alone.
	placed   uint64
	placedAt time.Time
}

func newDirectory(t *Transport) *directory {
	return &directory{t: t, known: map[string]record{}, changed: make(chan struct{}), awake: make(chan struct{}, 1)}
}

func (d *directory) change() {
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *directory) wake() {
	select {
	case d.awake <- struct{}{}:
	default:
	}
}

// Announce shows the profile to the peers: to those that are connected at once, to the others when they ask the directory, or come.
func (t *Transport) Announce(_ context.Context, profile []byte) error {
	if len(profile) > transports.MaxProfile {
		return transports.Permanent(fmt.Errorf("profile of %d bytes, at most %d", len(profile), transports.MaxProfile))
	}
	if !t.running() {
		return errClosed
	}
	return t.directory.announce(slices.Clone(profile), 0)
}

// announce makes the profile known under a number that is higher than the last one and than the one given.
func (d *directory) announce(profile []byte, above uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := record{seq: max(uint64(time.Now().UnixMilli()), d.own.seq+1, above+1), profile: profile}
	signed, err := r.sign(d.t.key)
	if err != nil {
		return err
	}
	small := signed
	if len(small) > maxRecord {
		if small, err = (record{seq: r.seq}).sign(d.t.key); err != nil {
			return err
		}
		d.t.log.Warn("profile is too large for the directory; peers learn it only while they are connected to this node", "bytes", len(signed), "most", maxRecord)
	}
	d.own, d.signed, d.small = r, signed, small
	d.known[d.t.config.Node] = r
	d.change()
	d.wake()
	for _, p := range d.t.peers {
		d.show(p)
	}
	return nil
}

// Watch delivers the profiles of the peers.
func (t *Transport) Watch(ctx context.Context) (<-chan transports.Announcement, error) {
	if !t.enter() {
		return nil, errClosed
	}
	found := make(chan transports.Announcement)
	go func() {
		defer t.work.Done()
		defer close(found)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(t.ctx, cancel)()
		told := map[string]uint64{}
		for {
			d := t.directory
			d.mu.Lock()
			changed, known := d.changed, maps.Clone(d.known)
			d.mu.Unlock()
			for _, name := range slices.Sorted(maps.Keys(known)) {
				r := known[name]
				if r.seq == told[name] {
					continue
				}
				select {
				case found <- transports.Announcement{Node: name, Profile: r.profile}:
					told[name] = r.seq
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
	}()
	return found, nil
}

// take takes what a node has announced, if it is newer than what is known, and returns the number that is known now.
func (d *directory) take(name string, r record) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if last := d.known[name]; r.seq > last.seq && r.profile != nil {
		d.known[name] = r
		d.change()
	}
	return max(d.known[name].seq, r.seq)
}

// aloneFor is how often a node that knows no other looks whether it does now.
const aloneFor = time.Second

// run keeps the own profile in the directory and asks it for those of peers that are not connected, until ctx ends.
func (d *directory) run(ctx context.Context) {
	for alone := false; ; {
		wait := d.t.config.Refresh/2 + rand.N(d.t.config.Refresh/2)
		switch was := alone; {
		case d.t.dht.RoutingTable().Size() == 0:
			alone, wait = true, aloneFor
		default:
			alone = false
			if was {
				d.t.wakeAbsent() // somebody may know where they are
			}
			d.round(ctx)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-d.awake:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// lookupTimeout bounds one question to the directory.
const lookupTimeout = 30 * time.Second

func (d *directory) round(ctx context.Context) {
	d.mu.Lock()
	small, own := d.small, d.own
	d.mu.Unlock()
	if small != nil && (own.seq != d.placed || time.Since(d.placedAt) >= d.t.config.Refresh/2) {
		switch err := d.put(ctx, own, small); {
		case err == nil:
			d.placed, d.placedAt = own.seq, time.Now()
		case ctx.Err() == nil:
			d.t.log.Debug("profile not put into the directory", "error", err)
		}
	}
	d.t.feeds.offer(ctx)
	for _, p := range d.t.peers {
		if !p.absent() {
			continue
		}
		r, err := d.get(ctx, p)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			d.take(p.name, r)
		case !errors.Is(err, routing.ErrNotFound):
			d.t.log.Debug("profile not found in the directory", "peer", p.name, "error", err)
		}
	}
}

// put puts the own record into the directory, above what is there.
func (d *directory) put(ctx context.Context, own record, small []byte) error {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	key := recordKey(d.t.host.ID())
	d.t.lookups.add("announce")
	if found, err := d.t.dht.GetValue(ctx, key, dht.Quorum(4)); err == nil {
		if r, err := openAt(key, found); err == nil && r.seq > own.seq {
			return d.yield(r)
		}
	}
	return d.t.dht.PutValue(ctx, key, small)
}

func (d *directory) get(ctx context.Context, p *neighbour) (record, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	d.t.lookups.add("profile")
	found, err := d.t.dht.GetValue(ctx, recordKey(p.id))
	if err != nil {
		return record{}, err
	}
	return openRecord(p.id, found)
}
