package matching

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
)

// Set is an immutable index of filters with their owners: it finds the owners of the filters that match a topic. The cost
// of a lookup grows with the levels of the topic and, where filters branch at "+", with the beginnings of filters that
// match it; not with the number of filters. Lookups may run concurrently. The zero Set is empty.
//
// It is a trie by level, laid out without pointers, so that a large one costs the garbage collector nothing.
type Set[O comparable] struct {
	labels map[string]uint32 // every level of every filter that is no wildcard, numbered
	edges  map[uint64]uint32 // edge(node, label) to the node below
	nodes  []node            // nodes[0] is the root; no other node leads to it, so 0 also stands for none
	held   []uint32          // indices into owners, node by node
	owners []O
	idle   sync.Pool // of *lookup
}

// node is a filter, or the beginning of one, up to and with some level.
type node struct {
	one, many uint32 // the nodes below by "+" and by "#"
	from, to  uint32 // held[from:to] own the filter that ends here
}

func edge(node, label uint32) uint64 { return uint64(node)<<32 | uint64(label) }

// NewSet returns the Set of filters. A filter may have many owners, an owner many filters, and pairs may repeat. It keeps
// the filters' strings. An error names the first filter that is not valid, see [ValidateFilter], and its owner.
func NewSet[O comparable](filters iter.Seq2[string, O]) (*Set[O], error) {
	set := &Set[O]{
		labels: make(map[string]uint32),
		edges:  make(map[uint64]uint32),
		nodes:  make([]node, 1),
	}
	ids := make(map[O]uint32)
	var ends []uint64 // node and owner of each filter
	for filter, owner := range filters {
		if err := ValidateFilter(filter); err != nil {
			return nil, fmt.Errorf("owner %v: %w", owner, err)
		}
		id, known := ids[owner]
		if !known {
			id = uint32(len(set.owners))
			ids[owner] = id
			set.owners = append(set.owners, owner)
		}
		ends = append(ends, uint64(set.insert(filter))<<32|uint64(id))
	}
	slices.Sort(ends)
	set.hold(slices.Compact(ends))
	return set, nil
}

// insert returns the node of filter, made if there is none yet.
func (s *Set[O]) insert(filter string) uint32 {
	at := uint32(0)
	for level := range strings.SplitSeq(filter, "/") {
		added := uint32(len(s.nodes))
		next := added
		switch level {
		case one:
			next = orElse(&s.nodes[at].one, added)
		case many:
			next = orElse(&s.nodes[at].many, added)
		default:
			label, known := s.labels[level]
			if !known {
				label = uint32(len(s.labels))
				s.labels[level] = label
			}
			if below, known := s.edges[edge(at, label)]; known {
				next = below
			} else {
				s.edges[edge(at, label)] = added
			}
		}
		if next == added {
			s.nodes = append(s.nodes, node{})
		}
		at = next
	}
	return at
}

// orElse returns *index, set to added if it was none.
func orElse(index *uint32, added uint32) uint32 {
	if *index == 0 {
		*index = added
	}
	return *index
}

// hold lays out the owners of each node; ends are pairs of a node and an owner, sorted, no two alike.
func (s *Set[O]) hold(ends []uint64) {
	s.held = make([]uint32, len(ends))
	for i, end := range ends {
		s.held[i] = uint32(end)
		n := &s.nodes[end>>32]
		if n.to == 0 {
			n.from = uint32(i)
		}
		n.to = uint32(i) + 1
	}
}

// AppendMatch appends to dst the owners of all filters that match topic, each once, in no particular order, and returns
// the extended slice. It does not allocate where dst has room.
func (s *Set[O]) AppendMatch(dst []O, topic string) []O {
	if len(s.held) == 0 {
		return dst
	}
	look, _ := s.idle.Get().(*lookup)
	if look == nil {
		look = &lookup{seen: make([]uint64, (len(s.owners)+63)/64)}
	}
	s.walk(look, topic)
	for _, id := range look.found {
		dst = append(dst, s.owners[id])
		look.seen[id/64] = 0
	}
	look.found = look.found[:0]
	s.idle.Put(look)
	return dst
}

// lookup is the working memory of one AppendMatch, kept for the next.
type lookup struct {
	at, next []uint32 // the nodes reached by the levels so far, and by one more
	found    []uint32 // indices of the owners found
	seen     []uint64 // a bit for each owner found; all 0 between lookups
}

// walk goes down the trie level by level and leaves the owners of the filters that match in look.found.
func (s *Set[O]) walk(look *lookup, topic string) {
	look.at = append(look.at[:0], 0)
	hidden := strings.HasPrefix(topic, "$") // from leading wildcards [MQTT-4.7.2-1]
	for more := true; more && len(look.at) > 0; hidden = false {
		var level string
		level, topic, more = strings.Cut(topic, "/")
		label, known := s.labels[level]
		look.next = look.next[:0]
		for _, at := range look.at {
			n := s.nodes[at]
			if !hidden {
				s.take(look, n.many)
				if n.one != 0 {
					look.next = append(look.next, n.one)
				}
			}
			if !known {
				continue
			}
			if below, known := s.edges[edge(at, label)]; known {
				look.next = append(look.next, below)
			}
		}
		look.at, look.next = look.next, look.at
	}
	for _, at := range look.at {
		s.take(look, at)
		s.take(look, s.nodes[at].many) // "a/#" matches "a" as well [MQTT-4.7.1-2]
	}
}

// take adds the owners of a node to what was found. The root, which stands for no node, has none.
func (s *Set[O]) take(look *lookup, at uint32) {
	for _, id := range s.held[s.nodes[at].from:s.nodes[at].to] {
		word, bit := &look.seen[id/64], uint64(1)<<(id%64)
		if *word&bit == 0 {
			*word |= bit
			look.found = append(look.found, id)
		}
	}
}
