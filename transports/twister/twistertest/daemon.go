package twistertest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
)

// A Daemon is one simulated twisterd. It keeps its address over restarts.
type Daemon struct {
	name string
	net  *Network
	addr string // host:port, once it was started

	running  bool
	stopping bool // it was asked to, and has yet to answer that
	life     int  // counts starts, so that what was meant for an earlier life does nothing
	session  bool // the torrent session and the DHT exist
	loaded   bool // user data is read
	server   *server

	// On disk at once: what kill -9 leaves.
	wallet wallet
	groups map[string]*group // by alias
	height int
	held   bool  // blocks are kept from it
	public bool  // -public_server_mode
	advert int64 // when it last promoted a post
	never  map[pieceID]bool

	// In memory; what disk holds of it was saved.
	data     map[string]*userData // by local user
	torrents map[string]*torrent  // by author
	store    dhtStore
	disk     disk

	hashing map[pieceID]struct{} // pieces whose call was answered and that are not there yet
}

// wallet is the keys of a daemon: users by name, and what locks them.
type wallet struct {
	users      map[string]string
	order      []string
	passphrase string
	locked     bool
	until      int64
}

func newDaemon(n *Network, name string) *Daemon {
	return &Daemon{
		name: name, net: n, wallet: wallet{users: map[string]string{}}, groups: map[string]*group{},
		never: map[pieceID]bool{}, disk: disk{store: newStore()},
	}
}

// Name returns the name it was made with.
func (d *Daemon) Name() string { return d.name }

// URL returns where to call it, with user and password.
func (d *Daemon) URL() string {
	o := &d.net.opts
	return (&url.URL{Scheme: "http", User: url.UserPassword(o.User, o.Password), Host: d.Addr()}).String()
}

// Addr returns its host and port.
func (d *Daemon) Addr() string {
	d.net.mu.Lock()
	defer d.net.mu.Unlock()
	return d.addr
}

// Running reports whether it serves calls: it aborts when the same k is used twice at a time.
func (d *Daemon) Running() bool {
	d.net.mu.Lock()
	defer d.net.mu.Unlock()
	return d.running
}

// Ready reports whether it has warmed up: its session exists and its user data is read.
func (d *Daemon) Ready() bool {
	d.net.mu.Lock()
	defer d.net.mu.Unlock()
	return d.session && d.loaded
}

// Start starts a stopped daemon from what its disk holds. It is an error if it runs.
func (d *Daemon) Start() error {
	d.net.mu.Lock()
	defer d.net.mu.Unlock()
	return d.start()
}

// Stop ends it as its stop call does: everything is saved first.
func (d *Daemon) Stop() {
	d.net.mu.Lock()
	defer d.net.mu.Unlock()
	d.stop()
}

// Kill ends it as kill -9 does: what was not saved is lost.
func (d *Daemon) Kill() {
	d.net.mu.Lock()
	defer d.net.mu.Unlock()
	d.halt()
}

// Restart stops and starts it.
func (d *Daemon) Restart() error {
	d.Stop()
	return d.Start()
}

// Save writes user data, torrents and DHT to disk, as the daemon does every 15 minutes.
func (d *Daemon) Save() {
	d.net.mu.Lock()
	defer d.net.mu.Unlock()
	d.save()
}

// HoldBlocks keeps new blocks from it, or with false lets those that it missed arrive.
func (d *Daemon) HoldBlocks(held bool) {
	d.net.mu.Lock()
	defer d.net.mu.Unlock()
	d.held = held
	d.catchUp()
}

// SetPublicServer sets -public_server_mode, which refuses most calls.
func (d *Daemon) SetPublicServer(public bool) {
	d.net.mu.Lock()
	defer d.net.mu.Unlock()
	d.public = public
}

func (d *Daemon) start() error {
	if d.running {
		return fmt.Errorf("start twisterd %q: it runs already", d.name)
	}
	if d.net.closed {
		return errors.New("start twisterd: the network is closed")
	}
	address := d.addr
	if address == "" {
		address = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("start twisterd %q: %w", d.name, err)
	}
	d.addr = listener.Addr().String()
	d.running, d.stopping, d.life = true, false, d.life+1
	d.hashing = map[pieceID]struct{}{}
	d.data, d.torrents, d.store = map[string]*userData{}, map[string]*torrent{}, newStore()
	d.server = serve(d, listener)
	d.catchUp()
	warmUp := d.net.opts.Speed.WarmUp
	d.later(warmUp, d.openSession)
	d.later(warmUp+warmUp/8, d.load)
	d.saveEvery(d.net.opts.SaveEvery)
	return nil
}

// later runs f after wait unless this life of the daemon has ended.
func (d *Daemon) later(wait time.Duration, f func()) {
	life := d.life
	d.net.after(wait, func() {
		if d.running && d.life == life {
			f()
		}
	})
}

func (d *Daemon) saveEvery(interval time.Duration) {
	if interval <= 0 {
		return
	}
	d.later(interval, func() {
		d.save()
		d.saveEvery(interval)
	})
}

func (d *Daemon) openSession() { d.session = true }

// load reads user data and starts the torrents of all whom local users follow.
func (d *Daemon) load() {
	d.restore()
	d.loaded = true
	for _, name := range d.wanted() {
		d.torrent(name)
	}
	for _, peer := range d.net.sessions(d) {
		d.net.meet(d, peer)
	}
}

func (d *Daemon) stop() {
	if d.running {
		d.save()
		d.halt()
	}
}

func (d *Daemon) stopIfAsked() {
	d.net.mu.Lock()
	defer d.net.mu.Unlock()
	if d.stopping {
		d.stop()
	}
}

// halt ends everything at once. The goroutines of the server end in their own time; Close waits for them.
func (d *Daemon) halt() {
	if !d.running {
		return
	}
	d.running, d.session, d.loaded = false, false, false
	d.server.close()
	for _, peer := range d.net.daemons {
		peer.forgetPeer(d)
	}
}

// paused reports whether the session does not exist or has no peer of the block chain, so that torrents and DHT stand still.
func (d *Daemon) paused() bool {
	return !d.running || !d.session || len(d.net.peers(d)) == 0
}

// catchUp takes the blocks that there are.
func (d *Daemon) catchUp() {
	if d.running && !d.held {
		d.height = d.net.chain.height
	}
}

// lookup finds a user among the blocks that this daemon has.
func (d *Daemon) lookup(name string) (user, bool) {
	u, ok := d.net.chain.users[name]
	return u, ok && u.height <= d.height
}

// holds reports whether the wallet has a key; a user's counts only if the name was registered with it.
func (d *Daemon) holds(key string) bool {
	for _, have := range d.wallet.users {
		if have == key {
			return true
		}
	}
	for _, g := range d.groups {
		if g.key == key {
			return true
		}
	}
	return false
}

func (d *Daemon) isLocked() bool {
	w := &d.wallet
	return w.passphrase != "" && (w.locked || w.until <= d.net.now())
}

// secret returns hexadecimal that looks like a key or a signature and is the same for the same parts.
func secret(size int, parts ...any) string {
	var b strings.Builder
	for i := 0; b.Len() < 2*size; i++ {
		sum := sha256.Sum256(fmt.Append(nil, i, parts))
		b.WriteString(hex.EncodeToString(sum[:]))
	}
	return b.String()[:2*size]
}
