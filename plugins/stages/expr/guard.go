package expr

import (
	"errors"
	"fmt"
	"strings"

	lang "github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm/runtime"
)

// Names of functions that nobody can write.
const (
	textFunc = "(text)"
	jsonFunc = "(json)"
	stepFunc = "(step)"
	plusFunc = "(plus)"
	joinFunc = "(concat)"
)

// guard changes a parsed expression so that it is bounded, and the payload is read only where its text or JSON is used.
type guard struct{ err error }

// Visit implements [ast.Visitor].
func (g *guard) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		switch n.Value {
		case "text":
			ast.Patch(node, callOf(textFunc))
		case "json":
			ast.Patch(node, callOf(jsonFunc))
		case "$env":
			g.err = errors.New("$env is not available; write the names by themselves")
		}
	case *ast.PredicateNode:
		// Each turn of a loop is counted first.
		n.Node = &ast.SequenceNode{Nodes: []ast.Node{callOf(stepFunc), n.Node}}
	case *ast.BinaryNode:
		if n.Operator != "+" || isNumber(n.Left) || isNumber(n.Right) {
			return
		}
		name := plusFunc
		if isString(n.Left) && isString(n.Right) {
			name = joinFunc
		}
		call := callOf(name, n.Left, n.Right)
		call.SetNature(*n.Nature())
		ast.Patch(node, call)
	}
}

func callOf(name string, arguments ...ast.Node) *ast.CallNode {
	return &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: arguments}
}

func isNumber(n ast.Node) bool { return n.Nature().IsNumber() }
func isString(n ast.Node) bool { return n.Nature().IsString() }

var (
	errSteps = fmt.Errorf("more than %d turns of loops", maxSteps)
	errBytes = fmt.Errorf("more than %d MiB of text", maxBytes>>20)
)

// spend counts bytes that are made or read.
func (m *machine) spend(n int64) error {
	if n < 0 || n > maxBytes-m.bytes {
		return errBytes
	}
	m.bytes += n
	return nil
}

// functions are those that the guard puts in, and bounded ones in the place of the language's own.
func (m *machine) functions() []lang.Option {
	return []lang.Option{
		lang.Function(textFunc, func(...any) (any, error) { return m.text() }, new(func() string)),
		lang.Function(jsonFunc, func(...any) (any, error) { return m.json() }, new(func() any)),
		lang.Function(stepFunc, func(...any) (any, error) { return nil, m.step() }, new(func() any)),
		lang.Function(plusFunc, func(p ...any) (any, error) { return m.plus(p[0], p[1]) }, new(func(a, b any) any)),
		lang.Function(joinFunc, func(p ...any) (any, error) { return m.plus(p[0], p[1]) }, new(func(a, b string) string)),
		lang.DisableBuiltin("replace"),
		lang.Function("replace", m.replace, strings.ReplaceAll, new(func(s, old, by string, n int) string)),
		lang.DisableBuiltin("repeat"),
		lang.Function("repeat", m.repeat, strings.Repeat),
		lang.DisableBuiltin("join"),
		lang.Function("join", m.join, new(func([]any, string) string), new(func([]any) string),
			new(func([]string, string) string), new(func([]string) string)),
	}
}

func (m *machine) step() error {
	if m.steps++; m.steps > maxSteps {
		return errSteps
	}
	return nil
}

func (m *machine) text() (any, error) {
	if err := m.spend(int64(len(m.names.Payload))); err != nil {
		return nil, err
	}
	if !m.hasText {
		m.names.Text, m.hasText = string(m.names.Payload), true
	}
	return m.names.Text, nil
}

func (m *machine) plus(a, b any) (any, error) {
	if x, ok := a.(string); ok {
		if y, ok := b.(string); ok {
			if err := m.spend(int64(len(x)) + int64(len(y))); err != nil {
				return nil, err
			}
			return x + y, nil
		}
	}
	return runtime.Add(a, b), nil
}

func (m *machine) replace(p ...any) (any, error) {
	s, old, by, n := p[0].(string), p[1].(string), p[2].(string), -1
	if len(p) == 4 {
		n = runtime.ToInt(p[3])
	}
	times := strings.Count(s, old)
	if n >= 0 {
		times = min(times, n)
	}
	if err := m.spend(int64(len(s)) + int64(times)*int64(len(by)-len(old))); err != nil {
		return nil, err
	}
	return strings.Replace(s, old, by, n), nil
}

func (m *machine) repeat(p ...any) (any, error) {
	s, n := p[0].(string), runtime.ToInt(p[1])
	if n < 0 {
		return nil, fmt.Errorf("repeat %d times", n)
	}
	if err := m.spend(int64(len(s)) * int64(min(n, maxBytes+1))); err != nil {
		return nil, err
	}
	return strings.Repeat(s, n), nil
}

func (m *machine) join(p ...any) (any, error) {
	glue := ""
	if len(p) == 2 {
		glue = p[1].(string)
	}
	parts, ok := p[0].([]string)
	if !ok {
		list, ok := p[0].([]any)
		if !ok {
			return nil, fmt.Errorf("join of %T, not a list", p[0])
		}
		for _, one := range list {
			s, ok := one.(string)
			if !ok {
				return nil, fmt.Errorf("join of a list with %T in it, not texts only", one)
			}
			parts = append(parts, s)
		}
	}
	size := int64(len(glue)) * int64(len(parts))
	for _, one := range parts {
		size += int64(len(one))
	}
	if err := m.spend(size); err != nil {
		return nil, err
	}
	return strings.Join(parts, glue), nil
}
