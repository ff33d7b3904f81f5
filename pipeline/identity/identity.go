// Package identity is a node's Ed25519 identity: the file it is kept in, the signatures it makes, and the sealing of data
// for one recipient alone.
//
// Sealing is XChaCha20-Poly1305 under a key that HPKE (RFC 9180) exports in base mode, with DHKEM(X25519, HKDF-SHA256) and
// HKDF-SHA256. The X25519 key pair is the Ed25519 one under the birational map of RFC 7748, section 4.1, so that one key in the peers list serves for both.
package identity

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	fileName   = "identity.key"
	filePrefix = "weft-identity-ed25519:"
	keyPrefix  = "ed25519:"
)

// Identity is a node's private key. Its zero value is not usable.
type Identity struct {
	key  ed25519.PrivateKey
	seal hpke.PrivateKey
}

// Load reads the identity of the data directory, making the directory and a new identity if there is none.
// The file is readable by its owner alone; one that others may read is refused.
func Load(dataDir string) (*Identity, error) {
	id, err := read(dataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return create(dataDir, filepath.Join(dataDir, fileName))
	}
	return id, err
}

// Check says what is wrong with the data directory or the identity in it, if they are there. It writes nothing.
func Check(dataDir string) error {
	if info, err := os.Stat(dataDir); err == nil && !info.IsDir() {
		return fmt.Errorf("data_dir %s is not a folder; name another path", dataDir)
	}
	_, err := read(dataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func read(dataDir string) (*Identity, error) {
	path := filepath.Join(dataDir, fileName)
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("identity %s: mode %04o lets others read the private key; run: chmod 600 %[1]s", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	encoded, ok := strings.CutPrefix(strings.TrimSpace(string(text)), filePrefix)
	seed, err := base64.RawURLEncoding.DecodeString(encoded)
	if !ok || err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("identity %s: not an identity file; restore it from a backup, or remove it to get a new identity, which every peer must then be told", path)
	}
	return New(ed25519.NewKeyFromSeed(seed))
}

func create(dataDir, path string) (*Identity, error) {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	id, err := New(key)
	if err != nil {
		return nil, err
	}
	text := filePrefix + base64.RawURLEncoding.EncodeToString(key.Seed()) + "\n"
	if err := writeOnce(path, text); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	return id, nil
}

// writeOnce makes the file whole or not at all, and fails when it exists: two processes that start together get one identity.
func writeOnce(path, text string) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), fileName+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(text)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// New makes an identity of a private key.
func New(key ed25519.PrivateKey) (*Identity, error) {
	h := sha512.Sum512(key.Seed()) // its first half, clamped, is the X25519 scalar too (RFC 8032, section 5.1.5)
	scalar, err := ecdh.X25519().NewPrivateKey(h[:32])
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	seal, err := hpke.NewDHKEMPrivateKey(scalar)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	return &Identity{key: key, seal: seal}, nil
}

// Public returns the public half.
func (id *Identity) Public() ed25519.PublicKey { return id.key.Public().(ed25519.PublicKey) }

// Private returns the private half, for a network whose connections prove it.
func (id *Identity) Private() ed25519.PrivateKey { return id.key }

// Sign returns the 64-byte Ed25519 signature of data.
func (id *Identity) Sign(data []byte) []byte { return ed25519.Sign(id.key, data) }

// Fingerprint returns the first 8 bytes of the SHA-256 of a public key: enough to find one's own entry in a list.
func Fingerprint(key ed25519.PublicKey) [8]byte {
	sum := sha256.Sum256(key)
	return [8]byte(sum[:8])
}

// FormatKey returns a public key as it is written in a peers list: "ed25519:" and 43 characters of unpadded base64url.
func FormatKey(key ed25519.PublicKey) string {
	return keyPrefix + base64.RawURLEncoding.EncodeToString(key)
}

// ParseKey reads what [FormatKey] wrote.
func ParseKey(text string) (ed25519.PublicKey, error) {
	encoded, ok := strings.CutPrefix(text, keyPrefix)
	if !ok {
		return nil, fmt.Errorf("key %q does not begin with %q; paste what `weft id` prints on that peer", text, keyPrefix)
	}
	key, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("key %q is not %d bytes of base64url; paste what `weft id` prints on that peer", text, ed25519.PublicKeySize)
	}
	if _, err := NewRecipient(key); err != nil {
		return nil, fmt.Errorf("key %q is not a valid Ed25519 public key; paste what `weft id` prints on that peer", text)
	}
	return key, nil
}
