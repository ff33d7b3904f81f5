package twistertest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// A Network is a block chain and the daemons that know each other. All its methods, and those of its daemons, may be called
// concurrently, and before or after Close.
type Network struct {
	opts Options

	mu      sync.Mutex // guards all that follows, and every daemon's state
	closed  bool
	rng     *rand.Rand
	chain   chain
	daemons []*Daemon          // in the order they were added
	cut     map[[2]string]bool // pairs that do not reach each other
	timers  map[*time.Timer]struct{}
	wg      sync.WaitGroup // timers that run, and what each daemon serves
}

// New returns a network without daemons. Close it after use.
func New(opts Options) (*Network, error) {
	if err := opts.validate(); err != nil {
		return nil, fmt.Errorf("simulated twister network: %w", err)
	}
	opts.setDefaults()
	n := &Network{
		opts: opts, rng: rand.New(rand.NewPCG(opts.Seed, opts.Seed)), chain: newChain(),
		cut: map[[2]string]bool{}, timers: map[*time.Timer]struct{}{},
	}
	if opts.BlockEvery > 0 {
		n.mu.Lock()
		n.mineEvery(opts.BlockEvery)
		n.mu.Unlock()
	}
	return n, nil
}

// Close kills all daemons and waits until nothing of the network runs.
func (n *Network) Close() {
	n.mu.Lock()
	n.closed = true
	for timer := range n.timers {
		if timer.Stop() {
			n.wg.Done()
		}
	}
	clear(n.timers)
	for _, d := range n.daemons {
		d.halt()
	}
	n.mu.Unlock()
	n.wg.Wait()
}

// Daemon returns the daemon of that name; it is added and started when there is none.
func (n *Network) Daemon(name string) (*Daemon, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range n.daemons {
		if d.name == name {
			return d, nil
		}
	}
	d := newDaemon(n, name)
	if err := d.start(); err != nil {
		return nil, err
	}
	n.daemons = append(n.daemons, d)
	return d, nil
}

// Mine adds blocks to the chain. Waiting registrations are in the first of them.
func (n *Network) Mine(blocks int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mine(blocks)
}

func (n *Network) mine(blocks int) {
	for range blocks {
		n.chain.mine()
	}
	for _, d := range n.daemons {
		d.catchUp()
	}
}

func (n *Network) mineEvery(d time.Duration) {
	n.after(d, func() {
		n.mine(1)
		n.mineEvery(d)
	})
}

// Height returns the height of the chain.
func (n *Network) Height() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.chain.height
}

// Partition keeps two daemons from reaching each other until Heal. Both go on receiving blocks.
func (n *Network) Partition(a, b *Daemon) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[pair(a, b)] = true
}

// Heal lets two daemons reach each other again. What either missed arrives.
func (n *Network) Heal(a, b *Daemon) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.cut, pair(a, b))
	n.meet(a, b)
}

// SetLoss changes Options.Loss and Options.Forever.
func (n *Network) SetLoss(loss float64, forever bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.opts.Loss, n.opts.Forever = loss, forever
}

func pair(a, b *Daemon) [2]string {
	return [2]string{min(a.name, b.name), max(a.name, b.name)}
}

// peers returns the other daemons that d reaches, session or not.
func (n *Network) peers(d *Daemon) []*Daemon {
	var peers []*Daemon
	for _, other := range n.daemons {
		if other != d && other.running && d.running && !n.cut[pair(d, other)] {
			peers = append(peers, other)
		}
	}
	return peers
}

// sessions returns those of the peers whose torrent sessions and DHT work, as d's own does.
func (n *Network) sessions(d *Daemon) []*Daemon {
	var peers []*Daemon
	if d.paused() {
		return nil
	}
	for _, other := range n.peers(d) {
		if !other.paused() {
			peers = append(peers, other)
		}
	}
	return peers
}

// meet is what happens when two daemons connect: they exchange what one has and the other lacks.
func (n *Network) meet(a, b *Daemon) {
	for _, peer := range n.sessions(a) {
		if peer == b {
			a.store.refresh(b)
			b.store.refresh(a)
			n.exchange(a, b)
		}
	}
}

// after runs f under the lock once d has passed, or at once if d is not positive. It does nothing once the network is closed.
func (n *Network) after(d time.Duration, f func()) {
	if d <= 0 {
		f()
		return
	}
	if n.closed {
		return
	}
	var timer *time.Timer
	n.wg.Add(1)
	timer = time.AfterFunc(d, func() {
		defer n.wg.Done()
		n.mu.Lock()
		defer n.mu.Unlock()
		if _, ok := n.timers[timer]; ok {
			delete(n.timers, timer)
			f()
		}
	})
	n.timers[timer] = struct{}{}
}

func (n *Network) now() int64 { return n.opts.Now().Unix() }
