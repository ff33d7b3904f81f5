package configs

import (
	"encoding"
	"reflect"
	"strings"
)

// field is one key of a struct.
type field struct {
	key    string
	index  []int // for reflect.Value.FieldByIndex
	tag    string
	values []string // the words that it may be; nil where any may
	doc    string
}

// fieldsOf returns the keys of a struct, those of `yaml:",inline"` structs among them.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		key, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			for _, inner := range fieldsOf(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				fields = append(fields, inner)
			}
		case key != "" && key != "-":
			next := field{key: key, index: []int{i}, tag: f.Tag.Get("weft"), doc: f.Tag.Get("doc")}
			if words := f.Tag.Get("enum"); words != "" {
				next.values = strings.Split(words, ",")
			}
			fields = append(fields, next)
		}
	}
	return fields
}

func keysOf(fields []field) []string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	return keys
}

// setDefaults calls the SetDefaults methods of v and, before it, of the structs in it.
func setDefaults(v reflect.Value) {
	switch v.Kind() {
	case reflect.Interface:
		if !v.IsNil() {
			setDefaults(v.Elem().Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				setDefaults(v.Field(i))
			}
		}
		if d, ok := reflect.TypeAssert[interface{ SetDefaults() }](v.Addr()); ok {
			d.SetDefaults()
		}
	}
}

// isWord says whether a value is written as one word, be it that its type reads that itself.
func isWord(v reflect.Value) bool {
	_, reads := reflect.TypeAssert[encoding.TextUnmarshaler](reflect.New(v.Type()))
	return reads || isScalar(v)
}

// isScalar says whether a value of this type is written as one word.
func isScalar(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String, reflect.Bool,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64:
		return true
	}
	return false
}
