package identity

import (
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"filippo.io/edwards25519"
	"golang.org/x/crypto/chacha20poly1305"
)

const (
	encapsulatedLen = 32 // bytes of an encapsulated X25519 key

	// Overhead is what sealing adds, in bytes: the encapsulated key, the nonce and the authentication tag.
	Overhead = encapsulatedLen + chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead

	exportLabel = "weft seal 1"

	// sealerLife is how long an encapsulated key is used by its sender.
	sealerLife = time.Hour
	// openerKeys is how many keys of one sender are remembered: that of its present run and those that frames still wait under.
	openerKeys = 8
)

// Recipient is somebody else's public key, ready to seal for. It is safe for concurrent use.
type Recipient struct{ key hpke.PublicKey }

// NewRecipient returns a recipient for an Ed25519 public key, or an error when the bytes are no point of the curve.
func NewRecipient(key ed25519.PublicKey) (Recipient, error) {
	point, err := new(edwards25519.Point).SetBytes(key)
	if err != nil {
		return Recipient{}, fmt.Errorf("public key: %w", err)
	}
	pub, err := ecdh.X25519().NewPublicKey(point.BytesMontgomery())
	if err != nil {
		return Recipient{}, fmt.Errorf("public key: %w", err)
	}
	kem, err := hpke.NewDHKEMPublicKey(pub)
	if err != nil {
		return Recipient{}, fmt.Errorf("public key: %w", err)
	}
	return Recipient{kem}, nil
}

// Sealer seals data for one recipient under one info. To agree on a key costs more than to seal an ordinary frame, so a key
// serves for an hour, with a random nonce for each piece of data: a counter would repeat itself in a machine that is copied while it
// runs. It is safe for concurrent use.
type Sealer struct {
	to   Recipient
	info []byte

	mu           sync.Mutex
	born         time.Time
	encapsulated []byte
	aead         cipher.AEAD
}

// Sealer returns a sealer for the recipient. The info must be known to it and is authenticated, not sent.
func (r Recipient) Sealer(info []byte) *Sealer { return &Sealer{to: r, info: info} }

// Seal encrypts data for the recipient alone; it adds [Overhead] bytes.
func (s *Sealer) Seal(data []byte) ([]byte, error) {
	encapsulated, aead, err := s.current()
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	b := append(make([]byte, 0, len(data)+Overhead), encapsulated...)
	nonce := b[len(b) : len(b)+chacha20poly1305.NonceSizeX]
	rand.Read(nonce) // never fails
	return aead.Seal(b[:len(b)+len(nonce)], nonce, data, nil), nil
}

// current returns the key to use.
func (s *Sealer) current() (encapsulated []byte, aead cipher.AEAD, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.aead != nil && time.Since(s.born) <= sealerLife {
		return s.encapsulated, s.aead, nil
	}
	encapsulated, sender, err := hpke.NewSender(s.to.key, hpke.HKDFSHA256(), hpke.ExportOnly(), s.info)
	if err != nil {
		return nil, nil, err
	}
	if aead, err = exported(sender.Export); err != nil {
		return nil, nil, err
	}
	s.born, s.encapsulated, s.aead = time.Now(), encapsulated, aead
	return encapsulated, aead, nil
}

// Opener opens what one sender has sealed for this identity under one info. It is safe for concurrent use.
type Opener struct {
	id   *Identity
	info []byte

	mu   sync.Mutex
	keys []openKey // the one used last comes last
}

type openKey struct {
	encapsulated [encapsulatedLen]byte
	aead         cipher.AEAD
}

var errSealed = errors.New("not sealed for this node")

// Opener returns an opener of what was sealed under the info.
func (id *Identity) Opener(info []byte) *Opener { return &Opener{id: id, info: info} }

// Open opens what [Sealer.Seal] returned.
func (o *Opener) Open(sealed []byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return nil, errSealed
	}
	aead, err := o.key([encapsulatedLen]byte(sealed))
	if err != nil {
		return nil, errSealed
	}
	nonce, data := sealed[encapsulatedLen:][:chacha20poly1305.NonceSizeX], sealed[encapsulatedLen+chacha20poly1305.NonceSizeX:]
	plain, err := aead.Open(nil, nonce, data, nil)
	if err != nil {
		return nil, errSealed
	}
	return plain, nil
}

// key returns the key that was encapsulated, and remembers it.
func (o *Opener) key(encapsulated [encapsulatedLen]byte) (cipher.AEAD, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if i := slices.IndexFunc(o.keys, func(k openKey) bool { return k.encapsulated == encapsulated }); i >= 0 {
		k := o.keys[i]
		o.keys = append(slices.Delete(o.keys, i, i+1), k)
		return k.aead, nil
	}
	recipient, err := hpke.NewRecipient(encapsulated[:], o.id.seal, hpke.HKDFSHA256(), hpke.ExportOnly(), o.info)
	if err != nil {
		return nil, err
	}
	aead, err := exported(recipient.Export)
	if err != nil {
		return nil, err
	}
	if len(o.keys) == openerKeys {
		o.keys = slices.Delete(o.keys, 0, 1)
	}
	o.keys = append(o.keys, openKey{encapsulated, aead})
	return aead, nil
}

// exported returns the cipher of an HPKE context (RFC 9180, section 5.3).
func exported(export func(string, int) ([]byte, error)) (cipher.AEAD, error) {
	key, err := export(exportLabel, chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	return chacha20poly1305.NewX(key)
}
