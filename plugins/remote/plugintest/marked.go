package plugintest

import (
	"context"
	"strings"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/plugins/remote"
	"github.com/weft-relay/weft/transports"
)

// carrier is a transport on which names end with the mark.
type carrier struct {
	inner    *remote.Transport
	mark     string
	watching sync.WaitGroup
}

// marked is what every transport has of it.
type marked struct{ *carrier }

func (c *carrier) Start(ctx context.Context) error { return c.inner.Start(ctx) }

func (c *carrier) Close() error {
	err := c.inner.Close()
	c.watching.Wait()
	return err
}

func (c *carrier) Report() transports.Report { return c.inner.Report() }

// Publish marks the peer, unless no peer can be called that.
func (c *carrier) Publish(topic string, frames ...*message.Message) error {
	if peer, direct := transports.DirectPeer(topic); direct && peer != "" && !strings.Contains(peer, " ") {
		topic = transports.Direct(peer + c.mark)
	}
	return c.inner.Publish(topic, frames...)
}

func (c *carrier) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	return c.inner.Subscribe(ctx, topic)
}

// bound is the power of a transport that bounds the size of a frame.
type bound struct{ of *carrier }

func (b bound) MaxPayload() int { return b.of.inner.MaxPayload() }

// keeper is the power of a transport with a directory.
type keeper struct{ of *carrier }

func (k keeper) Announce(ctx context.Context, profile []byte) error {
	return k.of.inner.Announce(ctx, profile)
}

// Watch leaves out the profiles of other cases.
func (k keeper) Watch(ctx context.Context) (<-chan transports.Announcement, error) {
	found, err := k.of.inner.Watch(ctx)
	if err != nil {
		return nil, err
	}
	out := make(chan transports.Announcement)
	k.of.watching.Go(func() {
		defer close(out)
		for a := range found {
			name, ours := strings.CutSuffix(a.Node, k.of.mark)
			if !ours {
				continue
			}
			select {
			case out <- transports.Announcement{Node: name, Profile: a.Profile}:
			case <-ctx.Done():
			}
		}
	})
	return out, nil
}
