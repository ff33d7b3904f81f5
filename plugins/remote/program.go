package remote

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// State of a program.
type State string

// States.
const (
	Stopped  State = "stopped"
	Starting State = "starting"
	Running  State = "running"
	Waiting  State = "waiting" // before it is started again
)

// Times of the supervision.
const (
	firstPause   = 200 * time.Millisecond // before the second start
	longestPause = 30 * time.Second
	steady       = time.Minute // a run so long forgets the pauses before it
	memoryEvery  = time.Second
	healthEvery  = 5 * time.Second
)

// Program is one plugin: it keeps its program running, and has the stages and transports that it serves.
type Program struct {
	config  Config
	log     *slog.Logger
	journal *journal
	gate    sync.RWMutex // held for reading by calls of stages, for writing by one that has the program to itself

	cancel  context.CancelFunc // nil before Start
	stopped chan struct{}      // closed when the supervision has ended

	mu       sync.Mutex
	state    State
	changed  chan struct{} // closed when the state changes
	session  *session      // while Running
	last     Description   // of the last run
	restarts uint64
	trouble  error // why it ended last
	next     time.Time
	trusted  time.Time // when calls go together again
}

// New returns a plugin that is not started. It does no I/O.
func New(config Config, log *slog.Logger) (*Program, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	log = log.With("plugin", config.Name)
	return &Program{config: config, log: log, journal: newJournal(log), state: Stopped, changed: make(chan struct{})}, nil
}

// Name of the plugin in the configuration.
func (p *Program) Name() string { return p.config.Name }

// Start begins to run the program, and does not wait for it. Close ends it.
func (p *Program) Start(context.Context) error {
	if p.config.Memory > 0 && !measures {
		p.log.Warn("the memory of plugins cannot be measured on this system; the limit is not kept")
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.stopped = cancel, make(chan struct{})
	p.become(Starting, nil, nil)
	go p.supervise(ctx)
	return nil
}

// Close ends the program, gently for a few seconds, and everything that it has started.
func (p *Program) Close() error {
	if p.cancel != nil {
		p.cancel()
		<-p.stopped
	}
	return nil
}

// supervise keeps the program running.
func (p *Program) supervise(ctx context.Context) {
	defer close(p.stopped)
	defer p.become(Stopped, nil, nil)
	pause := firstPause
	for ctx.Err() == nil {
		began := time.Now()
		err := p.runOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) >= steady {
			pause = firstPause
		}
		wait := pause/2 + rand.N(pause/2)
		p.log.Warn("plugin ended; it is started again", "error", err, "in", wait.Round(time.Millisecond))
		p.wait(ctx, err, wait)
		pause = min(2*pause, longestPause)
	}
}

func (p *Program) wait(ctx context.Context, err error, pause time.Duration) {
	p.mu.Lock()
	p.next = time.Now().Add(pause)
	p.mu.Unlock()
	p.become(Waiting, nil, err)
	select {
	case <-ctx.Done():
	case <-time.After(pause):
		p.mu.Lock()
		p.restarts++
		p.mu.Unlock()
		p.become(Starting, nil, err)
	}
}

// runOnce runs the program until it ends or has to.
func (p *Program) runOnce(ctx context.Context) error {
	s, err := p.launch(ctx)
	if err != nil {
		return err
	}
	p.log.Info("plugin started", "pid", s.proc.pid(), "program", s.description.Name, "version", s.description.Version)
	p.become(Running, s, nil)
	p.attend(ctx, s)
	p.leave(s)
	s.close()
	return s.proc.why()
}

// leave notes that the session is over, and why where that is known.
func (p *Program) leave(s *session) {
	select {
	case <-s.done:
		p.become(Waiting, nil, s.proc.why())
	default:
		p.become(Waiting, nil, nil)
	}
}

// attend looks after the running program until it ends, has to end, or ctx does.
func (p *Program) attend(ctx context.Context, s *session) {
	memory, health := time.NewTicker(memoryEvery), time.NewTicker(healthEvery)
	defer memory.Stop()
	defer health.Stop()
	var asking sync.WaitGroup // a slow answer must not keep from looking at the memory
	defer asking.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.done:
			return
		case <-memory.C:
			if err := s.checkMemory(); err != nil {
				s.proc.kill(err)
			}
		case <-health.C:
			asking.Go(func() {
				if err := s.checkHealth(); err != nil {
					s.proc.kill(err)
				}
			})
		}
	}
}

// become notes a state and tells those who wait for it.
func (p *Program) become(state State, s *session, trouble error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state, p.session = state, s
	if s != nil {
		p.last = s.description
	}
	if trouble != nil {
		p.trouble = trouble
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// current returns the running session. While the program is starting it waits; an error is ErrUnavailable, or that of ctx.
func (p *Program) current(ctx context.Context) (*session, error) {
	for {
		p.mu.Lock()
		s, state, changed, err := p.session, p.state, p.changed, p.absence()
		p.mu.Unlock()
		switch {
		case s != nil:
			return s, nil
		case state != Starting:
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", err, ctx.Err())
		case <-changed:
		}
	}
}

// absence says why the program is not there.
func (p *Program) absence() error {
	switch {
	case p.state == Stopped:
		return fmt.Errorf("%w: it is not started", ErrUnavailable)
	case p.trouble == nil:
		return fmt.Errorf("%w: it is starting", ErrUnavailable)
	case p.state == Waiting && time.Until(p.next) > 0:
		return fmt.Errorf("%w: %w; it is started again in %v", ErrUnavailable, p.trouble, time.Until(p.next).Round(100*time.Millisecond))
	}
	return fmt.Errorf("%w: %w; it is being started again", ErrUnavailable, p.trouble)
}

// named puts the plugin's name before an error.
func (p *Program) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("plugin %q: %w", p.config.Name, err)
}

// Describe returns what the program says of itself. It waits until ctx ends for one that is starting. Outside of Start and [Program.Try] the
// program is started for this alone, and ended.
func (p *Program) Describe(ctx context.Context) (Description, error) {
	p.mu.Lock()
	running := p.session != nil
	p.mu.Unlock()
	if running || p.cancel != nil {
		s, err := p.current(ctx)
		if err != nil {
			return Description{}, p.named(err)
		}
		return s.description, nil
	}
	var description Description
	err := p.Try(ctx, func(*Program) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		description = p.last
		return nil
	})
	return description, err
}

// Try starts the program once, has it used, and ends it. The error of a start that fails says why.
func (p *Program) Try(ctx context.Context, use func(*Program) error) error {
	s, err := p.launch(ctx)
	if err != nil {
		return p.named(err)
	}
	p.become(Running, s, nil)
	err = use(p)
	p.become(Stopped, nil, nil)
	s.close()
	return err
}

// Status is a plugin's account of itself.
type Status struct {
	Name         string    `json:"name"`
	State        State     `json:"state"`
	Program      string    `json:"program,omitempty"` // what it calls itself
	Version      string    `json:"version,omitempty"`
	PID          int       `json:"pid,omitempty"`
	Since        time.Time `json:"since,omitzero"` // of this run
	Restarts     uint64    `json:"restarts"`
	Error        string    `json:"error,omitempty"` // why it ended last
	Memory       int64     `json:"memory,omitempty"`
	MemoryLimit  int64     `json:"memory_limit,omitempty"`
	LinesSkipped uint64    `json:"lines_skipped,omitempty"` // of its output, because they were too many
}

// Status returns how the plugin is.
func (p *Program) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	status := Status{
		Name: p.config.Name, State: p.state, Program: p.last.Name, Version: p.last.Version, Restarts: p.restarts,
		MemoryLimit: p.config.Memory, LinesSkipped: p.journal.skippedLines(),
	}
	if p.trouble != nil {
		status.Error = p.trouble.Error()
	}
	if s := p.session; s != nil {
		status.PID, status.Since, status.Memory = s.proc.pid(), s.since, s.memory.Load()
	}
	return status
}
