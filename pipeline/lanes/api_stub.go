package lanes

import (
	"context"
	"iter"
	"log/slog"

	"github.com/weft-relay/weft/pipeline/frame"
)

// Temporary: signatures only.

// Options of a store.
type Options struct{ MemoryBytes int64 }

// Store is the store.
type Store struct{}

// Lane is a lane.
type Lane struct{}

func Open(dir string, opts Options, log *slog.Logger) (*Store, error)                { panic("soon") }
func (s *Store) Close() error                                                        { panic("soon") }
func (s *Store) Epoch() uint64                                                       { panic("soon") }
func (s *Store) Lane(name string, limits Limits) *Lane                               { panic("soon") }
func (s *Store) Orphans() []string                                                   { panic("soon") } // lanes in the journal that were not claimed by Lane since Open
func (s *Store) Remove(name string)                                                  { panic("soon") }
func (s *Store) Append(ctx context.Context, entries []Entry) error                   { panic("soon") } // on error the stored entries are a prefix: those with Seq != 0
func (l *Lane) Name() string                                                         { panic("soon") }
func (l *Lane) ID() uint64                                                           { panic("soon") } // stable hash of the name
func (l *Lane) Next(ctx context.Context, max, maxBytes int) ([]frame.Message, error) { panic("soon") } // waits for at least one; the first may be larger than maxBytes
// More waits until ctx ends for further messages of a batch: none if ctx ended, or if the next message does not fit maxBytes.
func (l *Lane) More(ctx context.Context, max, maxBytes int) []frame.Message { panic("soon") }
func (l *Lane) Ack(upTo uint64)                                             { panic("soon") }
func (l *Lane) Drop(upTo uint64, reason string)                             { panic("soon") } // as Ack, but the messages count as dropped
func (l *Lane) Rewind()                                                     { panic("soon") }
func (l *Lane) SetLimits(limits Limits)                                     { panic("soon") }
func (l *Lane) Stats() Stats                                                { panic("soon") }

// ID is the identity of a message in one destination. String: "origin/lane(hex)/epoch(hex)/seq(hex)".
type ID struct {
	Origin           string
	Lane, Epoch, Seq uint64
}

func (id ID) String() string      { panic("soon") }
func ParseID(s string) (ID, bool) { panic("soon") }

func (s *Store) Handed(uuid string) bool                                         { panic("soon") }
func (s *Store) Done(origin string, lane, epoch uint64) (seq uint64, known bool) { panic("soon") }
func (s *Store) SetDone(origin string, lane, epoch, seq uint64)                  { panic("soon") }
func (s *Store) PutPacket(id uint16, uuid string, packet []byte)                 { panic("soon") }
func (s *Store) DelPacket(id uint16)                                             { panic("soon") }
func (s *Store) Packets() iter.Seq2[uint16, []byte]                              { panic("soon") }
func (s *Store) Receive(id uint16)                                               { panic("soon") }
func (s *Store) Received(id uint16) bool                                         { panic("soon") }
func (s *Store) Forget(id uint16)                                                { panic("soon") }
func (s *Store) Subscriptions() map[string]byte                                  { panic("soon") }
func (s *Store) SetSubscriptions(subs map[string]byte)                           { panic("soon") }
func (s *Store) Reset()                                                          { panic("soon") }
func (s *Store) Sync() error                                                     { panic("soon") }
