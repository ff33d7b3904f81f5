// Package profile is what a node announces of itself: its name, a version that only grows, and for each peer it lists the
// topic filters that it wants from that peer, sealed for that peer alone. A directory, and whoever runs it, sees names and
// sizes but no filter; a node that finds no entry for itself knows that it is not listed. The whole is signed.
// docs/wire-format.md describes every byte.
package profile

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/weft-relay/weft/matching"
	"github.com/weft-relay/weft/pipeline/identity"
	"github.com/weft-relay/weft/transports"
)

// Limits that a reader holds every profile to.
const (
	MaxSize    = transports.MaxProfile // bytes of an encoded profile
	MaxFilters = 10_000                // filters for one peer
)

const (
	magic     = "wp\x01" // the last byte is the version
	infoLabel = "weft profile 1\x00"

	fieldNode    = 1
	fieldVersion = 2
	fieldEntry   = 3
)

var (
	// ErrInvalid says that a profile is not what its node could have announced. Errors of Open wrap it.
	ErrInvalid = errors.New("invalid profile")
	// ErrSignature says that a profile is signed with another key than that of its node. It is returned with ErrInvalid.
	ErrSignature = errors.New("not signed with the key in the peers list")
)

// Entry is what a node wants from one peer.
type Entry struct {
	Peer    ed25519.PublicKey
	Filters []string
}

// Check says what no reader would take of a profile of the node with these entries.
func Check(node string, entries []Entry) error {
	for _, e := range entries {
		if len(e.Filters) > MaxFilters {
			return fmt.Errorf("%d filters are asked of one peer; at most %d are allowed", len(e.Filters), MaxFilters)
		}
	}
	if n := size(node, entries); n > MaxSize {
		return fmt.Errorf("the profile that asks %d peers for them has %d bytes; at most %d are allowed", len(entries), n, MaxSize)
	}
	return nil
}

// size returns how many bytes Encode makes at most.
func size(node string, entries []Entry) int {
	n := len(magic) + protowire.SizeTag(fieldNode) + protowire.SizeBytes(len(node)) +
		protowire.SizeTag(fieldVersion) + protowire.SizeVarint(1<<64-1) + ed25519.SignatureSize
	for _, e := range entries {
		entry := len(identity.Fingerprint(nil)) + identity.Overhead + max(0, len(e.Filters)-1)
		for _, f := range e.Filters {
			entry += len(f)
		}
		n += protowire.SizeTag(fieldEntry) + protowire.SizeBytes(entry)
	}
	return n
}

// Encode signs and seals a profile of the node.
func Encode(id *identity.Identity, node string, version uint64, entries []Entry) ([]byte, error) {
	b := append([]byte(nil), magic...)
	b = protowire.AppendTag(b, fieldNode, protowire.BytesType)
	b = protowire.AppendString(b, node)
	b = protowire.AppendTag(b, fieldVersion, protowire.VarintType)
	b = protowire.AppendVarint(b, version)
	for _, e := range entries {
		to, err := identity.NewRecipient(e.Peer)
		if err != nil {
			return nil, err
		}
		sealed, err := to.Sealer([]byte(infoLabel + node)).Seal([]byte(strings.Join(e.Filters, "\x00"))) // no filter holds U+0000 [MQTT-1.5.3-2]
		if err != nil {
			return nil, fmt.Errorf("profile: %w", err)
		}
		mark := identity.Fingerprint(e.Peer)
		b = protowire.AppendTag(b, fieldEntry, protowire.BytesType)
		b = protowire.AppendBytes(b, append(mark[:], sealed...))
	}
	return append(b, id.Sign(b)...), nil
}

// Profile is what one reader gets out of a node's profile.
type Profile struct {
	Node    string
	Version uint64
	Listed  bool     // the node lists the reader as a peer
	Filters []string // what it wants from the reader, valid and without repetition
}

// Open verifies a profile with the announcing node's key and opens the reader's entry.
func Open(data []byte, key ed25519.PublicKey, reader *identity.Identity) (*Profile, error) {
	split := len(data) - ed25519.SignatureSize
	if len(data) > MaxSize || split < len(magic) || string(data[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: %d bytes that are no profile of version %d", ErrInvalid, len(data), magic[len(magic)-1])
	}
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, data[:split], data[split:]) {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, ErrSignature)
	}
	p := &Profile{}
	mark := identity.Fingerprint(reader.Public())
	var sealed []byte
	for b := data[len(magic):split]; len(b) > 0; {
		field, typ, n := protowire.ConsumeField(b)
		if n < 0 {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, protowire.ParseError(n))
		}
		_, _, tag := protowire.ConsumeTag(b)
		content := b[tag:n]
		b = b[n:]
		switch {
		case field == fieldNode && typ == protowire.BytesType:
			p.Node, _ = protowire.ConsumeString(content)
		case field == fieldVersion && typ == protowire.VarintType:
			p.Version, _ = protowire.ConsumeVarint(content)
		case field == fieldEntry && typ == protowire.BytesType:
			entry, _ := protowire.ConsumeBytes(content)
			if len(entry) >= len(mark) && string(entry[:len(mark)]) == string(mark[:]) {
				sealed = entry[len(mark):]
			}
		}
	}
	if sealed == nil {
		return p, nil
	}
	return p, p.open(reader, sealed)
}

func (p *Profile) open(reader *identity.Identity, sealed []byte) error {
	plain, err := reader.Opener([]byte(infoLabel + p.Node)).Open(sealed)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	p.Listed = true
	if len(plain) == 0 {
		return nil
	}
	filters := strings.Split(string(plain), "\x00")
	if len(filters) > MaxFilters {
		return fmt.Errorf("%w: %d filters, more than %d", ErrInvalid, len(filters), MaxFilters)
	}
	for _, f := range filters {
		if err := matching.ValidateInterest(f); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	slices.Sort(filters)
	p.Filters = slices.Compact(filters)
	return nil
}
