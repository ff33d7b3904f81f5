package twistertest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A refusal is the error of a call.
type refusal struct {
	code    int
	message string
}

func (r *refusal) Error() string { return fmt.Sprintf("%s (%d)", r.message, r.code) }

func refuse(code int, message string) error { return &refusal{code, message} }

// A method is one call of the daemon.
type method struct {
	counts []int  // of parameters that it takes
	types  string // of the parameters: s(tring), i(nt), b(ool), a(rray), o(bject), v(alue)
	help   string // the answer to a wrong number of them
	public bool   // works with -public_server_mode
	unlock bool   // needs the wallet unlocked
	run    func(d *Daemon, p params) (any, error)
}

// params are the parameters of a call, of the right types.
type params struct {
	list []any
	// wait and hang are set by the call: how long its answer takes, and whether it never comes.
	wait *time.Duration
	hang *bool
}

func (p params) str(i int) string {
	s, _ := p.list[i].(string)
	return s
}

// int cuts to 32 bits without a word, as the daemon does.
func (p params) int(i int) int { return p.intOr(i, 0) }

func (p params) intOr(i, missing int) int {
	if i >= len(p.list) {
		return missing
	}
	n, _ := p.list[i].(int64)
	return int(int32(n))
}

func (p params) bool(i int) bool {
	return i < len(p.list) && p.list[i] == true
}

func (p params) strs(i int) ([]string, error) {
	list, _ := p.list[i].([]any)
	names := make([]string, 0, len(list))
	for _, value := range list {
		name, ok := value.(string)
		if !ok {
			return nil, wrongType(value, 's')
		}
		names = append(names, name)
	}
	return names, nil
}

// check holds parameters against what a method takes.
func (m method) check(list []any) error {
	if !slices.Contains(m.counts, len(list)) {
		return refuse(-1, m.help)
	}
	for i, value := range list {
		if want := m.types[i]; want != 'v' && typeOf(value) != want {
			return wrongType(value, want)
		}
	}
	return nil
}

var typeNames = map[byte]string{
	's': "str", 'i': "int", 'b': "bool", 'a': "array", 'o': "obj", 'f': "real", 'n': "null",
}

func typeOf(value any) byte {
	switch value.(type) {
	case string:
		return 's'
	case int64, number:
		return 'i'
	case bool:
		return 'b'
	case []any:
		return 'a'
	case map[string]any:
		return 'o'
	case float64:
		return 'f'
	}
	return 'n'
}

func wrongType(value any, want byte) error {
	return refuse(-1, "value is type "+typeNames[typeOf(value)]+", expected "+typeNames[want])
}

// errLocked and errPublic are the same for every call.
var (
	errLocked = refuse(-13, "Error: Please enter the wallet passphrase with walletpassphrase first.")
	errPublic = refuse(-23, "Forbidden: accessing this method is not allowed on a public server")
)

// call carries out one call under the lock.
func (d *Daemon) call(name string, p params) (any, error) {
	m, ok := methods[name]
	d.net.mu.Lock()
	defer d.net.mu.Unlock()
	switch {
	case !ok:
		return nil, refuse(-32601, "Method not found")
	case d.public && !m.public:
		return nil, errPublic
	}
	if err := m.check(p.list); err != nil {
		return nil, err
	}
	if m.unlock && d.isLocked() {
		return nil, errLocked
	}
	return m.run(d, p)
}

// pace returns how long a call takes before it has any effect. Signing and encrypting keep the processor busy: such calls wait for
// each other, on however many connections they come.
func (d *Daemon) pace(name string) time.Duration {
	var cost time.Duration
	switch speed := d.net.opts.Speed; name {
	case "newdirectmsg", "newgroupinvite":
		cost = speed.DM
	case "newpostmsg":
		cost = speed.Post
	}
	if cost <= 0 {
		return 0
	}
	d.net.mu.Lock()
	defer d.net.mu.Unlock()
	now := time.Now()
	if d.busy.Before(now) {
		d.busy = now
	}
	d.busy = d.busy.Add(cost)
	return d.busy.Sub(now)
}

// Methods returns the names of the calls that a daemon answers, sorted.
func Methods() []string {
	names := make([]string, 0, len(methods))
	for name := range methods {
		names = append(names, name)
	}
	slices.SortFunc(names, strings.Compare)
	return names
}
