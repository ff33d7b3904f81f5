package kademlia

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	entryMagic = "wb\x01" // the last byte is the version
	entryLabel = "weft broadcast 1\x00"
	// maxEntry bounds an entry in bytes.
	maxEntry = maxFrame + maxUUID + 1024
)

// place is where in its origin's feed an entry stands.
type place struct {
	epoch  uint64 // of the feed: a later one begins anew, after its origin has lost the log
	number uint64 // from 1
}

// entry is a broadcast frame with its place, signed by its origin, so that anybody can pass it on.
type entry struct {
	place
	uuid    string
	payload []byte // nil in a notice, which tells only that the entry is there
	raw     []byte // all of it, as it was signed
}

// signEntry makes an entry, or, without a frame, a notice of one.
func signEntry(key crypto.PrivKey, at place, uuid string, payload []byte) (entry, error) {
	b := binary.AppendUvarint([]byte(entryMagic), at.epoch)
	b = binary.AppendUvarint(b, at.number)
	b = binary.AppendUvarint(b, uint64(len(uuid)))
	b = append(b, uuid...)
	b = append(b, payload...)
	sig, err := key.Sign(append([]byte(entryLabel), b...))
	if err != nil {
		return entry{}, fmt.Errorf("sign entry: %w", err)
	}
	return entry{place: at, uuid: uuid, payload: payload, raw: append(b, sig...)}, nil
}

var errEntry = errors.New("no entry of this feed")

// openEntry returns the entry if the feed's origin has signed it.
func openEntry(origin peer.ID, raw []byte) (entry, error) {
	split := len(raw) - signature
	if split < len(entryMagic)+3 || len(raw) > maxEntry || string(raw[:len(entryMagic)]) != entryMagic {
		return entry{}, fmt.Errorf("%w: %d bytes of another format", errEntry, len(raw))
	}
	key, err := origin.ExtractPublicKey()
	if err != nil {
		return entry{}, fmt.Errorf("%w: %w", errEntry, err)
	}
	if ok, err := key.Verify(append([]byte(entryLabel), raw[:split]...), raw[split:]); err != nil || !ok {
		return entry{}, fmt.Errorf("%w: it has another signature", errEntry)
	}
	e := entry{raw: raw}
	rest := raw[len(entryMagic):split]
	var size uint64
	for _, field := range []*uint64{&e.epoch, &e.number, &size} {
		value, n := binary.Uvarint(rest)
		if n <= 0 {
			return entry{}, fmt.Errorf("%w: damaged number", errEntry)
		}
		*field, rest = value, rest[n:]
	}
	if e.epoch == 0 || e.number == 0 || size > maxUUID || size > uint64(len(rest)) {
		return entry{}, fmt.Errorf("%w: place %d of %d, name of %d bytes", errEntry, e.number, e.epoch, size)
	}
	e.uuid = string(rest[:size])
	if size > 0 {
		e.payload = rest[size:]
	}
	return e, nil
}
