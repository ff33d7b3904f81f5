package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/weft-relay/weft/plugins"
)

// recent keeps the last message of each of the newest topics, in the order in which they were new, and counts all.
type recent struct {
	mu     sync.Mutex
	count  uint64
	newest plugins.Message
	last   []plugins.Message
}

const (
	maxRecent = 6  // topics that a site's part of the view shows at most
	minWidth  = 40 // characters of a terminal that the view makes sense on
)

func (r *recent) add(m plugins.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	r.newest = m
	for i := range r.last {
		if r.last[i].Topic == m.Topic {
			r.last[i] = m
			return
		}
	}
	if r.last = append(r.last, m); len(r.last) > maxRecent {
		r.last = r.last[1:]
	}
}

func (r *recent) snapshot() (count uint64, newest plugins.Message, last []plugins.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count, r.newest, append(last, r.last...)
}

// view shows the sites once a second: on a terminal in place, below the invitation, elsewhere and on a terminal without room
// for it one line after the other.
type view struct {
	out   io.Writer
	sites []*demoSite
}

// size of a terminal, in characters; zero when there is none.
type size struct{ width, height int }

func (v view) run(ctx context.Context) {
	now := v.size()
	fmt.Fprint(v.out, v.invitation())
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	before := make([]uint64, len(v.sites))
	drawn := 0 // lines of the page on the terminal
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s := v.size(); s != now { // the terminal has moved what was drawn
			now, drawn = s, 0
			fmt.Fprint(v.out, "\x1b[H\x1b[2J"+v.invitation())
		}
		page := v.page(before, now)
		if page == nil {
			fmt.Fprintln(v.out, now.cut(v.line(before)))
			continue
		}
		if drawn > 0 {
			fmt.Fprintf(v.out, "\x1b[%dA\x1b[J", drawn)
		}
		fmt.Fprintln(v.out, strings.Join(page, "\n"))
		drawn = len(page)
	}
}

func (v view) size() (s size) {
	if file, ok := v.out.(*os.File); ok {
		s.width, s.height, _ = term.GetSize(int(file.Fd())) // zero where it is no terminal
	}
	return s
}

// cut makes a line fit the terminal: one that wraps would take two. What could move the cursor is shown as a dot.
func (s size) cut(line string) string {
	if s.width == 0 {
		return line
	}
	runes := []rune(line)
	for i, r := range runes {
		if !unicode.IsPrint(r) {
			runes[i] = '.'
		}
	}
	return string(runes[:min(len(runes), s.width-1)])
}

// rows is how many lines of the terminal a text takes.
func (s size) rows(text string) (n int) {
	for line := range strings.Lines(text) {
		n += 1 + max(0, utf8.RuneCountInString(strings.TrimSuffix(line, "\n"))-1)/s.width
	}
	return n
}

// invitation says what to do in another terminal.
func (v view) invitation() string {
	weft, err := os.Executable()
	if err != nil {
		weft = "weft"
	}
	alice, bob, carol := v.sites[0], v.sites[1], v.sites[2]
	return fmt.Sprintf(`Three sites are running; Ctrl-C stops them. In another terminal watch bob's broker,
  %[1]s sub --url %[3]s -t 'hello/#' -v
in a third one publish at alice's and see it arrive,
  %[1]s pub --url %[2]s -t hello/bob -m 'hello from alice'
ask carol's for the door at alice's, a retained value that whoever comes gets at once,
  %[1]s sub --url %[4]s -t 'doors/#' -v -C 1
and see how alice's node is:
  %[1]s status --address %[5]s

`, weft, alice.url(), bob.url(), carol.url(), alice.admin)
}

// page is the whole view in lines that fit the terminal, or nil if it has no room for them. It puts into before how many
// messages each site has seen.
func (v view) page(before []uint64, s size) []string {
	if s.width < minWidth {
		return nil
	}
	var heads [][]string
	used := 0
	counts := make([]uint64, len(v.sites))
	for i, site := range v.sites {
		counts[i], _, _ = site.seen.snapshot()
		heads = append(heads, site.head(counts[i]-before[i], counts[i]))
		used += len(heads[i]) + 1
	}
	room := s.height - 1 - used
	if room < 0 {
		return nil
	}
	if below := room - s.rows(v.invitation()); below >= len(v.sites) { // else the invitation scrolls away
		room = below
	}
	copy(before, counts)
	var lines []string
	for i, site := range v.sites {
		lines = append(lines, heads[i]...)
		_, _, last := site.seen.snapshot()
		for _, m := range last[max(0, len(last)-room/len(v.sites)):] {
			lines = append(lines, fmt.Sprintf("  %-18s %s", m.Topic, m.Payload))
		}
		lines = append(lines, "")
	}
	for i := range lines {
		lines[i] = s.cut(lines[i])
	}
	return lines
}

// head is what the page says of a site above its messages.
func (s *demoSite) head(rate, count uint64) []string {
	status := s.node.Status()
	lines := []string{fmt.Sprintf("%-6s %4d messages/s at the broker, %d in all, %d from peers", s.name, rate, count, status.Incoming.Delivered)}
	for _, l := range status.Lanes {
		if l.Depth == 0 && l.Delivered == 0 {
			continue // nothing has gone there yet
		}
		lines = append(lines, fmt.Sprintf("  lane %-16s %-8s queued %-5d sent %-7d in %d frames", l.Name, l.State, l.Depth, l.Delivered, l.Frames))
	}
	return lines
}

// line is the view in one line.
func (v view) line(before []uint64) string {
	var parts []string
	for i, s := range v.sites {
		count, newest, _ := s.seen.snapshot()
		part := fmt.Sprintf("%s: %d/s, %d from peers", s.name, count-before[i], s.node.Status().Incoming.Delivered)
		before[i] = count
		if count > 0 {
			part += fmt.Sprintf(", last %s %s", newest.Topic, newest.Payload)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, " | ")
}
