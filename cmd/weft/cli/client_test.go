package cli_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/cmd/weft/cli"
	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/plugins"
)

// builtInBroker runs the built-in broker of a node, and returns the node's configuration file and the broker's address.
func builtInBroker(t *testing.T) (path, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address = listener.Addr().String()
	require.NoError(t, listener.Close())
	path = write(t, "weft.yaml", fmt.Sprintf(
		"node: alice\nbroker: {embedded: {listen: %q, users: [{name: panel, password: s3cret}]}}\n", address))
	file, err := cli.Set.Load(path)
	require.NoError(t, err)
	startBroker(t, file)
	return path, address
}

func startBroker(t *testing.T, file *configs.File) {
	broker, err := plugins.NewBroker(file, nil, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.NoError(t, broker.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, broker.Close()) })
}

func TestPubNeedsOnlyTheBrokerOfTheFile(t *testing.T) {
	path, _ := builtInBroker(t)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, append(text, "routes: [{}]\n"...), 0o600))
	got := run(t, "pub", "-c", path, "-t", "a", "-m", "b", "-q", "1")
	require.Zero(t, got.status, got.err)
}

func TestPublishedMessagesAreSubscribedTo(t *testing.T) {
	path, address := builtInBroker(t)
	url := "mqtt://panel:s3cret@" + address
	for _, broker := range [][]string{{"-c", path}, {"--url", url}} {
		pub := func(in string, args ...string) {
			t.Helper()
			got := runWith(t.Context(), in, append(append([]string{"pub"}, args...), broker...)...)
			require.Equal(t, result{}, got)
		}
		pub("", "-t", "kept/a", "-m", "old", "-r", "-q", "1")
		received := make(chan result, 1)
		go func() {
			received <- runWith(t.Context(), "", append([]string{"sub", "-v", "-t", "kept/#", "-t", "lines", "-C", "5", "-W", "20s"}, broker...)...)
		}()
		// The retained message shows that the subscription is there; the others are published until then.
		require.Eventually(t, func() bool {
			pub("one\ntwo\n", "-t", "lines", "-l", "-q", "2")
			return len(received) == 1
		}, 20*time.Second, 50*time.Millisecond)
		got := <-received
		require.Zero(t, got.status, got.err)
		lines := strings.Split(strings.TrimSpace(got.out), "\n")
		require.Len(t, lines, 5)
		require.Contains(t, lines, "kept/a old")
		require.Contains(t, lines, "lines one")
		require.Contains(t, lines, "lines two")

		pub("", "-t", "kept/a", "-n", "-r", "-q", "1")
		// The built-in broker may answer the publisher a moment before it hands the message to who subscribes just then.
		require.Eventually(t, func() bool {
			gone := runWith(t.Context(), "", append([]string{"sub", "-t", "kept/#", "-C", "1", "-W", "300ms"}, broker...)...)
			return gone == result{1, "", "weft: 0 of 1 messages came\n"}
		}, 20*time.Second, 50*time.Millisecond)
	}
}

// At a built-in broker with users: are pub and sub the first who may do what is asked, and is it said who could where nobody or
// the one that is named may not?
func TestPubAndSubAreAUserWhoMay(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	path := write(t, "weft.yaml", fmt.Sprintf(`node: carol
broker:
  embedded:
    listen: %q
    users:
      - {name: sensor, password: s1, write: ["doors/#"], read: []}
      - {name: panel, password: p1, read: ["doors/#"], write: ["lamps/#"]}
`, address))
	file, err := cli.Set.Load(path)
	require.NoError(t, err)
	startBroker(t, file)
	for _, args := range [][]string{
		{"pub", "-t", "doors/1", "-m", "open", "-r", "-q", "1"},
		{"pub", "-t", "doors/2", "-m", "shut", "-r", "-q", "2", "--user", "sensor"},
		{"pub", "-t", "lamps/1", "-m", "on", "-q", "1"},
	} {
		require.Equal(t, result{}, run(t, append(args, "-c", path)...))
	}
	got := run(t, "sub", "-c", path, "-t", "#", "-C", "2", "-W", "10s")
	require.Zero(t, got.status, got.err)
	require.ElementsMatch(t, []string{"open", "shut"}, strings.Fields(got.out))
	for want, args := range map[string][]string{
		`no user may publish to "other"`:                                 {"pub", "-t", "other", "-m", "x"},
		`user "panel" may not publish to "doors/1"; these may: sensor`:   {"pub", "-t", "doors/1", "-m", "x", "-u", "panel"},
		`user "sensor" may not read anything of ["#"]; these may: panel`: {"sub", "-t", "#", "-u", "sensor"},
		`no user may read anything of ["doors/#" "lamps/#"]`:             {"sub", "-t", "doors/#", "-t", "lamps/#"},
		`no user "guest"; there are: sensor, panel`:                      {"sub", "-t", "#", "-u", "guest"},
	} {
		got := run(t, append(args, "-c", path, "-W", "2s")...)
		require.Equal(t, 1, got.status, args)
		require.Contains(t, got.err, want)
	}
	got = run(t, "sub", "-t", "#", "-u", "panel", "--url", "mqtt://"+address)
	require.Equal(t, 2, got.status)
	require.Contains(t, got.err, "a user goes into the URL")
}

func TestSubEndsQuietlyWhenItsTimeIsOver(t *testing.T) {
	path, _ := builtInBroker(t)
	require.Equal(t, result{}, run(t, "sub", "-c", path, "-t", "#", "-W", "300ms"))
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel)
	require.Equal(t, result{}, runWith(ctx, "", "sub", "-c", path, "-t", "#"), "an interrupt is no error")
}

func TestUnreachableBrokerIsNamed(t *testing.T) {
	for _, args := range [][]string{{"pub", "-t", "a", "-m", "b", "-q", "1"}, {"sub", "-t", "a"}, {"sub", "-t", "a", "-C", "1"}} {
		got := run(t, append(args, "--url", "mqtt://user:s3cret@127.0.0.1:1", "-W", "300ms", "--log-format", "json")...)
		require.Equal(t, 1, got.status, args)
		require.Equal(t, "weft: no broker at 127.0.0.1:1: connection refused\n", got.err)
		require.NotContains(t, got.err, "s3cret")
	}
	got := run(t, "sub", "-t", "a", "--url", "mqtt://broker.invalid")
	require.Equal(t, 1, got.status)
	require.Contains(t, got.err, "weft: connect broker: dial tcp: lookup broker.invalid")
}

func TestWrongPasswordIsNamedAtOnce(t *testing.T) {
	_, address := builtInBroker(t)
	for _, args := range [][]string{{"pub", "-t", "a", "-m", "b", "-q", "1"}, {"pub", "-t", "a", "-m", "b"}, {"sub", "-t", "a"}, {"sub", "-t", "a", "-C", "1"}} {
		started := time.Now()
		got := run(t, append(args, "--url", "mqtt://panel:wr0ng@"+address)...)
		require.Equal(t, result{1, "", "weft: broker refused: bad user name or password, or a client id that is not allowed\n"}, got, args)
		require.Less(t, time.Since(started), 5*time.Second, "a wrong password is not tried again")
	}
	// The lines that follow are not waited for either.
	got := runWith(t.Context(), "one\ntwo\n", "pub", "-t", "a", "-l", "-q", "1", "--url", "mqtt://panel:wr0ng@"+address)
	require.Equal(t, result{1, "", "weft: broker refused: bad user name or password, or a client id that is not allowed\n"}, got)
}
