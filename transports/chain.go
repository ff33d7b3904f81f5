package transports

import (
	"context"
	"sync/atomic"
)

// Chain is frames of which none may arrive without those before it. When one of them fails, its chain is broken for good: whoever
// sends it may have handed on another one before it knows. A [Pipelined] finds the chain of a frame in the frame's context.
type Chain struct{ broken atomic.Bool }

// chainKey is the context key of a frame's chain, a *Chain.
type chainKey struct{}

// WithChain returns the context for a frame of the chain.
func WithChain(ctx context.Context, c *Chain) context.Context {
	return context.WithValue(ctx, chainKey{}, c)
}

// ChainOf returns the chain of a frame with that context: one of its own where none was given.
func ChainOf(ctx context.Context) *Chain {
	if c, ok := ctx.Value(chainKey{}).(*Chain); ok {
		return c
	}
	return new(Chain)
}

// Break says that a frame of the chain has failed. The transport says so before it takes any other frame to the topic.
func (c *Chain) Break() { c.broken.Store(true) }

// Broken reports whether a frame of the chain has failed.
func (c *Chain) Broken() bool { return c.broken.Load() }
