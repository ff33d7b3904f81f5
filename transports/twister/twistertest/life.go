package twistertest

import (
	"errors"
	"fmt"
	"net"
	"time"
)

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
