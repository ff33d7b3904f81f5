package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	// maxConns leaves six of the daemon's ten threads to its other clients.
	maxConns = 4

	defaultTimeout   = 30 * time.Second
	defaultMaxAnswer = 64 << 20
)

// Config says where the daemon is.
type Config struct {
	// URL is http://USER:PASSWORD@HOST:PORT, as rpcuser, rpcpassword and rpcport of twister.conf say. The path is empty or "/":
	// on any other one twisterd looks for a file.
	URL string

	// Timeout bounds each call, beside the deadline of its context; 30 s if zero.
	Timeout time.Duration

	// MaxAnswer bounds an answer in bytes; 64 MiB if zero. user_data, the most that the daemon can hold, is 8 MB.
	MaxAnswer int64
}

// A Client calls one twisterd. Its methods may be called concurrently.
type Client struct {
	url       string
	user      string
	password  string
	timeout   time.Duration
	maxAnswer int64
	http      *http.Client
	lastID    atomic.Int64
}

// New returns a client. It does no I/O. Its errors never show the password.
func New(cfg Config) (*Client, error) {
	u, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	password, _ := u.User.Password()
	c := &Client{
		url:       (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/"}).String(),
		user:      u.User.Username(),
		password:  password,
		timeout:   cfg.Timeout,
		maxAnswer: cfg.MaxAnswer,
		http: &http.Client{
			// Without keep-alive, since idle connections hold the daemon's threads and each error answer closes its own anyway.
			// No proxy: the daemon is on this machine, and the password is for it alone.
			Transport:     &http.Transport{DisableKeepAlives: true, MaxConnsPerHost: maxConns},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if c.timeout <= 0 {
		c.timeout = defaultTimeout
	}
	if c.maxAnswer <= 0 {
		c.maxAnswer = defaultMaxAnswer
	}
	return c, nil
}

// parseURL says what is wrong without quoting what may hold the password.
func parseURL(raw string) (*url.URL, error) {
	const want = "want http://USER:PASSWORD@127.0.0.1:28332"
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, fmt.Errorf("url of twisterd is malformed: %s", want)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("url of twisterd has the scheme %q: %s", u.Scheme, want)
	case u.Hostname() == "":
		return nil, fmt.Errorf("url of twisterd names no host: %s", want)
	case !validPort(u.Port()):
		return nil, fmt.Errorf("url of twisterd has the port %q: %s, with the rpcport of twister.conf, 1 to 65535", u.Port(), want)
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.Fragment != "":
		return nil, fmt.Errorf("url of twisterd has a path, query or fragment, where it serves files: %s", want)
	case u.User == nil:
		return nil, fmt.Errorf("url of twisterd has no user and password: %s, as rpcuser and rpcpassword in twister.conf", want)
	}
	return u, nil
}

// validPort reports whether a port is given, for that of HTTP is not twisterd's, and can be.
func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// URL returns the address of the daemon without user and password.
func (c *Client) URL() string { return c.url }

// call sends one request, once, and decodes its result into result, unless that is nil.
func (c *Client) call(ctx context.Context, result any, method string, params ...any) error {
	id := c.lastID.Add(1)
	body, err := appendRequest(nil, id, method, params)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	status, answer, err := c.post(ctx, body)
	if err == nil {
		err = parseAnswer(status, answer, id, method, result)
	}
	if _, refused := errors.AsType[*Error](err); err == nil || refused {
		return err
	}
	return fmt.Errorf("%s: %w", method, err)
}

// post returns the HTTP status and the body of the answer.
func (c *Client) post(ctx context.Context, body []byte) (int, []byte, error) {
	// A connection that was got may have carried the request, whatever becomes of it. It is got in a goroutine of net/http.
	var sent atomic.Bool
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.SetBasicAuth(c.user, c.password)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, transportError(err, sent.Load())
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, c.maxAnswer+1))
	switch {
	case err != nil:
		return 0, nil, transportError(err, true)
	case int64(len(answer)) > c.maxAnswer:
		return 0, nil, fmt.Errorf("%w: %w: over %s bytes", ErrUnknownOutcome, ErrAnswerTooLarge, strconv.FormatInt(c.maxAnswer, 10))
	}
	return resp.StatusCode, answer, nil
}

// transportError sorts what went wrong below JSON by whether the daemon may have carried the call out.
func transportError(err error, sent bool) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // it repeats the method and the URL
	}
	switch {
	case sent:
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	case errors.Is(err, context.Canceled):
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}
