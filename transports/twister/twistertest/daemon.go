package twistertest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
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

	fault   func(method string) Fault
	busy    time.Time            // until when calls that sign keep it busy
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
