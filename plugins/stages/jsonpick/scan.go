package jsonpick

import (
	"bytes"
	"iter"
)

// The functions here take apart what json.Valid has accepted, and lose no byte of a value.

const space = " \t\r\n"

func trim(text []byte) []byte { return bytes.TrimLeft(text, space) }

// members returns the names, with their quotes, and the values of an object.
func members(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		rest := trim(object[1:])
		for rest[0] != '}' {
			key := rest[:end(rest)]
			rest = trim(rest[len(key):])
			rest = trim(rest[1:]) // the colon
			value := rest[:end(rest)]
			if !yield(key, value) {
				return
			}
			rest = next(rest[len(value):])
		}
	}
}

// elements returns the values of an array.
func elements(array []byte) iter.Seq[[]byte] {
	return func(yield func(value []byte) bool) {
		rest := trim(array[1:])
		for rest[0] != ']' {
			value := rest[:end(rest)]
			if !yield(value) {
				return
			}
			rest = next(rest[len(value):])
		}
	}
}

// next goes on after a value to the next one, or to the bracket at the end.
func next(rest []byte) []byte {
	rest = trim(rest)
	if rest[0] == ',' {
		rest = trim(rest[1:])
	}
	return rest
}

// end returns the length of the value at the beginning of the text.
func end(text []byte) int {
	switch text[0] {
	case '"':
		return endOfString(text)
	case '{', '[':
		return endOfBrackets(text)
	}
	if n := bytes.IndexAny(text, ",]}"+space); n >= 0 {
		return n
	}
	return len(text)
}

func endOfString(text []byte) int {
	for i := 1; ; i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}

func endOfBrackets(text []byte) int {
	depth := 0
	for i := 0; ; i++ {
		switch text[i] {
		case '"':
			i += endOfString(text[i:]) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
}
