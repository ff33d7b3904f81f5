package kademlia

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

// maxAddrs is how many addresses of one peer are remembered.
const maxAddrs = 16

// book remembers on disk where the peers were reached last, so that a restart needs no other node.
type book struct {
	path string

	mu    sync.Mutex
	known map[peer.ID][]multiaddr.Multiaddr
}

// openBook reads the book. One that cannot be read is returned empty, with the reason.
func openBook(dataDir string) (*book, error) {
	b := &book{path: filepath.Join(dataDir, "addresses.json"), known: map[peer.ID][]multiaddr.Multiaddr{}}
	text, err := os.ReadFile(b.path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	var saved map[string][]string
	if err == nil {
		err = json.Unmarshal(text, &saved)
	}
	if err != nil {
		return b, fmt.Errorf("addresses of peers: %w", err)
	}
	for id, addrs := range saved {
		p, err := peer.Decode(id)
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if m, err := multiaddr.NewMultiaddr(a); err == nil {
				b.known[p] = append(b.known[p], m)
			}
		}
	}
	return b, nil
}

func (b *book) addrs(p peer.ID) []multiaddr.Multiaddr {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.known[p])
}

// remember keeps where a peer is now in place of where it was, on disk too when that is new. It is called from one goroutine.
func (b *book) remember(p peer.ID, addrs []multiaddr.Multiaddr) error {
	addrs = sorted(addrs)
	addrs = addrs[:min(len(addrs), maxAddrs)]
	saved := b.replace(p, addrs)
	if saved == nil {
		return nil
	}
	text, err := json.MarshalIndent(saved, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(b.path, append(text, '\n'))
}

// replace returns all that is known now as it is written, or nil where the addresses are those that were known, or none.
func (b *book) replace(p peer.ID, addrs []multiaddr.Multiaddr) map[string][]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(addrs) == 0 || slices.EqualFunc(addrs, sorted(b.known[p]), multiaddr.Multiaddr.Equal) {
		return nil
	}
	b.known[p] = addrs
	saved := map[string][]string{}
	for id := range b.known {
		for _, a := range b.known[id] {
			saved[id.String()] = append(saved[id.String()], a.String())
		}
	}
	return saved
}

func sorted(addrs []multiaddr.Multiaddr) []multiaddr.Multiaddr {
	return slices.SortedFunc(slices.Values(addrs), func(a, b multiaddr.Multiaddr) int { return slices.Compare(a.Bytes(), b.Bytes()) })
}

// writeFile writes the file whole or not at all.
func writeFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
