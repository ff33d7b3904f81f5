package configs

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a configuration file, in the form
//
//	FILE:LINE: KEY: what is wrong; what would be right
type Problem struct {
	File string
	Line int    // from 1; 0 when the file could not be read at all
	Key  string // as in "routes[0].batch.period"; empty when the file as a whole is meant
	Text string
}

func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": ")
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// Problems is everything that is wrong with a configuration file, in the order of its lines.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.Error()
	}
	return strings.Join(lines, "\n")
}

// in says whether there is a problem with the key at the path, or with one in it.
func (p Problems) in(path string) bool {
	return len(p) == maxProblems || slices.ContainsFunc(p, func(problem Problem) bool {
		rest, in := strings.CutPrefix(problem.Key, path)
		return in && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// Unwrap gives errors.As each problem.
func (p Problems) Unwrap() []error {
	errs := make([]error, len(p))
	for i, problem := range p {
		errs[i] = problem
	}
	return errs
}

// source knows where in a file each key is.
type source struct {
	file  string
	lines map[string]int // of each key that was read, by its path
}

// problem returns a problem at the line of the path, or of the nearest thing around it that is in the file.
func (s source) problem(path, text string) Problem {
	at := path
	line, found := s.lines[at]
	for !found && at != "" {
		at = parent(at)
		line, found = s.lines[at]
	}
	return Problem{File: s.file, Line: max(line, 1), Key: path, Text: text}
}

// under returns the path of a key in the mapping at path.
func under(path, key string) string {
	switch {
	case path == "":
		return key
	case key == "" || strings.HasPrefix(key, "["):
		return path + key
	}
	return path + "." + key
}

// parent returns the path of what holds the path.
func parent(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }
