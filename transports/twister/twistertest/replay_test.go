package twistertest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/twister/twistertest"
)

// patience is how long the replay waits for an answer that must not come.
const patience = 300 * time.Millisecond

// record is one request to a real daemon and its answer. Line is its place among all that were recorded.
type record struct {
	Line     int
	Node     string
	When     string
	Request  json.RawMessage
	Status   int `json:"http_status"`
	Response json.RawMessage
}

func (r record) request(t *testing.T) (method string, raw rawText) {
	t.Helper()
	var request struct {
		Method string
		rawText
	}
	require.NoError(t, json.Unmarshal(r.Request, &request))
	return request.Method, request.rawText
}

// rawText is a request or an answer that was recorded byte by byte, each as a character.
type rawText struct {
	HTTP   string `json:"_raw_http_latin1"`
	Body   string `json:"_raw_body_latin1"`
	Answer string `json:"_raw_latin1"`
	Note   string `json:"_note"`
	Failed string `json:"_transport_error"`
	Closed *bool  `json:"_connection_closed_by_server"`
}

func latin1(s string) string {
	var b []byte
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

func records(t *testing.T) []record {
	t.Helper()
	file, err := os.Open("testdata/transcripts.jsonl")
	require.NoError(t, err)
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	var all []record
	for lines.Scan() {
		var r record
		require.NoError(t, json.Unmarshal(lines.Bytes(), &r))
		all = append(all, r)
	}
	require.NoError(t, lines.Err())
	return all
}

// TestAnswersAreThoseOfRealDaemons asks the simulation what real daemons were asked, in the same state, and compares.
func TestAnswersAreThoseOfRealDaemons(t *testing.T) {
	all := records(t)
	compared := 0
	for i, scene := range scenes {
		end := 1 << 30
		if i+1 < len(scenes) {
			end = scenes[i+1].line
		}
		t.Run(scene.name, func(t *testing.T) {
			p := scene.open(t)
			for _, r := range all {
				if r.Line >= scene.line && r.Line < end && p.replay(r) {
					compared++
				}
			}
		})
	}
	t.Logf("%d records, %d compared, %d excluded", len(all), compared, len(all)-compared)
	require.Equal(t, len(all)-len(excluded), compared)
}

// play is one scene on the stage.
type play struct {
	t     *testing.T
	scene scene
	net   *twistertest.Network
	nodes map[string]*twistertest.Daemon

	idle    []net.Conn
	aliases map[string]string // of groups, as recorded and as they are here

	mu  sync.Mutex
	now time.Time
}

func (p *play) clock() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// at sets the clock, in seconds after what all records begin with.
func (p *play) at(second int64) *play {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = time.Unix(1795330000+second, 0)
	return p
}

// replay reports whether it compared the record.
func (p *play) replay(r record) bool {
	p.t.Helper()
	if before := p.scene.before[r.Line]; before != nil {
		before(p)
	}
	if _, ok := excluded[r.Line]; ok {
		return false
	}
	p.setClock(r)
	status, answer := p.ask(r)
	require.Equal(p.t, r.Status, status, "line %d: %s: %s", r.Line, r.When, answer)
	method, raw := r.request(p.t)
	if method == "creategroup" {
		p.learn(r.Response, answer)
	}
	want := p.translate(r.Response)
	if raw.HTTP != "" || raw.Note != "" {
		p.compareHTTP(r, answer)
		return true
	}
	var answered rawText
	if require.NoError(p.t, json.Unmarshal(r.Response, &answered)); answered.Answer != "" {
		p.compareBytes(r, latin1(answered.Answer), answer)
		return true
	}
	require.Equal(p.t, plain(p.t, r, want), plain(p.t, r, answer), "line %d: %s", r.Line, r.When)
	return true
}

var stamped = regexp.MustCompile(`"time": ?(1795\d{6})`)

// setClock gives a new post the second that it has in the record.
func (p *play) setClock(r record) {
	method, raw := r.request(p.t)
	if strings.HasPrefix(method, "new") || strings.Contains(raw.Body, `"method":"new`) {
		if found := stamped.FindSubmatch(r.Response); found != nil {
			var second int64
			require.NoError(p.t, json.Unmarshal(found[1], &second))
			p.at(second - 1795330000)
		}
	}
}

// translate puts the aliases of this run in the place of the recorded ones.
func (p *play) translate(text []byte) []byte {
	for recorded, here := range p.aliases {
		text = bytes.ReplaceAll(text, []byte(recorded), []byte(here))
	}
	return text
}

// learn notes the alias of a group that was made.
func (p *play) learn(recorded, here []byte) {
	var was, is struct{ Result string }
	require.NoError(p.t, json.Unmarshal(recorded, &was))
	require.NoError(p.t, json.Unmarshal(here, &is))
	if was.Result != "" {
		p.aliases[was.Result] = is.Result
	}
}

// ask returns status 0 where no answer came.
func (p *play) ask(r record) (status int, answer []byte) {
	d := p.nodes[r.Node]
	_, raw := r.request(p.t)
	if raw.HTTP != "" {
		return p.talk(d, latin1(raw.HTTP))
	}
	body := []byte(latin1(raw.Body))
	switch {
	case raw.Note != "":
		body = []byte(`{"id":1,"method":"getblockcount","params":[],"pad":"` + strings.Repeat("x", 1<<20) + `"}`)
	case raw.Body == "":
		var request any
		decoder := json.NewDecoder(bytes.NewReader(p.translate(r.Request)))
		decoder.UseNumber()
		require.NoError(p.t, decoder.Decode(&request))
		body = rawJSON(p.t, request)
	}
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	if r.Status == 0 {
		client.Timeout = patience
	}
	resp, err := client.Post(d.URL(), "application/json", bytes.NewReader(body))
	if err != nil {
		return 0, failure(err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	require.NoError(p.t, err)
	return resp.StatusCode, answer
}

// failure says it in the words of the records.
func failure(err error) []byte {
	kind := "timed out"
	if errors.Is(err, syscall.ECONNREFUSED) {
		kind = "refused"
	}
	text, _ := json.Marshal(rawText{Failed: kind})
	return text
}

// rawJSON is JSON in UTF-8, as the daemons were sent it.
func rawJSON(t *testing.T, value any) []byte {
	t.Helper()
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	require.NoError(t, encoder.Encode(value))
	text := strings.NewReplacer(`\u2028`, "\u2028", `\u2029`, "\u2029").Replace(b.String())
	return []byte(text)
}

// talk sends bytes and returns all that comes back, with the first status.
func (p *play) talk(d *twistertest.Daemon, text string) (status int, answer []byte) {
	conn, err := net.Dial("tcp", d.Addr())
	require.NoError(p.t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, text)
	require.NoError(p.t, err)
	require.NoError(p.t, conn.SetReadDeadline(time.Now().Add(patience)))
	all, err := io.ReadAll(conn)
	closed := !errors.Is(err, os.ErrDeadlineExceeded)
	if head, _, ok := strings.Cut(string(all), "\r\n"); ok {
		words := strings.Fields(head)
		require.NoError(p.t, json.Unmarshal([]byte(words[1]), &status))
	}
	runes := make([]rune, len(all))
	for i, b := range all {
		runes[i] = rune(b)
	}
	answer, err = json.Marshal(rawText{HTTP: string(runes), Closed: &closed})
	require.NoError(p.t, err)
	return status, answer
}

func TestLeftOutMethodsAreThoseThatTheSimulationLacks(t *testing.T) {
	for _, name := range leftOut {
		require.False(t, slices.Contains(twistertest.Methods(), name), name)
	}
	for _, r := range records(t) {
		if method, _ := r.request(t); method != "" {
			require.Contains(t, twistertest.Methods(), method)
		}
	}
}
