package plugintest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"github.com/weft-relay/weft/transports/transporttest"
)

// recorder is what a case of transporttest has instead of a *testing.T.
type recorder struct {
	ctx context.Context

	mu       sync.Mutex
	cleanups []func()
	errs     []error
}

var _ transporttest.T = (*recorder)(nil)

// record runs a case in a goroutine of its own. The channel gives what came of it, once its cleanup is done.
func record(ctx context.Context, run func(transporttest.T)) <-chan error {
	ctx, cancel := context.WithCancel(ctx)
	t, ended, result := &recorder{ctx: ctx}, make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(ended)
		defer t.recovered()
		run(t)
	}()
	go func() {
		<-ended
		cancel() // as testing does: before the cleanup
		for f := t.cleanup(); f != nil; f = t.cleanup() {
			f()
		}
		result <- t.err()
	}()
	return result
}

func (t *recorder) recovered() {
	if r := recover(); r != nil {
		t.Errorf("panic: %v", r)
	}
}

// cleanup takes off the function that was given last.
func (t *recorder) cleanup() func() {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := len(t.cleanups) - 1
	if last < 0 {
		return nil
	}
	f := t.cleanups[last]
	t.cleanups = t.cleanups[:last]
	return f
}

func (t *recorder) err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return errors.Join(t.errs...)
}

func (t *recorder) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errs = append(t.errs, err)
}

func (t *recorder) Context() context.Context { return t.ctx }

func (t *recorder) Cleanup(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, f)
}

func (t *recorder) Helper() {}

func (t *recorder) Error(args ...any) { t.fail(errors.New(plain(args))) }

func (t *recorder) Errorf(format string, args ...any) { t.fail(fmt.Errorf(format, args...)) }

func (t *recorder) Fatal(args ...any) {
	t.Error(args...)
	runtime.Goexit()
}

func (t *recorder) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}

func (t *recorder) Skip(args ...any) {
	t.fail(skip(plain(args)))
	runtime.Goexit()
}

func (t *recorder) Failed() bool { return t.err() != nil }

func plain(args []any) string { return strings.TrimSpace(fmt.Sprintln(args...)) }
