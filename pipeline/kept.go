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

// maxKept bounds the frames kept for a later version, in bytes; the oldest go first.
const maxKept = 64 << 20

// keptFrames are frames of a newer format than this relay reads. They wait in the data directory and are tried again, before
// anything else, by each start. It is a message.Subscriber of those that have become readable.
type keptFrames struct {
	dir string
	mu  sync.Mutex
}

func newKeptFrames(dataDir string) (*keptFrames, error) {
	k := &keptFrames{dir: filepath.Join(dataDir, "kept")}
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
	for ; len(files) > 0 && size+int64(len(data)) > maxKept; files = files[1:] {
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
			if acked, _ := offer(ctx, out, msg); acked {
				_ = os.Remove(path) // found again by the next start, and then a duplicate
			}
		}
		<-ctx.Done()
	}()
	return out, nil
}

// Close implements message.Subscriber.
func (k *keptFrames) Close() error { return nil }
