package twistertest

import (
	"regexp"
	"slices"
	"strings"
)

const (
	maxSingle   = 8192 // bytes of a bencoded p
	maxMulti    = 768
	maxResource = 32
	maxValues   = 32 // of a multi resource

	expiry     = 2016 // blocks
	postExpiry = 8640
)

// kept are the resources that do not expire.
var kept = regexp.MustCompile(`^(avatar|profile|status|following(\d|[1-9]\d|1\d\d|200))$`)

type dhtKey struct{ name, resource, kind string }

// entry is one value with its signer. It never changes.
type entry struct {
	p      map[string]any
	sig    string
	signer string
}

func (e *entry) int(name string) int64 {
	n, _ := e.p[name].(int64)
	return n
}

func (e *entry) object() map[string]any {
	return map[string]any{"p": e.p, "sig_p": e.sig, "sig_user": e.signer}
}

// dhtStore is what one node stores. stuck are resources that it dropped as expired and cannot store until it is started anew.
type dhtStore struct {
	entries map[dhtKey][]*entry
	stuck   map[dhtKey]bool
}

func newStore() dhtStore {
	return dhtStore{entries: map[dhtKey][]*entry{}, stuck: map[dhtKey]bool{}}
}

func (s dhtStore) clone() dhtStore {
	c := newStore()
	for key, list := range s.entries {
		c.entries[key] = slices.Clone(list)
	}
	return c
}

// reload is what a node has after a start at a height: all but what has expired.
func (s dhtStore) reload(height int) dhtStore {
	c := s.clone()
	for key, list := range c.entries {
		c.entries[key] = slices.DeleteFunc(list, func(e *entry) bool { return key.expired(e, height) })
		if len(c.entries[key]) == 0 {
			delete(c.entries, key)
			c.stuck[key] = key.kind == "s"
		}
	}
	return c
}

func (k dhtKey) expired(e *entry, height int) bool {
	age := int64(height) - e.int("height")
	switch {
	case k.kind == "s" && kept.MatchString(k.resource):
		return false
	case strings.HasPrefix(k.resource, "post"):
		return age > postExpiry
	}
	return age > expiry
}

// put stores an entry as the node that made it does: of any size.
func (s dhtStore) put(key dhtKey, e *entry) {
	list := s.entries[key]
	switch {
	case s.stuck[key]:
	case key.kind == "s":
		if seq := e.int("seq"); seq >= 0 && (len(list) == 0 || seq > list[0].int("seq")) {
			s.entries[key] = []*entry{e}
		}
	case !slices.ContainsFunc(list, func(have *entry) bool { return sameValue(have, e) }):
		list = slices.Insert(list, 0, e)
		s.entries[key] = list[:min(len(list), maxValues)]
	}
}

// receive stores what another node sends, if it keeps to the limits.
func (s dhtStore) receive(key dhtKey, e *entry) {
	limit := maxSingle
	if key.kind == "m" {
		limit = maxMulti
	}
	if len(key.resource) <= maxResource && bencodeLen(e.p) <= limit && (key.kind == "s" || key.kind == "m") {
		s.put(key, e)
	}
}

func sameValue(a, b *entry) bool {
	return a.signer == b.signer && string(appendJSON(nil, a.p["v"])) == string(appendJSON(nil, b.p["v"]))
}

// refresh sends all that is stored to another node, oldest first.
func (s dhtStore) refresh(to *Daemon) {
	for key, list := range s.entries {
		for _, e := range slices.Backward(list) {
			to.store.receive(key, e)
		}
	}
}

// dhtPut signs a value and stores it here and at all other nodes.
func (d *Daemon) dhtPut(key dhtKey, value any, signer string, seq int64) {
	if !d.session {
		return
	}
	target := map[string]any{"n": key.name, "r": key.resource, "t": key.kind}
	p := map[string]any{"height": int64(d.height - 1), "target": target, "time": d.net.now(), "v": value}
	if key.kind != "m" {
		p["seq"] = seq
	}
	e := &entry{p: p, signer: signer, sig: "20" + secret(sigSize-1, signer, d.net.rng.Uint64())}
	d.store.put(key, e)
	for _, peer := range d.net.sessions(d) {
		peer.store.receive(key, e)
	}
}

// dhtGet asks all other nodes, never the own store.
func (d *Daemon) dhtGet(key dhtKey) []any {
	found := newStore()
	for _, peer := range d.net.sessions(d) {
		for _, e := range slices.Backward(peer.store.entries[key]) {
			found.put(key, e)
		}
	}
	result := []any{}
	for _, e := range found.entries[key] {
		result = append(result, e.object())
	}
	return result
}

// announce puts a public post into the DHT, as newpostmsg does even for a k that was used.
func (d *Daemon) announce(p *post, k string) {
	status := int64(p.k)
	d.dhtPut(dhtKey{p.name, "post" + k, "s"}, p.object(), p.name, 1)
	d.dhtPut(dhtKey{p.name, "status", "s"}, p.object(), p.name, status)
	msg, _ := p.json["msg"].(string)
	for _, name := range words(msg, "@") {
		d.dhtPut(dhtKey{name, "mention", "m"}, p.object(), p.name, 0)
	}
	for _, tag := range words(msg, "#") {
		d.dhtPut(dhtKey{tag, "hashtag", "m"}, p.object(), p.name, 0)
	}
}

var word = regexp.MustCompile(`([@#])([A-Za-z0-9_]+)`)

// words returns what follows a mark in a text, in lower case.
func words(text, mark string) []string {
	var found []string
	for _, match := range word.FindAllStringSubmatch(text, -1) {
		if match[1] == mark {
			found = append(found, strings.ToLower(match[2]))
		}
	}
	return found
}
