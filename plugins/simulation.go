package plugins

import (
	"fmt"
	"time"

	"github.com/weft-relay/weft/transports/twister/twistertest"
)

// TwisterSimulation is a network of twisterd daemons inside this process, one for each user: to show and to measure the Twister
// transport where there is no daemon.
type TwisterSimulation struct {
	network *twistertest.Network
	urls    map[string]string
}

// plenty is how many blocks follow the users' registration, each of which allows two posts.
const plenty = 1_000_000

// SimulateTwister starts a simulated network with these users, registered, and with posts to spend. Calls take as long as those of real
// daemons were measured to; only daemons that start, and that miss each other, are quick.
func SimulateTwister(users ...string) (*TwisterSimulation, error) {
	network, err := twistertest.New(twistertest.Options{Speed: twistertest.WarmSpeed()})
	if err != nil {
		return nil, err
	}
	s := &TwisterSimulation{network: network, urls: map[string]string{}}
	for _, user := range users {
		d, err := network.Daemon(user)
		if err == nil {
			err = awaitReady(d)
		}
		if err == nil {
			err = d.Register(user)
		}
		if err != nil {
			network.Close()
			return nil, fmt.Errorf("simulated user %s: %w", user, err)
		}
		s.urls[user] = d.URL()
	}
	network.Mine(plenty)
	return s, nil
}

// readyWithin is far more than the daemons of a simulation take to start.
const readyWithin = 30 * time.Second

// awaitReady waits until a daemon has started: a node that sees one starting gives it as long as a real one takes to read what it holds.
func awaitReady(d *twistertest.Daemon) error {
	for end := time.Now().Add(readyWithin); !d.Ready(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("the daemon is not ready after %v", readyWithin)
		}
	}
	return nil
}

// URL returns the RPC address of the user's daemon, with its login.
func (s *TwisterSimulation) URL(user string) string { return s.urls[user] }

// Close ends the network.
func (s *TwisterSimulation) Close() { s.network.Close() }
