package remote

import (
	"context"
	"fmt"

	pluginv1 "github.com/weft-relay/weft/plugins/proto/weft/plugin/v1"
	"github.com/weft-relay/weft/transports"
)

// Announce stores the profile, and once more whenever the transport is opened anew.
func (t *Transport) Announce(ctx context.Context, profile []byte) error {
	if len(profile) > transports.MaxProfile {
		return transports.Permanent(t.named(fmt.Errorf("a profile of %d bytes is larger than %d", len(profile), transports.MaxProfile)))
	}
	l, err := t.wait(ctx)
	if err == nil {
		err = t.announce(ctx, l, profile)
	}
	if err != nil {
		return t.named(err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.profile = profile
	return nil
}

func (t *Transport) announce(ctx context.Context, l *link, profile []byte) error {
	if !l.keeps {
		return nil
	}
	_, err := l.client.Announce(ctx, &pluginv1.AnnounceRequest{Handle: l.handle, Profile: profile})
	if err != nil {
		return t.explain(ctx, l, err)
	}
	return nil
}

// announceAgain gives a transport that was opened anew the profile that it is to keep.
func (t *Transport) announceAgain(l *link) {
	t.mu.Lock()
	profile := t.profile
	t.mu.Unlock()
	if profile == nil {
		return
	}
	_ = t.background(l.ctx, func(ctx context.Context) {
		for ctx.Err() == nil && t.announce(ctx, l, profile) != nil {
			pause(ctx, reopenAfter)
		}
	})
}

// Watch delivers what the directory holds, over any number of starts of the program.
func (t *Transport) Watch(ctx context.Context) (<-chan transports.Announcement, error) {
	out := make(chan transports.Announcement)
	err := t.background(ctx, func(ctx context.Context) {
		defer close(out)
		for ctx.Err() == nil {
			l, err := t.wait(ctx)
			if err != nil {
				return
			}
			if err := t.watch(ctx, l, out); err != nil && ctx.Err() == nil {
				t.log.Warn("watch of the directory ended; it begins anew", "error", t.named(err))
				pause(ctx, reopenAfter)
			}
		}
	})
	return out, err
}

func (t *Transport) watch(ctx context.Context, l *link, out chan<- transports.Announcement) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	if !l.keeps {
		<-ctx.Done()
		return nil
	}
	stream, err := l.client.Watch(ctx, &pluginv1.WatchRequest{Handle: l.handle})
	if err != nil {
		return t.explain(ctx, l, err)
	}
	for {
		found, err := stream.Recv()
		if err != nil {
			return t.explain(ctx, l, err)
		}
		if len(found.Profile) > transports.MaxProfile || len(found.Node) > maxReason {
			return fmt.Errorf("%w: it found a profile of %d bytes; a profile has at most %d", ErrContract, len(found.Profile), transports.MaxProfile)
		}
		select {
		case out <- transports.Announcement{Node: found.Node, Profile: found.Profile}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
