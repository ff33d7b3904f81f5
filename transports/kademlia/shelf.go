package kademlia

import (
	"context"
	"sync"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// shelf is what this node keeps for others in the directory, in memory: records and who follows which feed. It is bounded in bytes; what is
// over makes room by chance, so that nobody can choose whose record goes.
type shelf struct {
	*datastore.MapDatastore
	most int

	mu    sync.RWMutex
	sizes map[datastore.Key]int
	bytes int
}

// entryCost is what an entry costs beside its value, in bytes.
const entryCost = 256

func newShelf(most int) *shelf {
	return &shelf{MapDatastore: datastore.NewMapDatastore(), most: most, sizes: map[datastore.Key]int{}}
}

// Put implements datastore.Datastore.
func (s *shelf) Put(ctx context.Context, key datastore.Key, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(ctx, key)
	for other := range s.sizes { // in random order
		if s.bytes+len(value)+entryCost <= s.most {
			break
		}
		s.remove(ctx, other)
	}
	s.sizes[key] = len(value) + entryCost
	s.bytes += len(value) + entryCost
	return s.MapDatastore.Put(ctx, key, value)
}

func (s *shelf) remove(ctx context.Context, key datastore.Key) {
	s.bytes -= s.sizes[key]
	delete(s.sizes, key)
	_ = s.MapDatastore.Delete(ctx, key) // of a map: it cannot fail
}

// Delete implements datastore.Datastore.
func (s *shelf) Delete(ctx context.Context, key datastore.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(ctx, key)
	return nil
}

// Get implements datastore.Datastore.
func (s *shelf) Get(ctx context.Context, key datastore.Key) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.MapDatastore.Get(ctx, key)
}

// Has implements datastore.Datastore.
func (s *shelf) Has(ctx context.Context, key datastore.Key) (bool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.MapDatastore.Has(ctx, key)
}

// GetSize implements datastore.Datastore.
func (s *shelf) GetSize(ctx context.Context, key datastore.Key) (int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.MapDatastore.GetSize(ctx, key)
}

// Query implements datastore.Datastore. The map's own answers from a copy.
func (s *shelf) Query(ctx context.Context, q query.Query) (query.Results, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.MapDatastore.Query(ctx, q)
}

// Batch implements datastore.Batching.
func (s *shelf) Batch(context.Context) (datastore.Batch, error) {
	return datastore.NewBasicBatch(s), nil
}
