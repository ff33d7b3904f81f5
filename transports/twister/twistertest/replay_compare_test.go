package twistertest_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What differs between two runs of the same daemon, and so is compared by its shape alone: signatures, keys and bodies by their
// length, transaction and block hashes likewise, times of DHT entries, traffic and connections of getinfo, the transient members
// of torrentstatus, addresses, the block that is promoted, and the order of listwalletusers.

var (
	hexadecimal = regexp.MustCompile(`^[0-9a-f]{64,}$`)

	// random are members that are noise, "" the results that are hashes.
	random = []string{"sig_userpost", "sig_p", "body", "key", "mac", ""}

	// transient are members whose values depend on timing inside libtorrent, or on the addresses of the machine.
	transient = []string{
		"addr", "flags", "connection_type", "download_queue_length", "failcount", "state", "list_peers", "connect_candidates",
		"has_incoming", "queue_position",
	}

	// steady are those members of getinfo that do not depend on the traffic so far.
	steady = []string{
		"version", "protocolversion", "walletversion", "blocks", "errors", "public_server_mode", "testnet", "unlocked_until", "proxy",
	}

	// unrecorded are the lines whose list positions count messages that were sent without a record.
	unrecorded = []int{282, 284, 296, 555, 560}
)

// plain returns an answer as a value that must be the same in each run.
func plain(t *testing.T, r record, answer []byte) any {
	t.Helper()
	var raw rawText
	require.NoError(t, json.Unmarshal(answer, &raw), "line %d: %s", r.Line, answer)
	if raw.Failed != "" {
		if strings.Contains(strings.ToLower(raw.Failed), "refused") {
			return "refused"
		}
		return "timed out"
	}
	var value map[string]any
	require.NoError(t, json.Unmarshal(answer, &value), "line %d: %s", r.Line, answer)
	method, _ := r.request(t)
	result := masked(value["result"], "")
	switch method {
	case "getinfo":
		result = info(result)
	case "getposts":
		sortTies(result)
	case "listwalletusers":
		if list, ok := result.([]any); ok {
			slices.SortFunc(list, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
	}
	if slices.Contains(unrecorded, r.Line) {
		result = withoutIDs(result)
	}
	value["result"] = result
	return value
}

func masked(value any, name string) any {
	switch v := value.(type) {
	case map[string]any:
		promoted := v["n"] == "nobody"
		_, entry := v["target"]
		for key, member := range v {
			switch {
			case slices.Contains(transient, key), promoted && slices.Contains([]string{"height", "k", "time"}, key), entry && key == "time":
				v[key] = fmt.Sprintf("%T", member)
			default:
				v[key] = masked(member, key)
			}
		}
	case []any:
		for i, item := range v {
			v[i] = masked(item, name)
		}
	case string:
		if hexadecimal.MatchString(v) && slices.Contains(random, name) {
			return fmt.Sprintf("%d hexadecimal", len(v))
		}
	}
	return value
}

func info(result any) any {
	object, _ := result.(map[string]any)
	for key, member := range object {
		if !slices.Contains(steady, key) {
			object[key] = fmt.Sprintf("%T", member)
		}
	}
	return object
}

// sortTies puts posts of one second in the order of k. The real daemon lists them upwards (lines 148, 151 and 509) or downwards
// (149 and 213), and so does the simulation, by chance.
func sortTies(result any) {
	list, _ := result.([]any)
	slices.SortStableFunc(list, func(a, b any) int {
		x, y := userpost(a), userpost(b)
		if x["time"] != y["time"] || x["n"] != y["n"] {
			return 0
		}
		return cmp.Compare(x["k"].(float64), y["k"].(float64))
	})
}

func userpost(post any) map[string]any {
	object, _ := post.(map[string]any)
	content, _ := object["userpost"].(map[string]any)
	return content
}

func withoutIDs(result any) any {
	lists, _ := result.(map[string]any)
	for _, list := range lists {
		messages, _ := list.([]any)
		for _, m := range messages {
			if message, ok := m.(map[string]any); ok {
				message["id"] = "number"
			}
		}
	}
	return result
}

var (
	dated    = regexp.MustCompile(`Date: [^\r]*`)
	pageSize = regexp.MustCompile(`Content-Length: \d+(\r\nContent-Type: text/html; charset=utf-8)`)
	position = regexp.MustCompile(`"id":\d+`)
	htmlPath = regexp.MustCompile(`'<b>[^<]*html/`)
)

// compareHTTP compares head and body byte by byte, but for the date and the daemon's directory.
func (p *play) compareHTTP(r record, answer []byte) {
	p.t.Helper()
	var want, have rawText
	require.NoError(p.t, json.Unmarshal(r.Response, &want))
	_, raw := r.request(p.t)
	if raw.Note != "" {
		_, body, _ := strings.Cut(want.HTTP, "\r\n\r\n")
		require.Equal(p.t, body, string(answer), "line %d: %s", r.Line, r.When)
		return
	}
	require.NoError(p.t, json.Unmarshal(answer, &have))
	clean := func(s string) string {
		s = dated.ReplaceAllString(s, "Date: -")
		s = pageSize.ReplaceAllString(s, "Content-Length: -$1")
		return htmlPath.ReplaceAllString(s, "'<b>html/")
	}
	require.Equal(p.t, clean(want.HTTP), clean(have.HTTP), "line %d: %s", r.Line, r.When)
	require.Equal(p.t, want.Closed, have.Closed, "line %d: %s", r.Line, r.When)
}

// compareBytes compares an answer that is not UTF-8.
func (p *play) compareBytes(r record, want string, answer []byte) {
	p.t.Helper()
	have := string(answer)
	if slices.Contains(unrecorded, r.Line) {
		want, have = position.ReplaceAllString(want, ""), position.ReplaceAllString(have, "")
	}
	require.Equal(p.t, want, have, "line %d: %s", r.Line, r.When)
}
