package twister

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/rpc"
	"github.com/weft-relay/weft/transports/twister/twistertest"
)

func TestNewUserIsRegisteredAndWaitsForTwoBlocks(t *testing.T) {
	n := newNetwork(t, twistertest.Options{})
	at := newTwisterd(t, n, "a")
	newTwisterd(t, n, "b")
	c := testConfig(t, at, alice)
	c.Register = true
	w := watch(t, at, c)
	w.says(t, transports.Stalled, "not confirmed")
	n.Mine(1)
	eventually(t, "one more block is waited for", func() bool { return w.log.count("waiting for one more block") == 1 })
	w.says(t, transports.Stalled, "not confirmed")
	n.Mine(1)
	w.ready(t)
	_, err := w.client.PublicPost(t.Context(), alice, 0, "x")
	require.NoError(t, err, "the session begins when the user can post")
	require.Equal(t, []string{alice}, following(t, at, alice))
	for _, line := range []string{"checking user", "making a key", "registering the user", "waiting for a block", "twisterd is ready"} {
		require.Equal(t, 1, w.log.count(line), "%s:\n%s", line, w.log)
	}
}

func TestHeightOfTheRegistrationIsTold(t *testing.T) {
	n := newNetwork(t, twistertest.Options{})
	n.Mine(41)
	at := newTwisterd(t, n, "a")
	newTwisterd(t, n, "b")
	c := testConfig(t, at, alice)
	c.Register = true
	told := make(chan int, 1)
	w := watch(t, at, c, func(d *daemon) { d.registered = func(height int) { told <- height } })
	w.says(t, transports.Stalled, "not confirmed")
	n.Mine(1)
	require.Equal(t, 42, <-told)
}

func TestWhatIsNoTwisterdIsNamed(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>hello</html>") }))
	defer page.Close()
	_, at, _ := twoTwisterds(t)
	c := testConfig(t, at, alice)
	c.URL = strings.Replace(page.URL, "http://", "http://user:secret@", 1)
	w := watch(t, at, c)
	w.says(t, transports.Connecting, "look at host and port")
	require.NotContains(t, w.log.String(), "secret")
	w.stop()
}

// A port of something else, which hangs up on HTTP.
func TestWhyNothingAnswersIsNamed(t *testing.T) {
	_, at, _ := twoTwisterds(t)
	other, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := other.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		require.NoError(t, other.Close())
		<-done
	})
	for url, detail := range map[string]string{
		"http://user:secret@" + other.Addr().String(): other.Addr().String() + "/: what listens there gives no answer",
		"http://user:secret@127.0.0.1:1":              "connection refused",
		"http://user:secret@host.invalid:28332":       "no such host",
	} {
		c := testConfig(t, at, alice)
		c.URL = url
		w := watch(t, at, c)
		w.says(t, transports.Connecting, detail)
		w.stop()
		require.NotContains(t, w.log.String(), "secret")
	}
}

// Somebody else has the name, in a block that the daemon has yet to fetch. A key of that name would stay in its wallet for good, and sign
// what nobody takes.
func TestNoKeyIsMadeBeforeTheDaemonHasAllBlocks(t *testing.T) {
	n := newNetwork(t, twistertest.Options{})
	at, other := newTwisterd(t, n, "a"), newTwisterd(t, n, "b")
	at.HoldBlocks(true)
	require.NoError(t, other.Register(alice))
	c := testConfig(t, at, alice)
	c.Register = true
	n.Partition(at, other)
	w := watch(t, at, c, func(d *daemon) { d.pace.quiet = time.Hour })
	w.says(t, transports.Connecting, "no peer of the block chain")
	n.Heal(at, other)
	w.says(t, transports.Connecting, "it may know the name yet")
	n.Mine(10)
	at.HoldBlocks(false)
	w.says(t, transports.Stalled, "not in the daemon's wallet")
	names, err := w.client.WalletUsers(t.Context())
	require.NoError(t, err)
	require.Empty(t, names)
}

// All ten threads of the daemon may be taken by connections of other programs.
func TestDaemonThatGivesNoAnswerIsNamed(t *testing.T) {
	_, at, _ := twoTwisterds(t)
	client, err := rpc.New(rpc.Config{URL: at.URL(), Timeout: 200 * time.Millisecond})
	require.NoError(t, err)
	w := watch(t, at, testConfig(t, at, alice), func(d *daemon) { d.client = client })
	w.ready(t)
	at.SetFault(func(string) twistertest.Fault { return twistertest.Hang })
	w.says(t, transports.Connecting, "gives no answer")
	at.SetFault(nil)
	w.ready(t)
	require.Equal(t, 1, w.log.count("gives no answer"), "%s", w.log)
}

// A transaction that waits for a block is not kept over a restart of the daemon.
func TestRegistrationSurvivesTheDaemon(t *testing.T) {
	n := newNetwork(t, twistertest.Options{})
	at := newTwisterd(t, n, "a")
	newTwisterd(t, n, "b")
	c := testConfig(t, at, alice)
	c.Register = true
	w := watch(t, at, c)
	w.says(t, transports.Stalled, "not confirmed")
	at.Kill()
	w.says(t, transports.Connecting, "no twisterd answers")
	require.NoError(t, at.Start())
	w.says(t, transports.Stalled, "not confirmed")
	n.Mine(1)
	eventually(t, "the block is noticed", func() bool { return w.log.count("one more block") == 1 })
	n.Mine(1)
	w.ready(t)
}

func TestWhatKeepsAUserFromSendingIsNamed(t *testing.T) {
	_, atAlice, atBob := twoTwisterds(t)
	unconfirmed := testConfig(t, atBob, "carol")
	client := newClient(t, atBob)
	require.NoError(t, client.CreateWalletUser(t.Context(), "carol"))
	wrong := testConfig(t, atAlice, alice)
	wrong.URL = strings.Replace(wrong.URL, ":pwd@", ":other@", 1)
	for _, tt := range []struct {
		config Config
		state  transports.State
		detail string
	}{
		{testConfig(t, atAlice, "mallory"), transports.Stalled, "register: true"},
		{testConfig(t, atAlice, bob), transports.Stalled, "not in the daemon's wallet"},
		{unconfirmed, transports.Stalled, "not confirmed"},
		{wrong, transports.Connecting, "rpcuser and rpcpassword"},
	} {
		w := watch(t, atAlice, tt.config)
		w.says(t, tt.state, tt.detail)
		w.stop()
		require.Equal(t, 1, w.log.count("level=WARN"), "%s", w.log)
		require.NotContains(t, w.log.String(), "other")
	}
}

func TestAbsentDaemonIsLoggedOnceAndFoundWhenItComes(t *testing.T) {
	_, at, _ := twoTwisterds(t)
	at.Stop()
	w := watch(t, at, testConfig(t, at, alice))
	looks := 0
	eventually(t, "it is looked for", func() bool { w.suspect(); looks++; return looks > 20 && w.status.report().Detail != "" })
	require.Equal(t, 1, w.log.count("no twisterd answers"))
	require.Contains(t, w.log.String(), at.Addr())
	require.NoError(t, at.Start())
	w.ready(t)
	require.Equal(t, 0, int(w.status.report().Reconnects))
}

func TestPeersAreFollowedAndAgainAfterAKill(t *testing.T) {
	_, atAlice, _ := twoTwisterds(t)
	w := watch(t, atAlice, testConfig(t, atAlice, alice, bob))
	s := w.ready(t)
	require.ElementsMatch(t, []string{alice, bob}, following(t, atAlice, alice))
	atAlice.Kill() // before it has saved
	w.suspect()
	<-s.ctx.Done()
	require.NoError(t, atAlice.Start())
	w.ready(t)
	require.ElementsMatch(t, []string{alice, bob}, following(t, atAlice, alice))
}

func TestDaemonThatLostItsUserDataBetweenTwoLooksIsNoticed(t *testing.T) {
	_, atAlice, _ := twoTwisterds(t)
	w := watch(t, atAlice, testConfig(t, atAlice, alice, bob))
	s := w.ready(t)
	atAlice.Kill()
	require.NoError(t, atAlice.Start())
	<-s.ctx.Done()
	w.ready(t)
	require.ElementsMatch(t, []string{alice, bob}, following(t, atAlice, alice))
}

func TestUnfollowedPeerIsFollowedAgain(t *testing.T) {
	_, atAlice, _ := twoTwisterds(t)
	w := watch(t, atAlice, testConfig(t, atAlice, alice, bob))
	s := w.ready(t)
	unfollow(t, atAlice, alice, bob)
	eventually(t, "alice follows bob", func() bool { return len(following(t, atAlice, alice)) == 2 })
	require.NoError(t, s.ctx.Err(), "the session goes on")
}

func TestPeerWhoIsNotRegisteredIsNamedAndFollowedLater(t *testing.T) {
	n, atAlice, atBob := twoTwisterds(t)
	require.NoError(t, atBob.Follow(bob, alice))
	w := watch(t, atAlice, testConfig(t, atAlice, alice, bob, "carol"))
	w.ready(t)
	w.says(t, transports.Up, "carol")
	require.NoError(t, atBob.Register("carol"))
	n.Mine(1)
	eventually(t, "carol is followed", func() bool { return len(following(t, atAlice, alice)) == 3 })
	w.says(t, transports.Up, "")
}

// A misspelt peer has no daemon that would come.
func TestPeerWhoDoesNotExistIsNamedWhileNobodyIsConnected(t *testing.T) {
	n := newNetwork(t, twistertest.Options{})
	at := newTwisterd(t, n, "a")
	require.NoError(t, at.Register(alice))
	n.Mine(10)
	w := watch(t, at, testConfig(t, at, alice, "mqtt_bbo"))
	w.says(t, transports.Stalled, "not followed, so that nothing comes from them: mqtt_bbo")
}

func TestFollowCheckOnlyTellsWhatToRun(t *testing.T) {
	_, atAlice, _ := twoTwisterds(t)
	c := testConfig(t, atAlice, alice, bob)
	c.Follow = "check"
	w := watch(t, atAlice, c)
	w.says(t, transports.Stalled, `twisterd follow mqtt_alice '["mqtt_alice","mqtt_bob"]'`)
	require.Empty(t, following(t, atAlice, alice))
	require.NoError(t, atAlice.Follow(alice, alice))
	w.ready(t)
	require.Contains(t, w.log.String(), "twisterd follow mqtt_alice")
	require.Equal(t, []string{alice}, following(t, atAlice, alice))
}

func TestWarmUpIsWaitedFor(t *testing.T) {
	n := newNetwork(t, twistertest.Options{Speed: twistertest.Speed{WarmUp: 200 * time.Millisecond}})
	at := newTwisterd(t, n, "a")
	eventually(t, "warm", at.Ready)
	require.NoError(t, at.Register(alice))
	n.Mine(10)
	require.NoError(t, at.Follow(alice, alice))
	require.NoError(t, at.Restart())
	w := watch(t, at, testConfig(t, at, alice))
	w.says(t, transports.Connecting, "still starting")
	w.ready(t)
	require.True(t, at.Ready(), "its user data is read")
	require.Equal(t, 0, w.log.count("following"), "nothing was missing:\n%s", w.log)
}

func TestLockedWalletEndsTheSessionAndWhatCameIsListedLater(t *testing.T) {
	_, atAlice, atBob := twoTwisterds(t)
	require.NoError(t, atBob.Follow(bob, bob))
	w := watch(t, atAlice, testConfig(t, atAlice, alice, bob))
	s := w.ready(t)
	atAlice.EncryptWallet("secret")
	<-s.ctx.Done()
	w.says(t, transports.Stalled, "walletpassphrase")
	_, err := newClient(t, atBob).DirectMessage(t.Context(), bob, 0, alice, "hello")
	require.NoError(t, err)
	unlock(t, atAlice, "secret")
	w.ready(t)
	lists, err := w.client.DirectMessages(t.Context(), alice, 10, rpc.Range{User: bob})
	require.NoError(t, err)
	require.Len(t, lists[bob], 1)
}

// After a kill the daemon's k may be behind ours: until a peer has brought it back, or for good.
func TestDaemonThatFellBehindIsWaitedForUntilAPeerHasBroughtItUp(t *testing.T) {
	n, atAlice, atBob := twoTwisterds(t)
	require.NoError(t, atAlice.Follow(alice, alice))
	require.NoError(t, atBob.Follow(bob, alice))
	atAlice.Save()
	for k := range 3 {
		_, err := newClient(t, atAlice).PublicPost(t.Context(), alice, k, "x")
		require.NoError(t, err)
	}
	n.Partition(atAlice, atBob)
	atAlice.Kill()
	require.NoError(t, atAlice.Start())
	w := watch(t, atAlice, testConfig(t, atAlice, alice, bob), func(d *daemon) {
		d.k = func() (int, bool) { return 3, true } // the last of which reached nobody
		d.pace.settle = time.Hour
	})
	w.says(t, transports.Connecting, "-1 where 3 was used")
	n.Heal(atAlice, atBob)
	require.Equal(t, 2, w.ready(t).lastHave)
	require.Equal(t, 1, w.log.count("lacks posts that were used"))
}

func TestDaemonThatStaysBehindIsWaitedForAWhile(t *testing.T) {
	_, atAlice, _ := twoTwisterds(t)
	w := watch(t, atAlice, testConfig(t, atAlice, alice), func(d *daemon) { d.k = func() (int, bool) { return 7, true } })
	require.Equal(t, -1, w.ready(t).lastHave)
	require.Equal(t, 1, w.log.count("lacks posts that were used"))
}

// Nobody here knows of a k, but the DHT has the last public post.
func TestLastPublicPostIsFoundInTheDHT(t *testing.T) {
	n, atAlice, _ := twoTwisterds(t)
	_, err := newClient(t, atAlice).PublicPost(t.Context(), alice, 4, "x")
	require.NoError(t, err)
	atAlice.Kill()
	fresh := newTwisterd(t, n, "fresh")
	require.NoError(t, fresh.ImportKey(atAlice, alice))
	w := watch(t, fresh, testConfig(t, fresh, alice))
	require.Equal(t, 4, w.ready(t).lastHave)
}

func TestUsersOfOneWalletNeedNoPeer(t *testing.T) {
	n := newNetwork(t, twistertest.Options{})
	at := newTwisterd(t, n, "a")
	require.NoError(t, at.Register(alice))
	require.NoError(t, at.Register(bob))
	n.Mine(10)
	w := watch(t, at, testConfig(t, at, alice, bob))
	w.ready(t)
	w.says(t, transports.Up, "no peer of the block chain")
}

func TestUserOfALargeWalletIsFound(t *testing.T) {
	_, atAlice, _ := twoTwisterds(t)
	for i := range 12 {
		require.NoError(t, newClient(t, atAlice).CreateWalletUser(t.Context(), fmt.Sprint("user", i)))
	}
	watch(t, atAlice, testConfig(t, atAlice, alice)).ready(t)
}

func TestUserWhoseTorrentNobodyHasIsStalled(t *testing.T) {
	_, atAlice, atBob := twoTwisterds(t)
	w := watch(t, atAlice, testConfig(t, atAlice, alice, bob))
	w.ready(t)
	w.says(t, transports.Stalled, "no other daemon is connected to the torrent")
	require.NoError(t, atBob.Follow(bob, alice))
	w.says(t, transports.Up, "")
}

func TestDaemonWithoutAPeerOfTheChainIsStalled(t *testing.T) {
	n, atAlice, atBob := twoTwisterds(t)
	require.NoError(t, atBob.Follow(bob, alice))
	w := watch(t, atAlice, testConfig(t, atAlice, alice, bob))
	w.ready(t)
	w.says(t, transports.Up, "")
	n.Partition(atAlice, atBob)
	w.says(t, transports.Stalled, "no peer of the block chain")
	n.Heal(atAlice, atBob)
	w.says(t, transports.Up, "")
}

func TestChainThatStandsStillOrFallsBackIsNoticedOverRestarts(t *testing.T) {
	begin := time.Unix(1795330000, 0)
	path := t.TempDir() + "/chain.json"
	look := func(blocks int, at time.Time) error {
		w := chainWatch{path: path}
		require.NoError(t, w.load())
		w.see(rpc.Info{Blocks: blocks, Connections: 1}, at)
		return w.trouble(at)
	}
	require.NoError(t, look(500, begin))
	require.NoError(t, look(500, begin.Add(staleAfter)))
	require.ErrorIs(t, look(500, begin.Add(staleAfter+time.Second)), errStale)
	require.NoError(t, look(501, begin.Add(staleAfter+time.Second)))
	require.ErrorIs(t, look(3, begin.Add(staleAfter+time.Second)), errBlind)
}

func TestUserDataNearItsCliffIsWarnedOf(t *testing.T) {
	_, atAlice, atBob := twoTwisterds(t)
	require.NoError(t, atAlice.Follow(alice, alice, bob))
	require.NoError(t, atBob.Follow(bob, alice))
	for k := range 3 {
		_, err := newClient(t, atAlice).DirectMessage(t.Context(), alice, k, bob, strings.Repeat("x", 1500))
		require.NoError(t, err)
	}
	w := watch(t, atAlice, testConfig(t, atAlice, alice, bob), func(d *daemon) { d.cliff = 4000 })
	w.says(t, transports.Up, "it holds some 0.0 MB of direct messages; 8 MB are read")
	size, err := w.userDataSize(t.Context())
	require.NoError(t, err)
	require.InDelta(t, atAlice.UserDataSize(), size, 100)
}

func TestSuspicionHasTheDaemonLookedAt(t *testing.T) {
	_, atAlice, _ := twoTwisterds(t)
	w := watch(t, atAlice, testConfig(t, atAlice, alice), func(d *daemon) { d.pace.health = time.Hour })
	s := w.ready(t)
	atAlice.Kill()
	w.suspect()
	<-s.ctx.Done()
}

// What answers is not always a twisterd, and not always in time.
func TestOddAnswersEndTheSessionAndNothingElse(t *testing.T) {
	_, atAlice, _ := twoTwisterds(t)
	w := watch(t, atAlice, testConfig(t, atAlice, alice))
	s := w.ready(t)
	atAlice.SetFault(func(string) twistertest.Fault { return twistertest.DropAnswer })
	<-s.ctx.Done()
	w.says(t, transports.Connecting, "")
	require.True(t, errors.Is(s.ctx.Err(), context.Canceled))
	atAlice.SetFault(nil)
	w.ready(t)
	require.Equal(t, 1, int(w.status.report().Reconnects))
}
