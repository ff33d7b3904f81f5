package rpc

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Kind is a kind of DHT resource.
type Kind string

// The kinds of DHT resources.
const (
	Single Kind = "s" // one value, which its owner alone writes and a greater seq replaces
	Multi  Kind = "m" // up to 32 values, which anybody adds
)

// maxResource is the longest name of a resource in bytes: a longer one is stored here and refused by every other node.
const maxResource = 32

// An Entry is one value of a DHT resource.
type Entry struct {
	Signer string
	Seq    int // of a Single
	Height int
	Time   int64 // of the signer's clock, seconds since 1970
	// Value is made of string, json.Number, []any and map[string]any, and can be put again as it is.
	Value any
}

type wireEntry struct {
	P *struct {
		Seq    int   `json:"seq"`
		Height int   `json:"height"`
		Time   int64 `json:"time"`
		Value  any   `json:"v"`
	} `json:"p"`
	Signer string `json:"sig_user"`
}

// DHTPut stores value, signed by signer, as a resource of user. It is made of strings, 32-bit integers, lists and objects. A Single
// needs a seq greater than the one before (Unix time serves) and user as its signer. The daemon never says that another node
// refused the value, for its size or its seq: read it back with DHTGet from elsewhere.
func (c *Client) DHTPut(ctx context.Context, user, resource string, kind Kind, value any, signer string, seq int64) error {
	if len(resource) > maxResource {
		return fmt.Errorf("DHT resource %q: %w: its name is over %d bytes", resource, ErrBadValue, maxResource)
	}
	if err := storable(value); err != nil {
		return fmt.Errorf("DHT resource %q: %w", resource, err)
	}
	params := []any{user, resource, string(kind), value, signer}
	if kind == Single {
		if seq < 0 {
			return fmt.Errorf("DHT resource %q: seq: %w: %d", resource, ErrOutOfRange, seq)
		}
		params = append(params, seq)
	}
	return c.call(ctx, nil, "dhtput", params...)
}

// storable refuses the one type that passes as a parameter and is lost in the DHT. The encoder refuses the others.
func storable(value any) error {
	switch v := value.(type) {
	case bool:
		return fmt.Errorf("%w: a bool", ErrBadValue)
	case []any:
		for _, item := range v {
			if err := storable(item); err != nil {
				return err
			}
		}
	case map[string]any:
		for key, item := range v {
			if err := storable(item); err != nil {
				return fmt.Errorf("%s: %w", strings.ToValidUTF8(key, "?"), err)
			}
		}
	}
	return nil
}

// DHTGet asks the other nodes for a resource, for at most wait (ten seconds if zero). None is no error. What this daemon itself
// stores it does not look at: alone it finds nothing.
func (c *Client) DHTGet(ctx context.Context, user, resource string, kind Kind, wait time.Duration) ([]Entry, error) {
	params := []any{user, resource, string(kind)}
	if wait > 0 {
		params = append(params, wait.Milliseconds())
	}
	var wire []wireEntry
	if err := c.call(ctx, &wire, "dhtget", params...); err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(wire))
	for _, w := range wire {
		if w.P == nil {
			return nil, fmt.Errorf("dhtget: %w: an entry without p", ErrNotTwisterd)
		}
		entries = append(entries, Entry{Signer: w.Signer, Seq: w.P.Seq, Height: w.P.Height, Time: w.P.Time, Value: w.P.Value})
	}
	return entries, nil
}
