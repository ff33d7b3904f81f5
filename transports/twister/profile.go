package twister

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/rpc"
)

// A user's profile is one value in the DHT, signed by him: an object with what he tells of himself, and with the filters of what he
// wants, which stand under a key of their own.

const (
	resourceProfile = "profile"

	// maxProfile is the most bytes of a bencoded DHT entry that other nodes take (contract, section 4).
	maxProfile = 8192
	// maxWishes bounds how many filters of a peer are looked at; as many of one letter do not fit a profile.
	maxWishes = maxProfile / 3
)

// profile is the value of the resource of a user, as it was read or put last.
type profile struct {
	Seq   int             `json:"seq"`
	Value json.RawMessage `json:"value"`
	// Blind says that it was put without knowing whether there is one.
	Blind bool `json:"blind,omitempty"`
}

func newProfile(seq int, value any) (profile, error) {
	text, err := json.Marshal(value)
	return profile{Seq: seq, Value: text}, err
}

// fields returns the value as DHTPut takes it; what is no object has none.
func (p *profile) fields() map[string]any {
	if p == nil {
		return map[string]any{}
	}
	decoder := json.NewDecoder(bytes.NewReader(p.Value))
	decoder.UseNumber()
	var fields map[string]any
	if decoder.Decode(&fields) != nil || fields == nil {
		return map[string]any{}
	}
	return fields
}

// with returns the fields with the filters among them. All else stays.
func (p *profile) with(field string, filters []string) map[string]any {
	fields := p.fields()
	list := make([]any, len(filters))
	for i, filter := range filters {
		list[i] = filter
	}
	fields[field] = list
	return fields
}

// newest returns the entry of the user with the greatest seq.
func newest(entries []rpc.Entry, user string) (rpc.Entry, bool) {
	best, found := rpc.Entry{Seq: -1}, false
	for _, e := range entries {
		if e.Signer == user && e.Seq > best.Seq {
			best, found = e, true
		}
	}
	return best, found
}

// wishesIn returns the filters that stand under a field of a profile, each once, and how many things there were left out: what is no
// text, and what exceeds a profile's size, which only a node with a code of its own hands out. One string is one filter. Filters is
// nil where the field says nothing, and empty where it lists none.
func wishesIn(value any, field string) (filters []string, dropped int) {
	fields, ok := value.(map[string]any)
	if !ok {
		return nil, 1
	}
	var list []any
	switch v := fields[field].(type) {
	case nil:
		return nil, 0
	case string:
		list = append(list, v)
	case []any:
		list = v
	default:
		return nil, 1
	}
	filters = []string{}
	seen, size := map[string]bool{}, 0
	for i, item := range list {
		filter, ok := item.(string)
		if !ok {
			dropped++
			continue
		}
		if seen[filter] {
			continue
		}
		size += len(filter)
		if size > maxProfile || len(filters) >= maxWishes {
			return filters, dropped + len(list) - i
		}
		seen[filter] = true
		filters = append(filters, filter)
	}
	return filters, dropped
}

// fits returns an error that no retry cures if a profile with these fields is too large for the DHT, or cannot be text.
func fits(user, field string, fields map[string]any) error {
	entry := map[string]any{
		"height": math.MaxInt32, "seq": math.MaxInt32, "time": math.MaxInt32, "v": fields,
		"target": map[string]any{"n": user, "r": resourceProfile, "t": string(rpc.Single)},
	}
	size := bencodeLen(entry)
	filters, _ := fields[field].([]any)
	if size > maxProfile {
		return transports.Permanent(fmt.Errorf("filters of %d bytes make a profile of %d; a Twister profile takes %d: subscribe to fewer, wider filters, or shorten what else stands in it",
			bencodeLen(filters), size, maxProfile))
	}
	for _, filter := range filters {
		if text, ok := filter.(string); !ok || !utf8.ValidString(text) {
			return transports.Permanent(fmt.Errorf("filter %q: %w", filter, rpc.ErrInvalidText))
		}
	}
	return nil
}

// bencodeLen returns how long a value is in bencoding, as the DHT measures it.
func bencodeLen(value any) int {
	switch v := value.(type) {
	case string:
		return len(strconv.Itoa(len(v))) + 1 + len(v)
	case int:
		return len(strconv.Itoa(v)) + 2
	case json.Number:
		return len(v) + 2
	case []any:
		n := 2
		for _, item := range v {
			n += bencodeLen(item)
		}
		return n
	case map[string]any:
		n := 2
		for key, item := range v {
			n += bencodeLen(key) + bencodeLen(item)
		}
		return n
	}
	return 0 // what DHTPut refuses
}

// next returns the profile that is put after p with these fields. Its seq is the one after: if there is a newer profile that was not
// read, it stays, and is found. For the same reason a first one has seq 0, which replaces nothing, and the same fields go with the same
// seq however often they are put: only nodes that have lost them take them.
func (p *profile) next(fields map[string]any) (profile, error) {
	if p == nil || p.Blind {
		first, err := newProfile(0, fields)
		first.Blind = true
		return first, err
	}
	again, err := newProfile(p.Seq, fields)
	if err == nil && bytes.Equal(again.Value, p.Value) {
		return again, nil
	}
	if p.Seq == math.MaxInt32 {
		return profile{}, transports.Permanent(errSeqSpent)
	}
	return newProfile(p.Seq+1, fields)
}

var errSeqSpent = errors.New("profile has the highest seq there is, and cannot be replaced any more: use another user")
