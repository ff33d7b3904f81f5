package configs

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Key is one key that a configuration file may have.
type Key struct {
	Path    string // as in "routes[].batch.period"; a name that the owner chooses is NAME
	Default string // as it would be written in the file; empty when there is none
}

// Keys returns every key that a configuration file may have, in the order of the documentation. A key of one type of
// transport or stage has the type in its path: "transports.NAME(nats).url", "stages[](sample).every".
func Keys(types Types) []Key {
	keys := keysUnder(reflect.ValueOf(newDocument(types)).Elem(), "", "")
	for _, t := range types.Transports {
		keys = append(keys, keysUnder(fresh(t.Config), "transports.NAME("+t.Name+")", "")...)
	}
	for _, s := range types.Stages {
		keys = append(keys, keysUnder(fresh(s.Config), "stages[]("+s.Name+")", "")...)
	}
	return keys
}

func keysUnder(v reflect.Value, path, tag string) []Key {
	t := v.Type()
	switch {
	case t.Kind() == reflect.Interface && !v.IsNil():
		return keysUnder(v.Elem().Elem(), path, tag)
	case t.Kind() == reflect.Pointer:
		return keysUnder(sample(t.Elem()), path, tag)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return keysUnder(sample(t.Elem()), path+"[]", tag)
	case t.Kind() == reflect.Map && t.Elem().Kind() == reflect.Struct:
		return keysUnder(sample(t.Elem()), path+".NAME", tag)
	case t.Kind() != reflect.Struct:
		return []Key{{Path: path, Default: formatDefault(v, tag)}}
	}
	var keys []Key
	for _, f := range fieldsOf(t) {
		keys = append(keys, keysUnder(v.FieldByIndex(f.index), under(path, f.key), f.tag)...)
	}
	return keys
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
