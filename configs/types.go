package configs

import (
	"fmt"
	"reflect"
	"slices"
)

// CheckType says why no file could be decoded into what the pointer points to, the keys of a type of transport or of stage.
func CheckType(config any) error {
	t := reflect.TypeOf(config).Elem()
	if t.Kind() != reflect.Struct {
		return fmt.Errorf("its configuration is the Go type %s; it must be a struct", t)
	}
	for _, f := range fieldsOf(t) {
		if f.key == "type" {
			return fmt.Errorf("%s has the key type, which names what is configured; call it otherwise", t)
		}
	}
	return checkType(t, nil)
}

// checkType judges a type that is in all of those around it.
func checkType(t reflect.Type, around []reflect.Type) error {
	if slices.Contains(around, t) {
		return fmt.Errorf("%s holds itself; a configuration has an end", t)
	}
	v := reflect.New(t)
	if isWord(v.Elem()) {
		return nil
	}
	around = append(around, t)
	switch {
	case t.Kind() == reflect.Struct:
		for _, f := range fieldsOf(t) {
			if err := checkType(t.FieldByIndex(f.index).Type, around); err != nil {
				return err
			}
			if !t.FieldByIndex(f.index).IsExported() {
				return fmt.Errorf("%s has the key %s in a field that is not exported; write it with a capital", t, f.key)
			}
		}
		return nil
	case t.Kind() == reflect.Slice, t.Kind() == reflect.Pointer, t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		return checkType(t.Elem(), around)
	}
	return fmt.Errorf("there is no notation for the Go type %s; use strings, numbers, bool, time.Duration, what reads itself "+
		"(encoding.TextUnmarshaler), and structs, lists and maps of them", t)
}
