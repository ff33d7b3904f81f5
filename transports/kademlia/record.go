package kademlia

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// maxRecord is the largest record in bytes that nodes keep for each other.
	maxRecord = 64 << 10
	namespace = "weft"

	recordMagic = "wd\x01" // the last byte is the version
	recordLabel = "weft directory 1\x00"
	signature   = 64
)

// record is what a node announces of itself: in the directory and straight to its peers.
type record struct {
	seq     uint64 // grows with every announcement
	profile []byte // nil where it is too large for the directory, and peers get it from the node alone
}

// recordKey returns the key of a node's record in the directory.
func recordKey(p peer.ID) string { return "/" + namespace + "/" + p.String() }

// sign returns the record as it is sent: signed, so that whoever passes it on can change nothing.
func (r record) sign(key crypto.PrivKey) ([]byte, error) {
	b := binary.AppendUvarint([]byte(recordMagic), r.seq)
	b = append(b, r.profile...)
	sig, err := key.Sign(append([]byte(recordLabel), b...))
	if err != nil {
		return nil, fmt.Errorf("sign record: %w", err)
	}
	return append(b, sig...), nil
}

var errRecord = errors.New("no record of this node")

// openRecord returns the record if the node has signed it.
func openRecord(p peer.ID, data []byte) (record, error) {
	split := len(data) - signature
	if split < len(recordMagic)+1 || string(data[:len(recordMagic)]) != recordMagic {
		return record{}, fmt.Errorf("%w: %d bytes of another format", errRecord, len(data))
	}
	key, err := p.ExtractPublicKey()
	if err != nil {
		return record{}, fmt.Errorf("%w: %w", errRecord, err)
	}
	if ok, err := key.Verify(append([]byte(recordLabel), data[:split]...), data[split:]); err != nil || !ok {
		return record{}, fmt.Errorf("%w: it has another signature", errRecord)
	}
	seq, n := binary.Uvarint(data[len(recordMagic):split])
	if n <= 0 {
		return record{}, fmt.Errorf("%w: damaged number", errRecord)
	}
	r := record{seq: seq}
	if rest := data[len(recordMagic)+n : split]; len(rest) > 0 {
		r.profile = rest
	}
	return r, nil
}

// validator says what nodes keep for each other in the directory: records of nodes, each under its node's key and signed by it, of at
// most maxRecord bytes, and of several the newest.
type validator struct{}

func (validator) Validate(key string, value []byte) error {
	_, err := openAt(key, value)
	return err
}

// Select implements record.Validator.
func (validator) Select(key string, values [][]byte) (int, error) {
	best, newest := -1, uint64(0)
	for i, v := range values {
		if r, err := openAt(key, v); err == nil && (best < 0 || r.seq > newest) {
			best, newest = i, r.seq
		}
	}
	if best < 0 {
		return 0, errRecord
	}
	return best, nil
}

func openAt(key string, value []byte) (record, error) {
	id, ok := strings.CutPrefix(key, "/"+namespace+"/")
	if !ok {
		return record{}, fmt.Errorf("%w: key of another kind", errRecord)
	}
	p, err := peer.Decode(id)
	if err != nil || p.String() != id {
		return record{}, fmt.Errorf("%w: key that names no node", errRecord)
	}
	if len(value) > maxRecord {
		return record{}, fmt.Errorf("%w: %d bytes, at most %d are kept", errRecord, len(value), maxRecord)
	}
	return openRecord(p, value)
}
