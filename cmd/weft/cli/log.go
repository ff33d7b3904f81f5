package cli

import (
	"fmt"
	"io"
	"log/slog"
)

// logger returns the log that the flags ask for. Its level is at least the given one unless a flag says otherwise.
func (g *globals) logger(w io.Writer, level slog.Level) (*slog.Logger, error) {
	if g.logLevel != "" {
		if err := level.UnmarshalText([]byte(g.logLevel)); err != nil {
			return nil, usageError{fmt.Errorf("unknown log level %q; write debug, info, warn or error", g.logLevel)}
		}
	}
	options := &slog.HandlerOptions{Level: level}
	switch g.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, usageError{fmt.Errorf("unknown log format %q; write text or json", g.logFormat)}
}
