// Package plugintest holds programs to the protocol of plugins: it starts a program as a node does, asks what a node asks and what none
// would, and has stagetest and transporttest look at the types that it has. It is what `weft plugins test` runs.
package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/plugins/remote"
)

// Kit says what is tested, and how.
type Kit struct {
	Command []string      // the program and its arguments
	Timeout time.Duration // for a start or a call; a fifth of it for an end
	Log     *slog.Logger  // has what the program writes

	Kind    remote.Kind // of the only type that is looked at; empty for all types
	Type    string      // its name
	Options []string    // of it: JSON objects; for a transport those of one node each
	Input   []stage.Message

	Stores, Deduplicates bool // as transporttest.Features has them

	// Report is told of each result as soon as it is there.
	Report func(Result)
}

// Verdict of a check.
type Verdict int

// Verdicts.
const (
	OK Verdict = iota
	Failed
	NotChecked
)

// Result of one check.
type Result struct {
	Part    string // what of the program was looked at
	Check   string // the rule
	Verdict Verdict
	Reason  string // empty where the verdict is OK
}

// UsageError is the error of a kit that cannot be used as it is.
type UsageError struct{ error }

func (e UsageError) Unwrap() error { return e.error }

const (
	// maxEnds is how often a program may end or hang while one part of it is looked at; then nothing more of that is.
	maxEnds = 3
	// maxFailedCases is how many cases of transporttest may fail, each of which may take a minute.
	maxFailedCases = 5
	// checkLimit is how long a check of a stage may take with all its calls.
	checkLimit = 3 * time.Minute
)

// Run tests the program. An error is a [UsageError], or that of ctx; what is wrong with the program is a result.
func (k Kit) Run(ctx context.Context) error {
	r := &run{Kit: k, ctx: ctx, part: "program"}
	defer r.stop()
	if !r.begin() {
		return ctx.Err()
	}
	types, err := r.wanted()
	if err != nil {
		return err
	}
	r.answers()
	for _, t := range types {
		r.enter(fmt.Sprintf("%s %s", t.Kind, t.Name))
		if t.Kind == remote.KindStage {
			r.stage(t)
		} else {
			r.transport(t)
		}
	}
	r.enter("end of the program")
	r.ends(types)
	return ctx.Err()
}

// run is one use of a kit.
type run struct {
	Kit
	ctx   context.Context
	part  string
	trial *remote.Trial // nil while the program does not run
	has   remote.Description
	ended int // how often it has in this part
}

func (r *run) enter(part string) { r.part, r.ended = part, 0 }

func (r *run) report(check string, verdict Verdict, reason string) {
	if r.ctx.Err() == nil {
		r.Report(Result{r.part, check, verdict, strings.ReplaceAll(reason, `plugin "`+pluginName+`": `, "")})
	}
}

func (r *run) skip(check, format string, args ...any) {
	r.report(check, NotChecked, fmt.Sprintf(format, args...))
}

// note reports an error of a check, or that there was none.
func (r *run) note(check string, err error) {
	if err != nil {
		r.report(check, Failed, err.Error())
	} else {
		r.report(check, OK, "")
	}
}

// pluginName is what the program is called while it is tested.
const pluginName = "tested"

func (r *run) launch() (*remote.Trial, error) {
	return remote.Launch(r.ctx, remote.Config{Name: pluginName, Command: r.Command, Timeout: r.Timeout}, r.Log)
}

// begin starts the program for the first time, and says whether it can be used.
func (r *run) begin() bool {
	trial, err := r.launch()
	if r.trial = trial; err == nil {
		r.has = trial.Description()
	}
	failed, isStart := errors.AsType[*remote.StartError](err)
	if err != nil && !isStart {
		r.report(string(remote.StepHandshake), Failed, err.Error())
		return false
	}
	for _, step := range []remote.Step{remote.StepHandshake, remote.StepHealth, remote.StepDescribe} {
		if isStart && failed.Step == step {
			r.report(string(step), Failed, err.Error())
			r.skip("everything else", "the program cannot be used")
			return false
		}
		r.report(string(step), OK, "")
	}
	return true
}

// running returns the program, started anew where it has ended.
func (r *run) running() (*remote.Trial, error) {
	if r.trial != nil {
		select {
		case <-r.trial.Ended():
			r.stop()
		default:
			return r.trial, nil
		}
	}
	if r.ended >= maxEnds {
		return nil, errTooOften
	}
	trial, err := r.launch()
	if err != nil {
		return nil, fmt.Errorf("start of the program: %w", err)
	}
	r.trial = trial
	return trial, nil
}

var errTooOften = fmt.Errorf("the program has ended, or did not answer, %d times; cure that first", maxEnds)

// stop ends the program, where it runs.
func (r *run) stop() {
	if r.trial != nil {
		_ = r.trial.Close() // which has no error
		r.trial = nil
	}
}

// check makes one check of the running program, and says whether it has met the rule.
func (r *run) check(name string, look func(context.Context, *remote.Trial) error) bool {
	trial, err := r.running()
	if errors.Is(err, errTooOften) {
		r.skip(name, "%v", err)
		return false
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(r.ctx, checkLimit)
		err = look(ctx, trial)
		if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("no end of it within %v; calls are to be quick: %w", checkLimit, err)
		}
		cancel()
	}
	if skipped, ok := errors.AsType[skip](err); ok {
		r.skip(name, "%v", skipped)
		return true
	}
	if trial != nil {
		select {
		case <-trial.Ended():
			r.ended++
			if err == nil {
				err = trial.Why()
			}
		default:
		}
	}
	r.note(name, err)
	return err == nil
}

// skip is the error of a check that has nothing to look at.
type skip string

func (s skip) Error() string { return string(s) }

// wanted returns the types that are to be looked at.
func (r *run) wanted() ([]remote.Type, error) {
	for _, options := range r.Options {
		var object map[string]json.RawMessage
		if err := json.Unmarshal([]byte(options), &object); err != nil || object == nil {
			return nil, UsageError{fmt.Errorf(`options %q are no JSON object; write them such as '{"port": "/dev/ttyUSB0"}'`, options)}
		}
	}
	if r.Kind != "" {
		t, err := r.has.Type(r.Kind, r.Type)
		if err != nil {
			return nil, UsageError{err}
		}
		return []remote.Type{t}, nil
	}
	if len(r.Options) > 0 && len(r.has.Types) > 1 {
		return nil, UsageError{fmt.Errorf("options are those of one type, and the program has %d; name the type", len(r.has.Types))}
	}
	return r.has.Types, nil
}

// options returns the options of a node, as Open takes them.
func (r *run) options(node int) []byte {
	if node < len(r.Options) {
		return []byte(r.Options[node])
	}
	return []byte("{}")
}
