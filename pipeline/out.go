package pipeline

import (
	"errors"
	"log/slog"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/transports"
)

// out takes runs of messages from the broker into the lanes. A run is acknowledged when all of it is on disk.
type out struct {
	store     *lanes.Store
	log       *slog.Logger
	addresses *addressing
	taken     atomic.Uint64 // messages that came from the broker
	unwanted  atomic.Uint64 // of them, those that nobody has asked for
	unstored  atomic.Pointer[unstored]
}

// unstored is why, and since when, what comes from the broker cannot be stored.
type unstored struct {
	why, cure string
	since     time.Time
}

// cureOf says what to do about an error of the disk.
func cureOf(err error) string {
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, full) {
			return "make room on that disk, and it goes on by itself"
		}
	}
	return "mend the disk of data_dir; it goes on by itself when that takes writes"
}

// handle is the out-router's handler. It gives up only when its context ends; what the store has taken by then is
// acknowledged, so that the broker does not bring it again.
func (o *out) handle(msg *message.Message) error {
	ctx := msg.Context()
	entries, sources := o.entries(runOf(msg))
	for wait := newBackoff(); len(entries) > 0; {
		err := o.store.Append(ctx, entries)
		stored := 0
		for stored < len(entries) && (err == nil || entries[stored].Message.Seq != 0) {
			sources[stored].Ack()
			stored++
		}
		entries, sources = entries[stored:], sources[stored:]
		if err == nil {
			o.unstored.Store(nil)
			break
		}
		if ctx.Err() != nil {
			return err
		}
		o.noteUnstored(err)
		o.log.Error("messages cannot be stored, the broker keeps them", "error", err)
		wait.sleep(ctx)
	}
	o.taken.Add(uint64(len(runOf(msg)))) // not before: who sees it counted may rely on the disk
	return nil
}

// noteUnstored remembers for the status what keeps messages from being stored.
func (o *out) noteUnstored(err error) {
	since := time.Now()
	if before := o.unstored.Load(); before != nil {
		since = before.since
	}
	o.unstored.Store(&unstored{err.Error(), cureOf(err), since})
}

// entries addresses a run. What nobody asked for is left out.
func (o *out) entries(run []*message.Message) ([]lanes.Entry, []*message.Message) {
	now := time.Now()
	entries, sources := make([]lanes.Entry, 0, len(run)), make([]*message.Message, 0, len(run))
	o.addresses.look()
	var due []*lanes.Lane
	for _, m := range run {
		start := len(due)
		var qos byte
		due, qos = o.addresses.due(due, m.Metadata[transports.MetaTopic])
		if len(due) == start {
			o.unwanted.Add(1)
			continue
		}
		entries = append(entries, entry(m, due[start:len(due):len(due)], qos, now))
		sources = append(sources, m)
	}
	return entries, sources
}

func entry(m *message.Message, due []*lanes.Lane, maxQoS byte, now time.Time) lanes.Entry {
	id, _ := strconv.ParseUint(m.Metadata[transports.MetaPacketID], 10, 16) // 0 where there is none
	return lanes.Entry{
		Message: frame.Message{
			Time:    now,
			Topic:   m.Metadata[transports.MetaTopic],
			Payload: m.Payload,
			QoS:     min(qosOf(m), maxQoS),
			Retain:  m.Metadata[transports.MetaRetain] == "1",
		},
		Lanes:    due,
		PacketID: uint16(id),
	}
}

// qosOf reads a message's QoS; a message without one has QoS 0.
func qosOf(m *message.Message) byte {
	if q := m.Metadata[transports.MetaQoS]; len(q) == 1 && q[0] >= '0' && q[0] <= '2' {
		return q[0] - '0'
	}
	return 0
}
