package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/pipeline/frame"
)

// Limits of the frames kept for a later version; the oldest go first.
const (
	maxKept      = 64 << 20 // bytes
	maxKeptFiles = 1000
)

// keptFrames are frames of a newer format than this relay reads. They wait in the data directory and are tried again by each
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

// keep stores a frame durably. Nothing proves who made it, so that what is kept is bounded whoever sends.
func (k *keptFrames) keep(data []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(data) > maxKept {
		return nil
	}
	files, size, err := k.list()
	if err != nil {
		return fmt.Errorf("kept frames: %w", err)
	}
	for ; len(files) > 0 && (size+int64(len(data)) > maxKept || len(files) >= maxKeptFiles); files = files[1:] {
		size -= fileSize(files[0])
		if err := os.Remove(files[0]); err != nil {
			return fmt.Errorf("kept frames: %w", err)
		}
	}
	if err := writeFile(filepath.Join(k.dir, fmt.Sprintf("%020d.frame", time.Now().UnixNano())), data); err != nil {
		return fmt.Errorf("kept frames: %w", err)
	}
	return nil
}

// list returns the kept files, oldest first, and their size.
func (k *keptFrames) list() (files []string, size int64, err error) {
	files, err = filepath.Glob(filepath.Join(k.dir, "*.frame"))
	slices.Sort(files)
	for _, f := range files {
		size += fileSize(f)
	}
	return files, size, err
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
	files, _, err := k.list()
	if err != nil {
		return nil, fmt.Errorf("kept frames: %w", err)
	}
	out := make(chan *message.Message)
	go func() { // ends with ctx
		defer close(out)
		for _, path := range files {
			data, err := os.ReadFile(path)
			if err != nil {
				continue
			}
			if _, err := frame.Parse(data); errors.Is(err, frame.ErrVersion) {
				continue
			}
			msg := message.NewMessage(filepath.Base(path), data)
			msg.SetContext(ctx)
			acked, _ := offer(ctx, out, msg)
			if !acked {
				return // ctx has ended
			}
			_ = os.Remove(path) // found again by the next start, and then a duplicate
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
