package rpc_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/twister/rpc"
)

const password = "s3cret"

// serve returns a client of a server that gives each request to answer.
func serve(t *testing.T, answer http.HandlerFunc) *rpc.Client {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return dial(t, server.Listener.Addr().String())
}

func dial(t *testing.T, addr string) *rpc.Client {
	t.Helper()
	client, err := rpc.New(rpc.Config{URL: "http://user:" + password + "@" + addr, Timeout: 5 * time.Second, MaxAnswer: 1 << 16})
	require.NoError(t, err)
	return client
}

// reply answers with status and a body, in which ID stands for the request's id.
func reply(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var request struct {
			ID json.RawMessage `json:"id"`
		}
		_ = json.NewDecoder(r.Body).Decode(&request)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, strings.ReplaceAll(body, "ID", string(request.ID)))
	}
}

func TestRequestIsRawUTF8InOnePostToTheRoot(t *testing.T) {
	const text = "a\u2028b\u2029c\ufeff<&> \u00e9 漢 🐦 \"q\\ \n\x00\x1f\u007f"
	var body []byte
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		user, pass, ok := r.BasicAuth()
		require.True(t, ok && user == "user" && pass == password)
		require.Equal(t, "/", r.RequestURI)
		require.Equal(t, int64(len(body)), r.ContentLength)
		require.True(t, r.Close, "an idle connection would hold a thread of the daemon")
		_, _ = io.WriteString(w, `{"result":{"sig_userpost":"20","userpost":{"n":"a","k":7}},"error":null,"id":1}`)
	})
	post, err := client.DirectMessage(t.Context(), "mqtt_alice", 7, "mqtt_bob", text)
	require.NoError(t, err)
	require.Equal(t, 7, post.K)
	require.Contains(t, string(body), "a\u2028b\u2029c\ufeff<&> \u00e9 漢 🐦 \\\"q\\\\ \\u000a\\u0000\\u001f\u007f")
	var request struct{ Params []any }
	require.NoError(t, json.Unmarshal(body, &request))
	require.Equal(t, []any{"mqtt_alice", 7.0, "mqtt_bob", text}, request.Params)
}

func TestWhatTheDaemonWouldSpoilIsNeverSent(t *testing.T) {
	client := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("sent") })
	ctx := t.Context()
	put := func(value any) error { return client.DHTPut(ctx, "a", "profile", rpc.Single, value, "a", 1) }
	_, invalid := client.DirectMessage(ctx, "a", 1, "b", "caf\xe9")
	_, empty := client.DirectMessage(ctx, "a", 1, "b", "")
	_, post := client.PublicPost(ctx, "a", 1, "\xed\xa0\x80")
	_, k := client.DirectMessage(ctx, "a", 1<<31, "b", "x")
	for _, tt := range []struct {
		name      string
		err, want error
	}{
		{"text in Latin-1", invalid, rpc.ErrInvalidText},
		{"an empty message", empty, rpc.ErrInvalidText},
		{"a lone surrogate", post, rpc.ErrInvalidText},
		{"k over 31 bits", k, rpc.ErrOutOfRange},
		{"seq over 31 bits", client.DHTPut(ctx, "a", "profile", rpc.Single, "x", "a", 1<<31), rpc.ErrOutOfRange},
		{"negative seq", client.DHTPut(ctx, "a", "profile", rpc.Single, "x", "a", -1), rpc.ErrOutOfRange},
		{"a bool in the DHT", put(map[string]any{"x": []any{true}}), rpc.ErrBadValue},
		{"null in the DHT", put(map[string]any{"x": nil}), rpc.ErrBadValue},
		{"a float in the DHT", put(1.5), rpc.ErrBadValue},
		{"a float read from the DHT", put(json.Number("1.5")), rpc.ErrBadValue},
		{"a large number in the DHT", put([]any{1 << 40}), rpc.ErrOutOfRange},
		{"a long resource", client.DHTPut(ctx, "a", strings.Repeat("r", 33), rpc.Multi, "x", "a", 0), rpc.ErrBadValue},
		{"a name in capitals", client.CreateWalletUser(ctx, "Mqtt"), rpc.ErrBadName},
		{"no name", client.CreateWalletUser(ctx, ""), rpc.ErrBadName},
	} {
		require.ErrorIs(t, tt.err, tt.want, tt.name)
	}
}

func TestAnswersOfTheDaemonBecomeErrorsThatSayWhatToDo(t *testing.T) {
	for _, tt := range []struct {
		code    int
		message string
		want    error
	}{
		{-11, "Error: this username exists in wallet", rpc.ErrUserExists},
		{-11, "Error: this username exists in tx database", rpc.ErrNameTaken},
		{-11, "Error: username must exist in wallet", rpc.ErrNotInWallet},
		{-11, "Error: no sig_user in wallet", rpc.ErrNotInWallet},
		{-13, "Error: Please enter the wallet passphrase with walletpassphrase first.", rpc.ErrWalletLocked},
		{-22, "TX rejected", rpc.ErrRejected},
		{-23, "Forbidden: accessing this method is not allowed on a public server", rpc.ErrPublicServer},
		{-32601, "Method not found", rpc.ErrNotTwisterd},
		{-32602, "bad bencoded post size", rpc.ErrTooLong},
		{-32602, "bad post signature", rpc.ErrNotConfirmed},
		{-32603, "error signing post with private key of user", rpc.ErrNotInWallet},
		{-32603, "error encrypting to pubkey of destination user", rpc.ErrNoSuchUser},
		{-32603, "UsernameToTxNum failed", rpc.ErrNoSuchUser},
		{-32603, "uninitialized session", rpc.ErrWarmingUp},
		{-1, "value is type str, expected int", rpc.ErrRefused},
		{-99, "what no daemon has said yet", rpc.ErrRefused},
	} {
		client := serve(t, reply(500, fmt.Sprintf(`{"result":null,"error":{"code":%d,"message":%q},"id":ID}`, tt.code, tt.message)))
		_, err := client.DirectMessage(t.Context(), "mqtt_alice", 3, "mqtt_bob", "x")
		require.ErrorIs(t, err, tt.want)
		require.NotErrorIs(t, err, rpc.ErrUnknownOutcome, "a call that was refused used no k")
		var refused *rpc.Error
		require.ErrorAs(t, err, &refused)
		require.Equal(t, tt.code, refused.Code)
		require.Equal(t, tt.message, refused.Message)
		require.Contains(t, err.Error(), tt.want.Error())
	}
}

func TestSpentPostsAreToldFromAnUnconfirmedSender(t *testing.T) {
	for user, want := range map[string]error{"mqtt_alice": rpc.ErrBudgetSpent, "mqtt_new": rpc.ErrNotConfirmed} {
		client := serve(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			switch {
			case strings.Contains(string(body), "newpostmsg"):
				w.WriteHeader(500)
				_, _ = io.WriteString(w, `{"result":null,"error":{"code":-32602,"message":"too much posts from user 'U' rejecting post"},"id":1}`)
			case strings.Contains(string(body), "mqtt_alice"):
				_, _ = io.WriteString(w, `{"result":2,"error":null,"id":2}`)
			default:
				w.WriteHeader(500)
				_, _ = io.WriteString(w, `{"result":null,"error":{"code":-32603,"message":"UsernameToTxNum failed"},"id":2}`)
			}
		})
		_, err := client.PublicPost(t.Context(), user, 99, "x")
		require.ErrorIs(t, err, want)
	}
}

func TestWhatIsNoJSONIsNoTwisterd(t *testing.T) {
	const page = "<html><body>\r\n<b>ERROR</b></body></html>"
	for _, tt := range []struct {
		status  int
		body    string
		want    error
		unknown bool
	}{
		{401, page, rpc.ErrUnauthorized, false},
		{401, `{"result":1,"error":null,"id":ID}`, rpc.ErrUnauthorized, false},
		{403, "", rpc.ErrHostNotAllowed, false},
		{404, page, rpc.ErrNotTwisterd, false},
		{302, page, rpc.ErrNotTwisterd, true},
		{200, page, rpc.ErrNotTwisterd, true},
		{200, "", rpc.ErrNotTwisterd, true},
		{200, `[]`, rpc.ErrNotTwisterd, true},
		{200, `{"result":5,"error":null,"id":ID`, rpc.ErrNotTwisterd, true},
		{200, `{"result":5,"error":null,"id":ID} {}`, rpc.ErrNotTwisterd, true},
		{200, `{"result":5,"error":null,"id":0}`, rpc.ErrNotTwisterd, true},
		{200, `{"result":"five","error":null,"id":ID}`, rpc.ErrNotTwisterd, true},
		{200, `{"result":null,"error":null,"id":ID}`, rpc.ErrNotTwisterd, true},
		{500, `{"result":5,"error":null,"id":ID}`, rpc.ErrNotTwisterd, true},
		{500, `{"result":null,"error":"no","id":ID}`, rpc.ErrNotTwisterd, true},
		{200, `{"result":"` + strings.Repeat("x", 1<<17) + `","error":null,"id":ID}`, rpc.ErrAnswerTooLarge, true},
	} {
		client := serve(t, reply(tt.status, tt.body))
		_, err := client.BlockCount(t.Context())
		require.ErrorIs(t, err, tt.want, "%d %.60s", tt.status, tt.body)
		unknown := strings.Contains(err.Error(), rpc.ErrUnknownOutcome.Error())
		require.Equal(t, tt.unknown, unknown, "%d %.60s", tt.status, tt.body)
	}
}

func TestCallThatMayHaveBeenCarriedOutIsToldFromOneThatWasNot(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	_, err = dial(t, listener.Addr().String()).Info(t.Context())
	require.ErrorIs(t, err, rpc.ErrUnreachable)
	require.NotErrorIs(t, err, rpc.ErrUnknownOutcome)

	cut := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	_, err = cut.Info(t.Context())
	require.ErrorIs(t, err, rpc.ErrUnknownOutcome)

	hangs := make(chan struct{})
	hung := serve(t, func(http.ResponseWriter, *http.Request) { <-hangs })
	t.Cleanup(func() { close(hangs) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = hung.Info(ctx)
	require.ErrorIs(t, err, rpc.ErrUnknownOutcome)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestAtMostFourConnectionsAtATime(t *testing.T) {
	var now, most atomic.Int32
	release := make(chan struct{})
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		<-release
		reply(200, `{"result":5,"error":null,"id":ID}`)(w, r)
	})
	errs := make(chan error)
	for range 20 {
		go func() { _, err := client.BlockCount(t.Context()); errs <- err }()
	}
	require.Eventually(t, func() bool { return now.Load() == 4 }, 5*time.Second, time.Millisecond)
	close(release)
	for range 20 {
		require.NoError(t, <-errs)
	}
	require.EqualValues(t, 4, most.Load())
}

func TestURLNeedsAPortThatThereIs(t *testing.T) {
	for port, ok := range map[string]bool{"": false, ":": false, ":0": false, ":283320": false, ":28332": true} {
		_, err := rpc.New(rpc.Config{URL: "http://user:" + password + "@127.0.0.1" + port})
		require.Equal(t, ok, err == nil, port)
	}
}

func TestPasswordIsInNoError(t *testing.T) {
	for _, bad := range []string{
		"http://user:" + password + "@127.0.0.1:port/", "ftp://user:" + password + "@h", "http://user:" + password + "@127.0.0.1:1/rpc",
		"http://user:" + password + "%zz@h", "user:" + password + "@h:1", "http://:1/" + password, "http://127.0.0.1:1",
	} {
		_, err := rpc.New(rpc.Config{URL: bad})
		require.Error(t, err, bad)
		require.NotContains(t, err.Error(), password)
	}
	_, err := dial(t, "127.0.0.1:1").Info(t.Context())
	require.Error(t, err)
	require.NotContains(t, err.Error(), password)
	require.NotContains(t, dial(t, "127.0.0.1:1").URL(), password)
}

func TestProfileCanBePutAgainAsItWasRead(t *testing.T) {
	const value = `{"bio":"x","list":["a",{"n":5}],"seq":2147483647}`
	var put []byte
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), "dhtput") {
			put = body
			_, _ = io.WriteString(w, `{"result":null,"error":null,"id":2}`)
			return
		}
		_, _ = io.WriteString(w, `{"result":[{"p":{"height":5,"seq":2,"time":1795331061,"v":`+value+`},"sig_p":"1f","sig_user":"a"}],"error":null,"id":1}`)
	})
	entries, err := client.DHTGet(t.Context(), "a", "profile", rpc.Single, 0)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.Equal(t, 2, entries[0].Seq)
	require.NoError(t, client.DHTPut(t.Context(), "a", "profile", rpc.Single, entries[0].Value, "a", 3))
	require.Contains(t, string(put), `"params":["a","profile","s",`+value+`,"a",3]`)
}

func TestTorrentIsCaughtUpWhenNoPeerHasMore(t *testing.T) {
	for _, tt := range []struct {
		here  string
		peers []string
		want  bool
	}{
		{"1110", nil, false},
		{"1110", []string{"1110"}, true},
		{"1110", []string{"1010", "11000000"}, true},
		{"1110", []string{"1110", "1111"}, false},
		{"1110", []string{"11100001"}, false},
		{"", []string{""}, true},
	} {
		status := rpc.TorrentStatus{Bitfield: tt.here}
		for _, bits := range tt.peers {
			status.Connected = append(status.Connected, rpc.TorrentPeer{Bitfield: bits})
		}
		require.Equal(t, tt.want, status.CaughtUp(), "%+v", tt)
	}
}

func TestTorrentLacksWhatAPeerHasOfARange(t *testing.T) {
	status := rpc.TorrentStatus{Bitfield: "1010", Connected: []rpc.TorrentPeer{{Bitfield: "1000"}, {Bitfield: "101010"}}}
	for _, tt := range []struct {
		from, to int
		want     bool
	}{
		{0, 3, false}, {1, 1, false}, {3, 4, true}, {4, 4, true}, {5, 1000, false}, {-1, 1000, true}, {4, 3, false},
	} {
		require.Equal(t, tt.want, status.Lacks(tt.from, tt.to), "%+v", tt)
	}
	require.False(t, rpc.TorrentStatus{Bitfield: "0"}.Lacks(0, 9), "nobody is connected")
}
