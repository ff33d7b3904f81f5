package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	maxLine        = 4 << 10   // of a logged line; the rest of it is cut off
	linesPerSecond = 10        // logged, after the first
	linesAtOnce    = 100       // logged
	bytesPerSecond = 1 << 20   // read: a program that writes more waits
	bytesAtOnce    = 256 << 10 // read
)

// journal logs what a program writes, line by line, within bounds. It lives as long as its plugin.
type journal struct {
	log   *slog.Logger
	lines *rate.Limiter
	bytes *rate.Limiter

	mu      sync.Mutex
	skipped uint64 // since the last line that was logged
	total   uint64 // of skipped lines
	cry     string // the line that says best why the program ended
}

func newJournal(log *slog.Logger) *journal {
	return &journal{log: log, lines: rate.NewLimiter(linesPerSecond, linesAtOnce), bytes: rate.NewLimiter(bytesPerSecond, bytesAtOnce)}
}

// copy logs what comes from the reader, until it ends. When ctx is done nothing holds it up any more.
func (j *journal) copy(ctx context.Context, from io.Reader, stream string) {
	w := j.writer(ctx, stream)
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		_, _ = w.Write(buffer[:n])
		if err != nil {
			w.end()
			return
		}
	}
}

// writer returns what logs the lines of one stream.
func (j *journal) writer(ctx context.Context, stream string) *lineWriter {
	return &lineWriter{ctx: ctx, journal: j, stream: stream}
}

type lineWriter struct {
	ctx     context.Context
	journal *journal
	stream  string
	line    []byte // that has not ended, up to maxLine
}

func (w *lineWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		chunk := rest[:min(len(rest), bytesAtOnce)]
		rest = rest[len(chunk):]
		_ = w.journal.bytes.WaitN(w.ctx, len(chunk)) // a flood waits in its pipe
		w.split(chunk)
	}
	return len(p), nil
}

func (w *lineWriter) split(chunk []byte) {
	for {
		part, rest, ended := bytes.Cut(chunk, []byte("\n"))
		w.line = append(w.line, part[:min(len(part), maxLine-len(w.line))]...)
		if !ended {
			return
		}
		w.end()
		chunk = rest
	}
}

// end logs the line that has come so far.
func (w *lineWriter) end() {
	if line := strings.ToValidUTF8(strings.TrimRight(string(w.line), "\r"), "\uFFFD"); line != "" {
		w.journal.record(w.stream, line)
	}
	w.line = w.line[:0]
}

func (j *journal) record(stream, line string) {
	level, text, attrs := parseLine(line)
	j.mu.Lock()
	if !settles(j.cry) {
		j.cry = text
	}
	if !j.log.Enabled(context.Background(), level) {
		j.mu.Unlock()
		return
	}
	if !j.lines.Allow() {
		j.skipped++
		j.total++
		j.mu.Unlock()
		return
	}
	skipped := j.skipped
	j.skipped = 0
	j.mu.Unlock()
	if skipped > 0 {
		attrs = append(attrs, slog.Uint64("lines_skipped", skipped))
	}
	j.log.LogAttrs(context.Background(), level, text, append(attrs, slog.String("stream", stream))...)
}

// settles says whether a line tells why a program ends; what comes after it is the stack.
func settles(line string) bool {
	return strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") || strings.Contains(line, "Error: ")
}

// begin forgets what the last run has said.
func (j *journal) begin() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.cry = ""
}

// lastWords returns the line that says best why the program ended.
func (j *journal) lastWords() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.cry
}

func (j *journal) skippedLines() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.total
}

// parseLine returns what a line says: a JSON object as log/slog writes it, or plain text.
func parseLine(line string) (slog.Level, string, []slog.Attr) {
	if !strings.HasPrefix(line, "{") {
		return slog.LevelInfo, line, nil
	}
	var fields map[string]any
	if json.Unmarshal([]byte(line), &fields) != nil {
		return slog.LevelInfo, line, nil
	}
	message, _ := fields["msg"].(string)
	word, _ := fields["level"].(string)
	var level slog.Level
	if message == "" || level.UnmarshalText([]byte(word)) != nil {
		return slog.LevelInfo, line, nil
	}
	delete(fields, "msg")
	delete(fields, "level")
	delete(fields, "time")
	if len(fields) == 0 {
		return level, message, nil
	}
	return level, message, []slog.Attr{slog.Any("fields", fields)}
}

// graceOutput is how long what a program wrote last may take to be read.
const graceOutput = time.Second
