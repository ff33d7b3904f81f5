package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/transports"
)

// Limits of the frames kept for a later version.
const (
	maxKept      = 64 << 20 // bytes
	maxKeptFiles = 1000
)

// keptFrames are frames of peers in a newer format than this relay reads. They wait in the data directory and are tried again by each
// start, before anything that transports bring. It is a message.Subscriber of those that have become readable.
type keptFrames struct {
	dir     string
	mu      sync.Mutex
	drained chan struct{} // closed when no readable frame is left
}

func newKeptFrames(dataDir string) (*keptFrames, error) {
	k := &keptFrames{dir: filepath.Join(dataDir, "kept"), drained: make(chan struct{})}
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return nil, fmt.Errorf("kept frames: %w", err)
	}
	return k, nil
}

// keep stores a frame of a peer durably. Where there is no room, the peer that takes the most of it gives up its oldest frames, or
// this one: no peer can put out what another has sent. It returns how many frames were given up.
func (k *keptFrames) keep(peer string, data []byte) (lost int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	files, err := k.list()
	if err != nil {
		return 0, fmt.Errorf("kept frames: %w", err)
	}
	files = append(files, keptFile{peer: peer, size: int64(len(data))})
	for ; !fits(files); lost++ {
		i := oldestOfLargest(files)
		if i == len(files)-1 {
			return lost + 1, nil
		}
		if err := os.Remove(files[i].path); err != nil {
			return lost, fmt.Errorf("kept frames: %w", err)
		}
		files = slices.Delete(files, i, i+1)
	}
	if err := writeFile(filepath.Join(k.dir, fmt.Sprintf("%020d.%s.frame", time.Now().UnixNano(), peer)), data); err != nil {
		return lost, fmt.Errorf("kept frames: %w", err)
	}
	return lost, nil
}

type keptFile struct {
	path string
	peer string
	size int64
}

func fits(files []keptFile) bool {
	var size int64
	for _, f := range files {
		size += f.size
	}
	return size <= maxKept && len(files) <= maxKeptFiles
}

// oldestOfLargest returns the first of the files of the peer that takes the most room: bytes, and its share of the number.
func oldestOfLargest(files []keptFile) (first int) {
	room := make(map[string]int64)
	for _, f := range files {
		room[f.peer] += f.size + maxKept/maxKeptFiles
	}
	var most int64
	for i, f := range files {
		if room[f.peer] > most {
			first, most = i, room[f.peer]
		}
	}
	return first
}

// list returns the kept files, oldest first.
func (k *keptFrames) list() (files []keptFile, err error) {
	paths, err := filepath.Glob(filepath.Join(k.dir, "*.frame"))
	slices.Sort(paths)
	for _, path := range paths {
		_, peer, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".frame"), ".")
		files = append(files, keptFile{path, peer, fileSize(path)})
	}
	return files, err
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// Subscribe implements message.Subscriber.
func (k *keptFrames) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	files, err := k.list()
	if err != nil {
		return nil, fmt.Errorf("kept frames: %w", err)
	}
	out := make(chan *message.Message)
	go func() { // ends with ctx
		defer close(out)
		for _, f := range files {
			data, err := os.ReadFile(f.path)
			if err != nil {
				continue
			}
			if _, err := frame.Parse(data); errors.Is(err, frame.ErrVersion) {
				continue
			}
			msg := message.NewMessage(filepath.Base(f.path), data)
			msg.Metadata[transports.MetaFrom] = f.peer // it was proven when the frame was kept
			msg.SetContext(ctx)
			acked, _ := offer(ctx, out, msg)
			if !acked {
				return // ctx has ended
			}
			_ = os.Remove(f.path) // found again by the next start, and then a duplicate
		}
		close(k.drained)
		<-ctx.Done()
	}()
	return out, nil
}

// Close implements message.Subscriber.
func (k *keptFrames) Close() error { return nil }

// maxReady is how many frames wait for the next run. Of more, those that come again after a reconnect would fill the memory while
// the broker is away.
const maxReady = 32

// afterKept decorates a subscriber: what it brings waits until the kept frames, which came before, are through.
type afterKept struct {
	message.Subscriber
	kept *keptFrames
}

// Subscribe implements message.Subscriber.
func (a afterKept) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	in, err := a.Subscriber.Subscribe(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := make(chan *message.Message, maxReady) // what comes while a run is under way makes up the next one
	go func() {                                  // ends with ctx
		defer close(out)
		select {
		case <-a.kept.drained:
		case <-ctx.Done():
			return
		}
		for msg := range in {
			select {
			case out <- msg:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}
