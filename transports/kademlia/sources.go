package kademlia

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"
)

// sources returns the nodes that may have what is missing: the origin, then others that listen to the feed, the first ones those that are
// connected.
func (f *followed) sources(ctx context.Context) []peer.ID {
	var all []peer.ID
	if !f.peer.absent() {
		all = append(all, f.peer.id)
	}
	others := f.topic.ListPeers()
	rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	if len(others) == 0 && f.peer.isLost() { // at a start origins are not connected yet, and most of them are a moment later
		others = f.followers(ctx)
	}
	for _, id := range others {
		if id != f.peer.id && id != f.t.host.ID() && !slices.Contains(all, id) && len(all) < 1+maxSources {
			all = append(all, id)
		}
	}
	return all
}

// feedCID names a feed in the directory of who follows it.
func feedCID(origin peer.ID) (cid.Cid, error) {
	sum, err := multihash.Sum([]byte("weft feed "+string(origin)), multihash.SHA2_256, -1)
	if err != nil {
		return cid.Undef, err
	}
	return cid.NewCidV1(cid.Raw, sum), nil
}

// followers returns nodes that follow the feed as the directory knows them.
func (f *followed) followers(ctx context.Context) (all []peer.ID) {
	name, err := feedCID(f.peer.id)
	if err != nil || f.t.dht.RoutingTable().Size() == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	f.t.lookups.add("followers")
	for info := range f.t.dht.FindProvidersAsync(ctx, name, maxSources) {
		if info.ID == f.t.host.ID() {
			continue
		}
		if err := f.t.host.Connect(limited(ctx), info); err == nil {
			all = append(all, info.ID)
		}
	}
	return all
}

// offer tells the directory that this node has the feed, for those that come when its origin is away.
func (f *followed) offer(ctx context.Context) error {
	name, err := feedCID(f.peer.id)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	f.t.lookups.add("following")
	if err := f.t.dht.Provide(ctx, name, true); err != nil {
		return fmt.Errorf("feed of %s: %w", f.peer.name, err)
	}
	return nil
}
