package twistertest

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// maxBody is the size from which on the daemon reads no body.
const maxBody = 0x02000000

// signature is the daemon's Server header.
const signature = "bitcoin-json-rpc/v0.9.40.0-unk-beta"

const unauthorized = "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01 Transitional//EN\"\r\n" +
	"\"http://www.w3.org/TR/1999/REC-html401-19991224/loose.dtd\">\r\n<HTML>\r\n<HEAD>\r\n<TITLE>Error</TITLE>\r\n" +
	"<META HTTP-EQUIV='Content-Type' CONTENT='text/html; charset=ISO-8859-1'>\r\n</HEAD>\r\n" +
	"<BODY><H1>401 Unauthorized.</H1></BODY>\r\n</HTML>\r\n"

// request is one HTTP request as the daemon understands it.
type request struct {
	method, path string
	auth         string
	body         string
	keep         bool
}

// readRequest returns an error where the daemon closes the connection without an answer.
func readRequest(r *bufio.Reader) (request, error) {
	text := textproto.NewReader(r)
	line, err := text.ReadLine()
	if err != nil {
		return request{}, err
	}
	words := strings.Split(line, " ")
	if len(words) != 3 || words[0] != http.MethodGet && words[0] != http.MethodPost {
		return request{}, errors.New("neither GET nor POST")
	}
	header, err := text.ReadMIMEHeader()
	if err != nil {
		return request{}, err
	}
	req := request{method: words[0], path: words[1], auth: header.Get("Authorization")}
	switch header.Get("Connection") { // in this spelling alone
	case "close":
	case "keep-alive":
		req.keep = true
	default:
		req.keep = strings.HasSuffix(words[2], "/1.1")
	}
	// Without a good Content-Length, chunked or not, the body is empty.
	length, err := strconv.Atoi(strings.TrimSpace(header.Get("Content-Length")))
	if err != nil || length < 0 || length > maxBody {
		req.keep = false
		return req, nil
	}
	body := make([]byte, length)
	_, err = io.ReadFull(r, body)
	req.body = string(body)
	return req, err
}

// answer reports whether the connection goes on.
func (s *server) answer(conn net.Conn, req request) bool {
	switch good := s.authorized(req.auth); {
	case req.method == http.MethodPost && req.path != "/" && !strings.Contains(req.path, ".."), req.method == http.MethodGet:
		name := strings.TrimPrefix(req.path, "/")
		if name == "" {
			name = "home.html"
		}
		page := "<html><body>\r\n<b>ERROR 404</b><br/>ServiceConnection: file '<b>html/" + name + "</b>' not found\r\n</body></html>\r\n"
		return reply(conn, http.StatusNotFound, "text/html; charset=utf-8", page, req.keep)
	case !good:
		if req.auth != "" && !s.sleep(s.d.net.opts.Speed.Login) {
			return false
		}
		_, _ = fmt.Fprintf(conn, "HTTP/1.0 401 Authorization Required\r\nDate: %s\r\nServer: %s\r\n"+
			"WWW-Authenticate: Basic realm=\"jsonrpc\"\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s",
			date(), signature, len(unauthorized), unauthorized)
		return false
	}
	status, body, ok := s.execute(req.body)
	if !ok {
		return false
	}
	return reply(conn, status, "application/json", body, req.keep && status == http.StatusOK)
}

// authorized takes the scheme in this spelling alone.
func (s *server) authorized(auth string) bool {
	o := &s.d.net.opts
	encoded, ok := strings.CutPrefix(auth, "Basic ")
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	return ok && err == nil && string(plain) == o.User+":"+o.Password
}

func date() string { return time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 +0000") }

func reply(w io.Writer, status int, kind, body string, keep bool) bool {
	connection := "close"
	if keep {
		connection = "keep-alive"
	}
	_, err := fmt.Fprintf(w, "HTTP/1.1 %d %s\r\nDate: %s\r\nConnection: %s\r\nContent-Length: %d\r\nContent-Type: %s\r\n"+
		"Content-Security-Policy: script-src 'self' 'unsafe-eval'\r\nServer: %s\r\n\r\n%s",
		status, http.StatusText(status), date(), connection, len(body), kind, signature, body)
	return err == nil && keep
}
