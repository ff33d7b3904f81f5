package twistertest

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// pieceID is one place in one author's torrent.
type pieceID struct {
	author string
	k      int
}

// torrent is what one daemon has of one author's posts.
type torrent struct {
	pieces map[int]*post
	broken map[string]time.Time // daemons whose connection broke, and until when
	size   int                  // of the bitfield
}

func newTorrent() *torrent {
	return &torrent{pieces: map[int]*post{}, broken: map[string]time.Time{}}
}

func (t *torrent) clone() *torrent {
	c := newTorrent()
	maps.Copy(c.pieces, t.pieces)
	c.size = t.size
	return c
}

// last returns the highest k here, -1 for none.
func (t *torrent) last() int {
	last := -1
	for k := range t.pieces {
		last = max(last, k)
	}
	return last
}

// lastPublic returns the highest k of a public post, -1 for none.
func (t *torrent) lastPublic() int {
	last := -1
	for k, p := range t.pieces {
		if p.dm == nil {
			last = max(last, k)
		}
	}
	return last
}

func (t *torrent) bitfield() string {
	bits := []byte(strings.Repeat("0", max(t.size, t.last()+2)))
	for k := range t.pieces {
		bits[k] = '1'
	}
	return string(bits)
}

// torrent returns the torrent of an author that this daemon runs, brought up from disk when it does not run yet.
func (d *Daemon) torrent(author string) *torrent {
	t, ok := d.torrents[author]
	if !ok {
		t = newTorrent()
		if saved, ok := d.disk.torrents[author]; ok {
			t = saved.clone()
		}
		d.torrents[author] = t
	}
	return t
}

// add takes a piece into a torrent that runs here. One that is there already is dropped without a word.
func (d *Daemon) add(p *post) {
	t := d.torrents[p.name]
	if _, ok := t.pieces[p.k]; ok {
		return
	}
	t.pieces[p.k] = p
	t.size = max(t.size, p.k+2)
	d.deliver(p, d.wallet.order...)
	for _, peer := range d.net.sessions(d) {
		d.net.offer(p, d, peer)
	}
}

// offer sends a piece from one daemon to another that wants it, unless it is lost on the way.
func (n *Network) offer(p *post, from, to *Daemon) {
	t, ok := to.torrents[p.name]
	if !ok || !to.joined(from, p.name) || t.pieces[p.k] != nil {
		return
	}
	if n.opts.Loss > 0 && n.rng.Float64() < n.opts.Loss {
		if n.opts.Forever {
			to.never[pieceID{p.name, p.k}] = true
		}
		to.later(n.opts.Speed.Reconnect, func() { n.exchangeTorrent(p.name, to, from) })
		return
	}
	n.transfer(p, from, to)
}

// transfer brings a piece over. A k that the receiver's chain does not allow breaks the connection of that torrent.
func (n *Network) transfer(p *post, from, to *Daemon) {
	to.later(n.jitter(), func() {
		if !to.joined(from, p.name) {
			return
		}
		if u, ok := to.lookup(p.name); !ok || p.k > u.ceiling(to.height) {
			to.breakOff(from, p.name)
			return
		}
		if !to.never[pieceID{p.name, p.k}] {
			to.add(p)
		}
	})
}

func (n *Network) jitter() time.Duration {
	if n.opts.Speed.Delay <= 0 {
		return 0
	}
	return time.Duration(float64(n.opts.Speed.Delay) * (0.5 + n.rng.Float64()))
}

// joined reports whether pieces of an author's torrent pass between two daemons.
func (d *Daemon) joined(other *Daemon, author string) bool {
	mine, theirs := d.torrents[author], other.torrents[author]
	if mine == nil || theirs == nil || d.paused() || other.paused() || d.net.cut[pair(d, other)] {
		return false
	}
	now := time.Now()
	return !now.Before(mine.broken[other.name]) && !now.Before(theirs.broken[d.name])
}

// breakOff ends the connection of one torrent to another daemon until Speed.Reconnect has passed.
func (d *Daemon) breakOff(other *Daemon, author string) {
	wait := d.net.opts.Speed.Reconnect
	d.torrents[author].broken[other.name] = time.Now().Add(wait)
	d.later(wait, func() { d.net.exchangeTorrent(author, d, other) })
}

func (d *Daemon) forgetPeer(other *Daemon) {
	for _, t := range d.torrents {
		delete(t.broken, other.name)
	}
}

// exchange brings all torrents of two daemons up to each other, over new connections.
func (n *Network) exchange(a, b *Daemon) {
	for _, author := range slices.Sorted(maps.Keys(a.torrents)) {
		if t, ok := b.torrents[author]; ok {
			delete(a.torrents[author].broken, b.name)
			delete(t.broken, a.name)
			n.exchangeTorrent(author, a, b)
		}
	}
}

func (n *Network) exchangeTorrent(author string, a, b *Daemon) {
	if !a.joined(b, author) {
		return
	}
	for _, way := range [][2]*Daemon{{a, b}, {b, a}} {
		from, to := way[0].torrents[author], way[1].torrents[author]
		for _, k := range slices.Sorted(maps.Keys(from.pieces)) {
			if to.pieces[k] == nil {
				n.transfer(from.pieces[k], way[0], way[1])
			}
		}
	}
}

// run starts an author's torrent and fetches what others have of it.
func (d *Daemon) run(author string) {
	if !d.session {
		return
	}
	if _, ok := d.torrents[author]; ok {
		return
	}
	d.torrent(author)
	for _, peer := range d.net.sessions(d) {
		d.net.exchangeTorrent(author, d, peer)
	}
}

// Missing reports whether this daemon runs the author's torrent and lacks the piece k.
func (d *Daemon) Missing(author string, k int) bool {
	d.net.mu.Lock()
	defer d.net.mu.Unlock()
	t, ok := d.torrents[author]
	return ok && t.pieces[k] == nil
}
