package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/rpc"
	"github.com/weft-relay/weft/transports/twister/twistertest"
)

// twisterNet is the Twister network of one test: daemons simulated in this process, or the real ones that the environment names.
type twisterNet struct {
	t     *testing.T
	scope string                  // before every topic: real daemons keep what earlier tests have sent, and the nodes read it
	users map[string]*twisterUser // by site
	real  bool
	// resendAfter is how long nodes wait for a receipt at first.
	resendAfter string

	sim     *twistertest.Network           // nil where the daemons are real
	daemons map[string]*twistertest.Daemon // of the simulation, by site
}

// twisterUser is a user and a client of the daemon that has his key.
type twisterUser struct {
	*rpc.Client
	name, url string
}

// boxes says which daemon each site has.
type boxes map[string]string

var (
	oneBox     = boxes{"alice": "a", "bob": "a"}
	twoBoxes   = boxes{"alice": "a", "bob": "b"}
	threeBoxes = boxes{"alice": "a", "bob": "b", "carol": "c"}
)

// twisterdVariables are where the environment gives each site's daemon and user, as http://USER:PASSWORD@HOST:PORT/TWISTER_USER.
var twisterdVariables = map[string]string{"alice": "WEFT_TWISTERD_A", "bob": "WEFT_TWISTERD_B", "carol": "WEFT_TWISTERD_C"}

// realTwisterds is held by the one test that uses the real daemons: a user is posted as by one node alone. A node with a fresh data
// folder begins an epoch by the clock, in twos of seconds (transports/twister/epoch.go), and each test has fresh ones.
var realTwisterds struct {
	sync.Mutex
	left time.Time // by the last test
}

func hasRealTwisterds() bool { return os.Getenv("WEFT_TWISTERD_A") != "" }

// newTwister returns the real network where the environment has one, and else one simulated as the options say, at the speed of real
// daemons if they name none.
func newTwister(t *testing.T, at boxes, opts twistertest.Options) *twisterNet {
	t.Helper()
	if !hasRealTwisterds() {
		return simulateTwister(t, at, opts)
	}
	n := &twisterNet{t: t, users: map[string]*twisterUser{}, real: true}
	n.resendAfter = "70s" // a connection that broke comes back after a minute, and posts are scarce
	n.useReal(at)
	t.Cleanup(n.countPosts())
	return n
}

// newSimulatedTwister is for a test that needs what only the simulation can do.
func newSimulatedTwister(t *testing.T, at boxes, opts twistertest.Options, needs string) *twisterNet {
	t.Helper()
	if hasRealTwisterds() {
		t.Skip("needs simulated daemons, and the environment names real ones: " + needs)
	}
	return simulateTwister(t, at, opts)
}

// simulateTwister returns a simulated network, whatever the environment has. Each site's user is mqtt_SITE, registered, and with posts
// to spend.
func simulateTwister(t *testing.T, at boxes, opts twistertest.Options) *twisterNet {
	t.Helper()
	if opts.Speed == (twistertest.Speed{}) {
		opts.Speed = twistertest.WarmSpeed()
	}
	sim, err := twistertest.New(opts)
	require.NoError(t, err)
	t.Cleanup(sim.Close)
	_, err = sim.Daemon("world") // a daemon that is alone finds nothing in the DHT, not even what it has put there
	require.NoError(t, err)
	n := &twisterNet{t: t, users: map[string]*twisterUser{}, sim: sim, resendAfter: "2s", daemons: map[string]*twistertest.Daemon{}}
	for site, box := range at {
		d, err := sim.Daemon(box)
		require.NoError(t, err)
		require.NoError(t, d.Register("mqtt_"+site))
		n.daemons[site], n.users[site] = d, newTwisterUser(t, "mqtt_"+site, d.URL())
	}
	sim.Mine(50_000) // each block allows two posts
	for _, d := range n.daemons {
		eventually(t, 10*time.Second, func() error {
			if !d.Ready() {
				return errors.New("a simulated daemon is not ready")
			}
			return nil
		})
	}
	t.Cleanup(n.countPosts())
	return n
}

// useReal takes the daemons that the environment names, for this test alone.
func (n *twisterNet) useReal(at boxes) {
	n.t.Helper()
	hosts := map[string]string{}
	for site, box := range at {
		variable := twisterdVariables[site]
		raw := os.Getenv(variable)
		if raw == "" {
			n.t.Skipf("needs a user for %s: set %s", site, variable)
		}
		address, user, err := parseTwisterd(raw)
		require.NoError(n.t, err, variable)
		n.users[site] = newTwisterUser(n.t, user, address)
		host := n.users[site].URL()
		if other, ok := hosts[box]; ok && other != host {
			n.t.Skipf("needs users of one daemon: %s and %s are two", other, host)
		}
		hosts[box] = host
	}
	if different := slices.Compact(slices.Sorted(maps.Values(hosts))); len(different) < len(hosts) {
		n.t.Skipf("needs %d daemons: there are %d", len(hosts), len(different))
	}
	realTwisterds.Lock()
	n.t.Cleanup(func() {
		realTwisterds.left = time.Now()
		realTwisterds.Unlock()
	})
	eventually(n.t, 4*time.Second, func() error {
		if time.Now().Unix() < realTwisterds.left.Unix()+2 {
			return errors.New("nodes would begin the epochs of the last test's")
		}
		return nil
	})
	n.scope = fmt.Sprintf("weft-%x/", time.Now().UnixMilli())
	for site, user := range n.users {
		_, err := user.UserID(n.t.Context(), user.name)
		require.NoError(n.t, err, "%s: user %s of %s", twisterdVariables[site], user.name, user.URL())
		wallet, err := user.WalletUsers(n.t.Context())
		require.NoError(n.t, err)
		require.Contains(n.t, wallet, user.name, "%s: the wallet of %s lacks the user's key", twisterdVariables[site], user.URL())
	}
}

// parseTwisterd splits http://USER:PASSWORD@HOST:PORT/TWISTER_USER into address and Twister user. It never shows the password.
func parseTwisterd(raw string) (address, user string, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", "", errors.New("malformed: want http://USER:PASSWORD@HOST:PORT/TWISTER_USER")
	}
	user = strings.Trim(u.Path, "/")
	if !rpc.ValidName(user) {
		return "", "", fmt.Errorf("Twister user %q: want http://USER:PASSWORD@HOST:PORT/TWISTER_USER", user)
	}
	u.Path = ""
	_, err = rpc.New(rpc.Config{URL: u.String()})
	return u.String(), user, err
}

func newTwisterUser(t *testing.T, name, address string) *twisterUser {
	t.Helper()
	client, err := rpc.New(rpc.Config{URL: address})
	require.NoError(t, err)
	return &twisterUser{client, name, address}
}

// nextK returns the first k that no post of the user has. No node may post as him meanwhile.
func (u *twisterUser) nextK(t *testing.T) int {
	t.Helper()
	last, err := u.LastHave(t.Context(), u.name, u.name)
	require.NoError(t, err)
	return last[u.name] + 1
}

// countPosts counts from now on what each user posts, until the test ends.
func (n *twisterNet) countPosts() (end func()) {
	count := func() map[string]int {
		posts := map[string]int{}
		for _, u := range n.users {
			last, _ := u.LastHave(context.Background(), u.name, u.name) // the test's context has ended; what is unknown is 0
			posts[u.name] = last[u.name]
		}
		return posts
	}
	before := count()
	return func() {
		for user, k := range count() {
			n.t.Logf("%s has posted %d times", user, k-before[user])
		}
	}
}

// topic returns the topic or filter as this test has it.
func (n *twisterNet) topic(topic string) string { return n.scope + topic }

// sites makes a site for each name, none started, with Twister alone and all others as peers, without keys. It is quick enough for a
// test; everything goes out directly, and nothing is asked for.
func (n *twisterNet) sites(names ...string) []*site {
	n.t.Helper()
	m := newMesh(n.t, names)
	for _, s := range m.sites {
		peers := list{}
		for _, other := range m.peers(s) {
			peers = append(peers, object{"name": other.name, "at": object{"bird": n.users[other.name].name}})
		}
		user := n.users[s.name]
		bird := object{
			"type": "twister", "url": user.url, "user": user.name, "poll": "50ms", "profile_poll": "200ms", "receipt_delay": "50ms",
			"resend_after": n.resendAfter,
		}
		s.node.config["peers"], s.node.config["subscribe"] = peers, list{}
		s.node.config["transports"] = object{"bird": bird}
		s.node.config["routes"] = list{object{"name": "all", "match": list{"#"}, "to": "bird", "qos": 2}}
	}
	return m.sites
}

// bird returns the configuration of a site's transport.
func bird(s *site) object { return s.node.config["transports"].(object)["bird"].(object) }

// start starts the sites and waits until their daemons are joined, and each knows what the others want.
func (n *twisterNet) start(sites ...*site) {
	n.t.Helper()
	for _, s := range sites {
		s.broker.start()
		s.node.start()
	}
	for _, s := range sites {
		s.node.await(3*time.Minute, func(status pipeline.Status) error { // a real daemon may have to get back what it had
			return state("twister at "+s.name, status.Transports["bird"], transports.Up)
		})
	}
	for _, s := range sites {
		for _, other := range sites {
			if filters := wishes(other.node); other != s && len(filters) > 0 {
				s.node.awaitWishes(other.name, filters...)
			}
		}
	}
}
