package rpc

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// appendRequest appends the request's JSON: raw UTF-8, since twisterd cuts every escape above \u00ff to its low byte.
func appendRequest(dst []byte, id int64, method string, params []any) ([]byte, error) {
	dst = append(dst, `{"jsonrpc":"1.0","id":`...)
	dst = strconv.AppendInt(dst, id, 10)
	dst = append(dst, `,"method":"`...)
	dst = append(dst, method...)
	dst = append(dst, `","params":`...)
	dst, err := appendValue(dst, params)
	return append(dst, '}'), err
}

// appendValue appends what a parameter may be made of. Other types twisterd would turn into something else.
func appendValue(dst []byte, value any) ([]byte, error) {
	switch v := value.(type) {
	case string:
		return appendString(dst, v)
	case bool:
		return strconv.AppendBool(dst, v), nil
	case int:
		return appendInt(dst, int64(v))
	case int64:
		return appendInt(dst, v)
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			return dst, fmt.Errorf("%w: number %s", ErrBadValue, v)
		}
		return appendInt(dst, n)
	case []string:
		return appendList(dst, v)
	case []any:
		return appendList(dst, v)
	case map[string]any:
		return appendObject(dst, v)
	}
	return dst, fmt.Errorf("%w: value of type %T", ErrBadValue, value)
}

// appendInt refuses what twisterd would silently cut to 32 bits.
func appendInt(dst []byte, n int64) ([]byte, error) {
	if n < math.MinInt32 || n > math.MaxInt32 {
		return dst, fmt.Errorf("%w: %d", ErrOutOfRange, n)
	}
	return strconv.AppendInt(dst, n, 10), nil
}

func appendString(dst []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return dst, fmt.Errorf("%w: text of %d bytes", ErrInvalidText, len(s))
	}
	dst = append(dst, '"')
	for i := range len(s) {
		switch b := s[i]; {
		case b == '"' || b == '\\':
			dst = append(dst, '\\', b)
		case b < 0x20:
			dst = fmt.Appendf(dst, `\u%04x`, b)
		default:
			dst = append(dst, b)
		}
	}
	return append(dst, '"'), nil
}

func appendList[T any](dst []byte, list []T) (_ []byte, err error) {
	dst = append(dst, '[')
	for i, value := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendValue(dst, value); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

func appendObject(dst []byte, object map[string]any) (_ []byte, err error) {
	dst = append(dst, '{')
	for i, key := range slices.Sorted(maps.Keys(object)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendString(dst, key); err != nil {
			return dst, err
		}
		dst = append(dst, ':')
		if dst, err = appendValue(dst, object[key]); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}
