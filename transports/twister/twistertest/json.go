package twistertest

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// The daemon's JSON: what its old json_spirit takes and gives, which is not quite what the standard says. Values are nil, bool,
// int64, float64, string, []any and map[string]any. Strings are bytes: nothing checks that they are UTF-8.

// maxDepth bounds the nesting of a request.
const maxDepth = 200

var errParse = errors.New("parse error")

// uninitialized is what a value becomes that the daemon's bencoding has no type for.
const uninitialized = "<uninitialized>"

// A number is a JSON number outside of 64 bits, kept as it was written; only an id may be one.
type number string

type parser struct {
	text  string
	depth int
}

// parseJSON takes one value and, as the daemon does, ignores whatever follows it.
func parseJSON(text string) (any, error) {
	p := &parser{text: text}
	return p.value()
}

func (p *parser) space() { p.text = strings.TrimLeft(p.text, " \t\r\n\v\f") }

func (p *parser) take(token string) bool {
	rest, ok := strings.CutPrefix(p.text, token)
	if ok {
		p.text = rest
	}
	return ok
}

func (p *parser) value() (any, error) {
	p.space()
	p.depth++
	defer func() { p.depth-- }()
	switch {
	case p.text == "" || p.depth > maxDepth:
		return nil, errParse
	case p.take(`"`):
		return p.str()
	case p.take("["):
		return p.array()
	case p.take("{"):
		return p.object()
	case p.take("null"):
		return nil, nil
	case p.take("true"):
		return true, nil
	case p.take("false"):
		return false, nil
	}
	return p.number()
}

// str reads to the closing quote. Raw control characters pass.
func (p *parser) str() (string, error) {
	var b strings.Builder
	for i := 0; i < len(p.text); i++ {
		switch c := p.text[i]; c {
		case '"':
			p.text = p.text[i+1:]
			return b.String(), nil
		case '\\':
			i++
			if i == len(p.text) {
				return "", errParse
			}
			i += unescape(&b, p.text[i:])
		default:
			b.WriteByte(c)
		}
	}
	return "", errParse
}

// unescape writes what follows a backslash and returns how many bytes more than one it took. It cuts \uXXXX to its low byte and
// drops escapes that it does not know, as json_spirit does.
func unescape(b *strings.Builder, s string) int {
	switch s[0] {
	case '"', '\\', '/':
		b.WriteByte(s[0])
	case 'b':
		b.WriteByte('\b')
	case 'f':
		b.WriteByte('\f')
	case 'n':
		b.WriteByte('\n')
	case 'r':
		b.WriteByte('\r')
	case 't':
		b.WriteByte('\t')
	case 'u':
		if len(s) < 5 {
			return 0
		}
		code, err := strconv.ParseUint(s[1:5], 16, 16)
		if err != nil {
			return 0
		}
		b.WriteByte(byte(code))
		return 4
	}
	return 0
}

func (p *parser) array() ([]any, error) {
	list := []any{}
	for p.space(); !p.take("]"); p.space() {
		if len(list) > 0 && !p.take(",") {
			return nil, errParse
		}
		value, err := p.value()
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	return list, nil
}

// object keeps the first of two equal keys.
func (p *parser) object() (map[string]any, error) {
	object := map[string]any{}
	first := true
	for p.space(); !p.take("}"); p.space() {
		if !first && !p.take(",") {
			return nil, errParse
		}
		first = false
		p.space()
		if !p.take(`"`) {
			return nil, errParse
		}
		key, err := p.str()
		if err != nil {
			return nil, err
		}
		if p.space(); !p.take(":") {
			return nil, errParse
		}
		value, err := p.value()
		if err != nil {
			return nil, err
		}
		if _, ok := object[key]; !ok {
			object[key] = value
		}
	}
	return object, nil
}

func (p *parser) number() (any, error) {
	end := strings.IndexFunc(p.text, func(r rune) bool { return !strings.ContainsRune("+-0123456789.eE", r) })
	if end < 0 {
		end = len(p.text)
	}
	text := p.text[:end]
	p.text = p.text[end:]
	if strings.ContainsAny(text, ".eE") {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsInf(f, 0) {
			return nil, errParse
		}
		return f, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return number(text), nil
	}
	if err != nil {
		return nil, errParse
	}
	return n, nil
}
