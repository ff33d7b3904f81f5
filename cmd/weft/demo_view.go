package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/weft-relay/weft/plugins"
)

// recent keeps the last message of each topic, the newest last, and counts all.
type recent struct {
	mu    sync.Mutex
	count uint64
	last  []plugins.Message
}

// maxRecent is how many topics a site's part of the view has room for.
const maxRecent = 6

func (r *recent) add(m plugins.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
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

func (r *recent) snapshot() (uint64, []plugins.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count, append([]plugins.Message(nil), r.last...)
}

// view shows the sites once a second: on a terminal in place, elsewhere one line after the other.
type view struct {
	out   io.Writer
	sites []*demoSite
}

func (v view) run(ctx context.Context) {
	file, ok := v.out.(*os.File)
	inPlace := ok && term.IsTerminal(int(file.Fd()))
	if !inPlace {
		fmt.Fprint(v.out, v.invitation())
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	before := make([]uint64, len(v.sites))
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if inPlace {
			fmt.Fprint(v.out, "\x1b[H\x1b[2J"+v.invitation()+v.page(before))
		} else {
			fmt.Fprintln(v.out, v.line(before))
		}
	}
}

// invitation says what to do in another terminal.
func (v view) invitation() string {
	weft, err := os.Executable()
	if err != nil {
		weft = "weft"
	}
	alice, bob := v.sites[0], v.sites[1]
	return fmt.Sprintf(`Two sites are running; Ctrl-C stops them. In another terminal, watch bob's broker:

  %[1]s sub --url %[3]s -t 'hello/#' -v

and in a third one publish at alice's, and see it arrive:

  %[1]s pub --url %[2]s -t hello/bob -m 'hello from alice'

How alice's node is:

  %[1]s status --address %[4]s

`, weft, alice.broker, bob.broker, alice.admin)
}

// page is the whole view. It puts into before how many messages each site has seen.
func (v view) page(before []uint64) string {
	var b strings.Builder
	for i, s := range v.sites {
		count, last := s.seen.snapshot()
		status := s.node.Status()
		fmt.Fprintf(&b, "%-6s %4d messages/s at the broker, %d in all, %d of them from peers\n", s.name, count-before[i], count, status.Incoming.Delivered)
		before[i] = count
		for _, l := range status.Lanes {
			fmt.Fprintf(&b, "  lane %-16s %-8s queued %-5d sent %-7d in %d frames\n", l.Name, l.State, l.Depth, l.Delivered, l.Frames)
		}
		for _, m := range last {
			fmt.Fprintf(&b, "  %-18s %s\n", m.Topic, m.Payload)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// line is the view in one line.
func (v view) line(before []uint64) string {
	var parts []string
	for i, s := range v.sites {
		count, last := s.seen.snapshot()
		part := fmt.Sprintf("%s: %d/s, %d from peers", s.name, count-before[i], s.node.Status().Incoming.Delivered)
		before[i] = count
		if len(last) > 0 {
			m := last[len(last)-1]
			part += fmt.Sprintf(", last %s %s", m.Topic, m.Payload)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, " | ")
}
