package configs

import (
	"encoding"
	"errors"
	"os"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// DecodeOptions fills the struct that config points to from a mapping in JSON or YAML, after the same rules as a section of a
// configuration file, though what stands for environment variables there stands for itself. The errors are joined, and each begins with the
// key that it is about.
func DecodeOptions(text []byte, config any) error {
	d := &decoder{source: source{lines: map[string]int{}}}
	if dir, err := os.Getwd(); err == nil {
		d.dir = dir
	}
	v := reflect.ValueOf(config).Elem()
	setDefaults(v)
	if root := d.parse(text); root != nil {
		literal(root)
		d.structure(root, v, "")
	} else if len(d.problems) == 0 {
		d.structure(&yaml.Node{Kind: yaml.MappingNode}, v, "")
	}
	var errs []error
	for _, p := range d.problems {
		if p.Key != "" {
			p.Text = p.Key + ": " + p.Text
		}
		errs = append(errs, errors.New(p.Text))
	}
	return errors.Join(errs...)
}

// literal has no word of the node stand for an environment variable.
func literal(n *yaml.Node) {
	n.Value = strings.ReplaceAll(n.Value, "${", "$${")
	for _, child := range n.Content {
		literal(child)
	}
}

// Option is one key of a struct that options are decoded into.
type Option struct {
	Key     string // one inside a section has the section's name before it: "batch.count"
	Type    string // text, bool, integer, duration, size, list or any
	Default string // as it would be written in the file; empty when there is none
}

// DescribeOptions returns the keys of the struct that config points to.
func DescribeOptions(config any) []Option {
	v := reflect.ValueOf(config).Elem()
	setDefaults(v)
	return optionsUnder(v, "")
}

func optionsUnder(v reflect.Value, path string) []Option {
	var all []Option
	for _, f := range fieldsOf(v.Type()) {
		inner, key := v.FieldByIndex(f.index), under(path, f.key)
		_, isText := reflect.TypeAssert[encoding.TextUnmarshaler](inner.Addr())
		if inner.Kind() == reflect.Struct && !isText {
			all = append(all, optionsUnder(inner, key)...)
			continue
		}
		o := Option{Key: key, Type: optionType(inner, f.tag)}
		if o.Type != "list" && o.Type != "any" {
			o.Default = formatDefault(inner, f.tag)
		}
		all = append(all, o)
	}
	return all
}

func optionType(v reflect.Value, tag string) string {
	_, isText := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr())
	switch {
	case tag == "size":
		return "size"
	case v.Type() == reflect.TypeFor[time.Duration]():
		return "duration"
	case isText || v.Kind() == reflect.String:
		return "text"
	case v.Kind() == reflect.Bool:
		return "bool"
	case isScalar(v):
		return "integer"
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.String:
		return "list"
	}
	return "any"
}
