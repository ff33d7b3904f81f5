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
	speed := twistertest.RealSpeed()
	speed.WarmUp, speed.DHTDead, speed.Reconnect = 0, time.Second, time.Second
	network, err := twistertest.New(twistertest.Options{Speed: speed})
	if err != nil {
		return nil, err
	}
	s := &TwisterSimulation{network: network, urls: map[string]string{}}
	for _, user := range users {
		d, err := network.Daemon(user)
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

// URL returns the RPC address of the user's daemon, with its login.
func (s *TwisterSimulation) URL(user string) string { return s.urls[user] }

// Close ends the network.
func (s *TwisterSimulation) Close() { s.network.Close() }
