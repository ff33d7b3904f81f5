package frame

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/weft-relay/weft/pipeline/identity"
)

// Version is the version of the wire format that this package writes, and the only one it reads.
const Version = 1

// MaxSize bounds a frame in bytes, sealed and opened alike, so that a small one cannot expand without end.
const MaxSize = 80 << 20

const (
	magic      = "wf"
	magicPlain = "wu"
	headerLen  = len(magic) + 1

	fieldOrigin  = 1
	fieldTo      = 2
	fieldBody    = 3
	signatureLen = ed25519.SignatureSize // the last bytes
)

// Errors that say why a frame is refused. They are for errors.Is; what is returned names the frame's origin.
var (
	// ErrVersion is returned for a frame of a newer format: this relay must be updated to read it.
	ErrVersion = errors.New("frame of a newer version")
	// ErrStranger is returned for a frame whose origin is no peer.
	ErrStranger = errors.New("frame from a node that is not a peer")
	// ErrSignature is returned for a frame that its origin did not sign.
	ErrSignature = errors.New("frame with a bad signature")
	// ErrRecipient is returned for a direct frame for somebody else.
	ErrRecipient = errors.New("frame for another node")
)

// Envelope is a sealed or open frame on its way, as the transports see it.
type Envelope struct {
	Origin string // name of the node that made the frame
	To     string // name of the node it is sealed for; empty for a broadcast and for a plain frame
	Plain  bool   // it is neither sealed nor signed: nothing but the network can say whose it is
	body   []byte
	signed []byte // all but the signature
	sig    []byte
}

// SealInfo is the info of the sealer and the opener of the direct frames from origin to another node: it binds the sealed
// body to its two ends, so that nobody can pass it on under another name.
func SealInfo(origin, to string) []byte { return []byte("weft frame 1\x00" + origin + "\x00" + to) }

// Seal encodes a frame for one recipient alone, signed by the origin. The sealer has the [SealInfo] of the two.
func Seal(id *identity.Identity, origin, to string, sealer *identity.Sealer, f *Frame) ([]byte, error) {
	body, err := sealer.Seal(compress(appendFrame(nil, f)))
	if err != nil {
		return nil, fmt.Errorf("seal for %s: %w", to, err)
	}
	return encode(id, origin, to, body), nil
}

// Sign encodes a frame that everybody may read, signed by the origin.
func Sign(id *identity.Identity, origin string, f *Frame) []byte {
	return encode(id, origin, "", compress(appendFrame(nil, f)))
}

// Plain encodes a frame that the network alone keeps from others and proves the origin of: it is neither sealed nor signed.
func Plain(origin string, f *Frame) []byte {
	return appendEnvelope(magicPlain, origin, "", compress(appendFrame(nil, f)))
}

func encode(id *identity.Identity, origin, to string, body []byte) []byte {
	b := appendEnvelope(magic, origin, to, body)
	return append(b, id.Sign(b)...)
}

// appendEnvelope returns an envelope with room for its signature.
func appendEnvelope(magic, origin, to string, body []byte) []byte {
	b := make([]byte, 0, len(body)+len(origin)+len(to)+ed25519.SignatureSize+24)
	b = append(b, magic...)
	b = append(b, Version)
	b = appendString(b, fieldOrigin, origin)
	if to != "" {
		b = appendString(b, fieldTo, to)
	}
	b = protowire.AppendTag(b, fieldBody, protowire.BytesType)
	return protowire.AppendBytes(b, body)
}

func appendString(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

// Parse reads an envelope without proving anything. Its memory is shared with data. A frame of another version is an ErrVersion,
// and the envelope then holds what is the same in every version: the names of its ends and the signature. Anything else that is
// wrong is an ErrMalformed.
func Parse(data []byte) (*Envelope, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrMalformed, len(data), MaxSize)
	}
	e, split := &Envelope{}, len(data)
	switch {
	case len(data) >= headerLen && string(data[:len(magic)]) == magicPlain:
		e.Plain = true
	case len(data) >= headerLen+signatureLen && string(data[:len(magic)]) == magic:
		split -= signatureLen
		e.signed, e.sig = data[:split], data[split:]
	default:
		return nil, fmt.Errorf("%w: no frame at all", ErrMalformed)
	}
	err := eachField(data[headerLen:split], func(field protowire.Number, v value) error {
		switch field {
		case fieldOrigin:
			e.Origin = string(v.bytes)
		case fieldTo:
			e.To = string(v.bytes)
		case fieldBody:
			e.body = v.bytes
		}
		return nil
	})
	if v := data[len(magic)]; v != Version {
		return e, fmt.Errorf("%w: it has version %d, this relay reads %d: update this relay", ErrVersion, v, Version)
	}
	return e, err
}

// SignedBy proves that the owner of the key made the frame, whatever its version. A plain frame nobody has signed.
func (e *Envelope) SignedBy(key ed25519.PublicKey) bool {
	return !e.Plain && len(key) == ed25519.PublicKeySize && ed25519.Verify(key, e.signed, e.sig)
}

// Open proves that the origin, whose key this is, made the frame, and for this node if it is a direct one, and decodes it.
// The opener has the [SealInfo] of the two.
func (e *Envelope) Open(self string, origin ed25519.PublicKey, opener *identity.Opener) (*Frame, error) {
	switch {
	case e.To != "" && e.To != self:
		return nil, fmt.Errorf("%w: from %s for %s", ErrRecipient, e.Origin, e.To)
	case e.Plain:
		return nil, fmt.Errorf("%w: it says it is from %s, who must sign, and is not signed", ErrSignature, e.Origin)
	case !e.SignedBy(origin):
		return nil, fmt.Errorf("%w: it says it is from %s", ErrSignature, e.Origin)
	}
	return e.OpenProven(self, opener)
}

// OpenProven is Open for a frame that is proven already to be from its origin: by [Envelope.SignedBy], or by the network, for one that
// is plain or signed with a key that is not known here.
func (e *Envelope) OpenProven(self string, opener *identity.Opener) (*Frame, error) {
	if e.To != "" && e.To != self {
		return nil, fmt.Errorf("%w: from %s for %s", ErrRecipient, e.Origin, e.To)
	}
	body := e.body
	if e.To != "" {
		var err error
		if body, err = opener.Open(body); err != nil {
			return nil, fmt.Errorf("%w: from %s: %w", ErrRecipient, e.Origin, err)
		}
	}
	plain, err := decompress(body)
	if err != nil {
		return nil, fmt.Errorf("%w: from %s: %w", ErrMalformed, e.Origin, err)
	}
	return parseFrame(plain)
}
