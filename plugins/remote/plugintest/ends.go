package plugintest

import (
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/weft-relay/weft/plugins/remote"
)

// ends looks at how the program ends when a node wants it to.
func (r *run) ends(types []remote.Type) {
	r.stop()
	left, byInput := r.end("EndsWithItsInput", "the end of its standard input", types, (*remote.Trial).EndInput)
	more, bySignal := r.end("EndsOnSIGTERM", "SIGTERM", types, (*remote.Trial).Terminate)
	left = append(left, more...)
	switch {
	case !byInput && !bySignal:
		r.skip("NoProcessIsLeft", "the program has to end by itself first")
	case !remote.ShowsChildren:
		r.skip("NoProcessIsLeft", "this system does not show what a program has started")
	case len(left) > 0:
		r.note("NoProcessIsLeft", fmt.Errorf("processes that it has started go on without it, such as %d; they are to stay in its process group", left[0].Pid))
	default:
		r.note("NoProcessIsLeft", nil)
	}
}

// end starts the program, has it serve an instance of each type, and ends it. It returns whether it has ended, and what it has started and
// has not ended then.
func (r *run) end(name, by string, types []remote.Type, end func(*remote.Trial)) (left []*os.Process, ended bool) {
	trial, err := r.launch()
	if err != nil {
		r.note(name, fmt.Errorf("start of the program: %w", err))
		return nil, false
	}
	defer func() { _ = trial.Close() }() // which has no error
	for _, t := range types {
		_, _ = r.opened(r.ctx, trial, t, 0) // what is wrong with that is said elsewhere
	}
	children := trial.Children()
	end(trial)
	limit := r.Timeout / 5
	select {
	case <-trial.Ended():
		r.note(name, nil)
	case <-r.ctx.Done():
		return nil, false
	case <-time.After(limit):
		r.note(name, fmt.Errorf("it has not ended %v after %s; a node kills it 2s after that", limit, by))
		return nil, false
	}
	return stillThere(children, limit), true
}

// stillThere returns those of the processes that have not ended when the limit has passed.
func stillThere(all []*os.Process, limit time.Duration) []*os.Process {
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(limit); ; <-poll.C {
		all = slices.DeleteFunc(all, func(p *os.Process) bool { return !remote.Alive(p) })
		if len(all) == 0 || time.Now().After(deadline) {
			return all
		}
	}
}
