package expr

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	lang "github.com/expr-lang/expr"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"

	"github.com/weft-relay/weft/pipeline/stage"
)

// What evaluating the expressions for one message may take. An expression has no loops but those over lists, and each turn counts.
const (
	maxNodes = 1000      // of an expression
	maxSteps = 1_000_000 // turns of loops
	maxBytes = 16 << 20  // of texts that are made, and of a payload that is read as text or JSON
	maxItems = 1_000_000 // of lists and mappings that are made
)

// names are what expressions know of a message.
type names struct {
	Topic   string    `expr:"topic"`
	Payload []byte    `expr:"payload"`
	Text    string    `expr:"text"` // made when it is asked for, like JSON
	JSON    any       `expr:"json"`
	QoS     int       `expr:"qos"`
	Retain  bool      `expr:"retain"`
	Time    time.Time `expr:"time"`
	Origin  string    `expr:"origin"`
}

// kind is what an expression results in.
type kind int

const (
	anything kind = iota
	truth
	text
	number
)

type program = vm.Program

// machine evaluates expressions about one message after the other.
type machine struct {
	names   names
	hasText bool
	hasJSON bool
	jsonErr error
	steps   int
	bytes   int64
	vm      vm.VM
}

// compile reads an expression. What it may not know, and types that do not fit, are errors.
func (m *machine) compile(source string, k kind) (*program, error) {
	guard := &guard{}
	options := append(m.functions(),
		lang.Env(&names{}), lang.MaxNodes(maxNodes), lang.Patch(guard),
		lang.DisableBuiltin("now"),  // the same messages make the same results
		lang.DisableBuiltin("uniq"), // takes the square of a list's length
	)
	switch k {
	case truth:
		options = append(options, lang.AsBool())
	case text:
		options = append(options, lang.AsKind(reflect.String))
	case number:
		options = append(options, lang.AsInt())
	}
	p, err := lang.Compile(source, options...)
	if err == nil {
		err = guard.err
	}
	return p, help(inOneLine(err, true))
}

// help adds what was probably meant to an error of compiling.
func help(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	name, unknown := strings.CutPrefix(text, "unknown name ")
	name, _, _ = strings.Cut(name, ",")
	switch {
	case unknown && name != "now" && name != "uniq":
		return fmt.Errorf(`%w; a part of the payload is written json.%s, a text "%s"`, err, name, name)
	case strings.Contains(text, `unexpected token Operator("=")`):
		return fmt.Errorf("%w; to compare, write ==", err)
	case strings.Contains(text, "[]uint8"), strings.Contains(text, "array elements can only be selected using an integer"):
		return fmt.Errorf("%w; payload is bytes: write text for its text, json for what it has as JSON", err)
	}
	return err
}

// load makes the message the one that expressions are about.
func (m *machine) load(message stage.Message) {
	m.names = names{
		Topic: message.Topic, Payload: message.Payload, QoS: int(message.QoS), Retain: message.Retain,
		Time: message.Time, Origin: message.Origin,
	}
	m.hasText, m.hasJSON, m.jsonErr = false, false, nil
	m.steps, m.bytes = 0, 0
}

// release lets go of the message.
func (m *machine) release() { m.names = names{} }

func (m *machine) run(p *program) (any, error) {
	m.vm.MemoryBudget = maxItems
	value, err := m.vm.Run(p, &m.names)
	return value, inOneLine(err, false)
}

// inOneLine leaves out the drawing that the library's errors have.
func inOneLine(err error, place bool) error {
	drawn, ok := errors.AsType[*file.Error](err)
	switch {
	case !ok:
		return err
	case place && drawn.Line > 1:
		return fmt.Errorf("%s, in line %d, column %d", drawn.Message, drawn.Line, drawn.Column+1)
	case place:
		return fmt.Errorf("%s, at column %d", drawn.Message, drawn.Column+1)
	}
	return errors.New(strings.Replace(drawn.Message, "interface conversion: interface {}", "a value", 1))
}
