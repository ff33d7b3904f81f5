package twister_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/twister"
	"github.com/weft-relay/weft/transports/twister/twistertest"
)

// recorder stands between a transport and its daemon and sees which ks are posted.
type recorder struct {
	url string

	mu    sync.Mutex
	used  map[int]bool // ks that a call carried which was not refused
	again []int        // ks that were carried again after that
	posts []string     // recipients of the posts that the daemon took, in order
}

func record(t *testing.T, d *twistertest.Daemon) *recorder {
	t.Helper()
	target, err := url.Parse(d.URL())
	require.NoError(t, err)
	r := &recorder{used: map[int]bool{}}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = target.Scheme, target.Host
		},
		Transport:    &http.Transport{DisableKeepAlives: true},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		ErrorLog:     nil,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		req.Body = io.NopCloser(bytes.NewReader(body))
		k, to, posts := posted(body)
		if !posts {
			proxy.ServeHTTP(w, req)
			return
		}
		r.begin(k)
		answer := httptest.NewRecorder()
		proxy.ServeHTTP(answer, req)
		r.end(k, to, answer.Body.Bytes())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	require.NoError(t, err)
	u.User = target.User
	r.url = u.String()
	return r
}

// posted returns the k of a call that posts, and to whom.
func posted(body []byte) (k int, to string, posts bool) {
	var call struct {
		Method string `json:"method"`
		Params []any  `json:"params"`
	}
	if json.Unmarshal(body, &call) != nil || call.Method != "newdirectmsg" && call.Method != "newpostmsg" {
		return 0, "", false
	}
	n, _ := call.Params[1].(float64)
	if call.Method == "newdirectmsg" {
		to, _ = call.Params[2].(string)
	}
	return int(n), to, true
}

func (r *recorder) begin(k int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.used[k] {
		r.again = append(r.again, k)
	}
	r.used[k] = true
}

func (r *recorder) end(k int, to string, answer []byte) {
	var said struct {
		Error *struct{ Code int } `json:"error"`
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch err := json.Unmarshal(answer, &said); {
	case err != nil:
	case said.Error != nil:
		delete(r.used, k)
	default:
		r.posts = append(r.posts, to)
	}
}

// through has a transport call its daemon through the recorder.
func (r *recorder) through(c *twister.Config) { c.URL = r.url }

func (r *recorder) twice() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.again
}

func (r *recorder) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.posts...)
}
