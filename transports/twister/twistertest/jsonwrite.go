package twistertest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// fields is an object whose members are written in this order; a map's are sorted, as bencoding leaves them.
type fields []field

type field struct {
	name  string
	value any
}

// appendJSON writes a value as the daemon does: raw bytes, but for quotes, backslashes and control characters.
func appendJSON(dst []byte, value any) []byte {
	switch v := value.(type) {
	case nil:
		return append(dst, "null"...)
	case bool:
		return strconv.AppendBool(dst, v)
	case int:
		return strconv.AppendInt(dst, int64(v), 10)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case number:
		return append(dst, v...)
	case float64:
		return strconv.AppendFloat(dst, v, 'f', 8, 64)
	case string:
		return appendJSONString(dst, v)
	case []string:
		return appendJSONList(dst, v)
	case []any:
		return appendJSONList(dst, v)
	case map[string]any:
		sorted := make(fields, 0, len(v))
		for _, name := range slices.Sorted(maps.Keys(v)) {
			sorted = append(sorted, field{name, v[name]})
		}
		return appendJSONObject(dst, sorted)
	case fields:
		return appendJSONObject(dst, v)
	}
	panic(fmt.Sprintf("twistertest: no JSON for %T", value))
}

func appendJSONList[T any](dst []byte, list []T) []byte {
	dst = append(dst, '[')
	for i, value := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSON(dst, value)
	}
	return append(dst, ']')
}

func appendJSONObject(dst []byte, object fields) []byte {
	dst = append(dst, '{')
	for i, f := range object {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendJSONString(dst, f.name), ':')
		dst = appendJSON(dst, f.value)
	}
	return append(dst, '}')
}

func appendJSONString(dst []byte, s string) []byte {
	const letters = "\bb\ff\nn\rr\tt"
	dst = append(dst, '"')
	for i := range len(s) {
		c := s[i]
		at := strings.IndexByte("\b\f\n\r\t", c)
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case at >= 0:
			dst = append(dst, '\\', letters[2*at+1])
		case c < 0x20:
			dst = fmt.Appendf(dst, `\u%04X`, c)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// bencodeLen returns how long a value is in bencoding, by which the daemon measures posts and DHT values.
func bencodeLen(value any) int {
	switch v := value.(type) {
	case int:
		return len(strconv.Itoa(v)) + 2
	case int64:
		return len(strconv.FormatInt(v, 10)) + 2
	case string:
		return len(strconv.Itoa(len(v))) + 1 + len(v)
	case []any:
		n := 2
		for _, item := range v {
			n += bencodeLen(item)
		}
		return n
	case map[string]any:
		n := 2
		for key, item := range v {
			n += bencodeLen(key) + bencodeLen(item)
		}
		return n
	}
	panic(fmt.Sprintf("twistertest: no bencoding for %T", value))
}

// bencodable returns what is left of a JSON value in bencoding: 32-bit integers, strings, lists and objects.
func bencodable(value any) any {
	switch v := value.(type) {
	case int64:
		return int64(int32(v))
	case string:
		return v
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = bencodable(item)
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(v))
		for key, item := range v {
			object[key] = bencodable(item)
		}
		return object
	}
	return uninitialized
}
