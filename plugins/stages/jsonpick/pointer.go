package jsonpick

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// pointer is a JSON pointer [RFC 6901].
type pointer []token

// token is a step of a pointer: the name of an object's member, or the index of an array's element.
type token struct {
	name  string
	index int // -1 if name is none
}

var unescape = strings.NewReplacer("~1", "/", "~0", "~")

func parse(text string) (pointer, error) {
	if text == "" {
		return nil, nil
	}
	if text[0] != '/' {
		steps := strings.TrimPrefix(strings.TrimPrefix(text, "$"), ".") // of JSONPath
		return nil, fmt.Errorf("%q is no JSON pointer; it begins with /, such as /%s", text, strings.ReplaceAll(steps, ".", "/"))
	}
	var p pointer
	for name := range strings.SplitSeq(text[1:], "/") {
		if strings.Count(name, "~") != strings.Count(name, "~0")+strings.Count(name, "~1") {
			return nil, fmt.Errorf("%q has a ~ that begins neither ~0 (for ~) nor ~1 (for /)", text)
		}
		name = unescape.Replace(name)
		p = append(p, token{name, indexOf(name)})
	}
	return p, nil
}

// indexOf returns the index that a name is, or -1: an index has no leading zeros.
func indexOf(name string) int {
	n, err := strconv.Atoi(name)
	if err != nil || n < 0 || strconv.Itoa(n) != name {
		return -1
	}
	return n
}

// find returns the text of the value in a valid document. Of members of the same name the last one counts, as for Go's encoding/json.
func (p pointer) find(document []byte) (value []byte, ok bool) {
	value = trim(document)
	for _, t := range p {
		if value, ok = t.step(value); !ok {
			return nil, false
		}
	}
	return value, true
}

func (t token) step(value []byte) (found []byte, ok bool) {
	switch value[0] {
	case '{':
		for key, member := range members(value) {
			if t.names(key) {
				found, ok = member, true
			}
		}
	case '[':
		n := 0
		for element := range elements(value) {
			if n == t.index {
				return element, true
			}
			n++
		}
	}
	return found, ok
}

// names reports whether the JSON string is the name.
func (t token) names(key []byte) bool {
	if bytes.IndexByte(key, '\\') >= 0 {
		return decode(key) == t.name
	}
	return string(key[1:len(key)-1]) == t.name
}

// decode returns the text that a JSON string is.
func decode(value []byte) string {
	var text string
	_ = json.Unmarshal(value, &text) // it is a string of a valid document
	return text
}
