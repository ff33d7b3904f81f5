package configs

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Key is one key that a configuration file may have.
type Key struct {
	Path    string   `json:"key"`              // as in "routes[].batch.period"; a name that the owner chooses is NAME
	Type    string   `json:"type"`             // its notation in a word or two, such as duration or "list of text"
	Values  []string `json:"values,omitempty"` // the words that it may be; nil where any may
	Default string   `json:"default,omitempty"`
	Doc     string   `json:"doc,omitempty"`

	Required bool `json:"required,omitempty"` // as a plugin says of its own; what is built in says so when it is missing
}

// Keys returns every key that a configuration file may have, in the order of the documentation. A key of one type of
// transport or stage has the type in its path: "transports.NAME(nats).url", "stages[](sample).every".
func Keys(types Types) []Key {
	keys := keysUnder(reflect.ValueOf(newDocument(types)).Elem(), "", field{})
	for _, t := range types.Transports {
		keys = append(keys, keysUnder(fresh(t.Config), "transports.NAME("+t.Name+")", field{})...)
	}
	for _, s := range types.Stages {
		keys = append(keys, keysUnder(fresh(s.Config), "stages[]("+s.Name+")", field{})...)
	}
	return keys
}

// KeysOf returns the keys of one type of transport or stage, as they stand beside its type.
func KeysOf(config func() any) []Key { return keysUnder(fresh(config), "", field{}) }

// keysUnder returns the keys of a value, which is in the field f.
func keysUnder(v reflect.Value, path string, f field) []Key {
	t := v.Type()
	switch {
	case isWord(v):
		return []Key{{Path: path, Type: notation(t, f.tag), Values: f.values, Default: formatDefault(v, f.tag), Doc: f.doc}}
	case t.Kind() == reflect.Interface && !v.IsNil():
		return keysUnder(v.Elem().Elem(), path, f)
	case t.Kind() == reflect.Pointer:
		return keysUnder(sample(t.Elem()), path, f)
	case t.Kind() == reflect.Slice && !isWord(sample(t.Elem())):
		return keysUnder(sample(t.Elem()), path+"[]", f)
	case t.Kind() == reflect.Map && !isWord(sample(t.Elem())):
		return keysUnder(sample(t.Elem()), path+".NAME", f)
	case t.Kind() != reflect.Struct:
		return []Key{{Path: path, Type: notation(t, f.tag), Values: f.values, Doc: f.doc}}
	}
	var keys []Key
	for _, inner := range fieldsOf(t) {
		keys = append(keys, keysUnder(v.FieldByIndex(inner.index), under(path, inner.key), inner)...)
	}
	return keys
}

// notation says how a value of this type is written.
func notation(t reflect.Type, tag string) string {
	switch {
	case t.Kind() == reflect.Slice && !isWord(sample(t)):
		return "list of " + notation(t.Elem(), tag)
	case t.Kind() == reflect.Map:
		return "mapping to " + notation(t.Elem(), tag)
	case t == reflect.TypeFor[time.Duration]():
		return "duration"
	case tag != "":
		return tag
	case t.Kind() == reflect.Bool:
		return "true or false"
	case !isScalar(sample(t)) || t.Kind() == reflect.String:
		return "text"
	}
	return "number"
}

// fresh returns what a type's keys are decoded into, with its defaults.
func fresh(config func() any) reflect.Value {
	v := reflect.ValueOf(config()).Elem()
	setDefaults(v)
	return v
}

// sample returns a value of a struct with its defaults.
func sample(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	setDefaults(v)
	return v
}

func formatDefault(v reflect.Value, tag string) string {
	d, isDuration := reflect.TypeAssert[time.Duration](v)
	switch {
	case isDuration:
		return formatDuration(d)
	case tag == "size" && v.Int() == 0: // depends on something else
		return ""
	case tag == "size":
		return formatSize(v.Int())
	case v.Kind() == reflect.Slice || v.Kind() == reflect.Map || v.Kind() == reflect.Interface:
		return ""
	default:
		return fmt.Sprint(v.Interface())
	}
}

func formatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	if d == 0 {
		text = "0"
	}
	return text
}

func formatSize(n int64) string {
	for _, unit := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if n >= units[unit] && n%units[unit] == 0 {
			return fmt.Sprint(n/units[unit], unit)
		}
	}
	return fmt.Sprint(n)
}
