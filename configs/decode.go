package configs

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// decoder fills Go values from YAML nodes. It goes on after each problem, so that all are reported together.
//
// A struct's fields are named by their `yaml` tag; a field without one is no key. A `weft` tag says more of a field than its
// type can:
//
//	size      an integer: bytes, written as "16KiB"
//	address   a string: HOST:PORT to listen on
//	path      a string: a path; a relative one is taken from the folder of the configuration file
//	file      a path to a file that must be readable
//	secret    a string: never shown; "file:PATH" is the first line of that file
//
// For whoever reads of the keys elsewhere than in the code (`weft plugins`, `weft schema`) a `doc` tag says what a field is, and an `enum`
// tag which words it may be, with commas between them.
//
// Before a struct is filled its SetDefaults method is called (inner structs first), and its Validate method after. Validate
// returns one error, or errors.Join of many; one whose text begins with "KEY: " (such as "tls.cert: ") is reported at that key.
type decoder struct {
	source
	dir      string // of the file: where relative paths begin
	types    Types
	problems Problems
	remotes  []remoteUse // where plugins are named
}

// nodeDecoder is a type of this package with a notation of its own.
type nodeDecoder interface {
	decodeNode(d *decoder, n *yaml.Node, path string)
}

// maxProblems bounds the time that a file takes that is no configuration at all.
const maxProblems = 1000

// report notes a problem at the line of the path, or of the nearest thing around it that is in the file.
func (d *decoder) report(path, format string, args ...any) {
	if len(d.problems) == maxProblems {
		return
	}
	p := d.problem(path, fmt.Sprintf(format, args...))
	if !slices.Contains(d.problems, p) {
		d.problems = append(d.problems, p)
	}
}

// err returns the problems in the order of the file, or nil.
func (d *decoder) err() error {
	if len(d.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(d.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return d.problems
}

// value fills v, which is addressable, from the node. tag is the field's `weft` tag.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path, tag string) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	d.lines[path] = n.Line
	if custom, ok := reflect.TypeAssert[nodeDecoder](v.Addr()); ok {
		custom.decodeNode(d, n, path)
		return
	}
	if isWord(v) {
		d.scalar(n, v, path, tag)
		return
	}
	if isNull(n) {
		return // a section with everything in it commented out
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		setDefaults(v.Elem())
		d.value(n, v.Elem(), path, tag)
	case reflect.Interface: // holds a pointer to what is to be filled
		d.value(n, v.Elem().Elem(), path, tag)
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Map:
		d.mapping(n, v, path, tag)
	case reflect.Slice:
		d.list(n, v, path, tag)
	default:
		panic(fmt.Sprintf("configs: no notation for the Go type %s", v.Type()))
	}
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, path string, others ...string) {
	if !d.expect(n, yaml.MappingNode, path, "a mapping (key: value)") {
		return
	}
	fields := fieldsOf(v.Type())
	for key, child := range d.pairs(n, path) {
		i := slices.IndexFunc(fields, func(f field) bool { return f.key == key })
		switch {
		case i >= 0:
			d.value(child, v.FieldByIndex(fields[i].index), under(path, key), fields[i].tag)
		case !slices.Contains(others, key):
			d.report(under(path, key), "unknown key; %s", suggest(key, append(keysOf(fields), others...)))
		}
	}
	d.validate(v, path)
}

// validate reports what a struct's Validate method says of it.
func (d *decoder) validate(v reflect.Value, path string) {
	if checked, ok := reflect.TypeAssert[interface{ Validate() error }](v.Addr()); ok {
		d.judge(checked.Validate(), path, keysOf(fieldsOf(v.Type())))
	}
}

// judge reports what a Validate method found, except for keys that could not even be read.
func (d *decoder) judge(err error, path string, keys []string) {
	unread := d.problems
	for _, one := range Flatten(err) {
		key, text, hasKey := strings.Cut(one.Error(), ": ")
		first := strings.FieldsFunc(key, func(r rune) bool { return r == '.' || r == '[' })
		if !hasKey || len(first) == 0 || !slices.Contains(keys, first[0]) {
			d.report(path, "%s", one)
		} else if !unread.in(under(path, key)) {
			d.report(under(path, key), "%s", text)
		}
	}
}

// Flatten takes apart what errors.Join has joined.
func Flatten(err error) []error {
	many, ok := err.(interface{ Unwrap() []error })
	switch {
	case err == nil:
		return nil
	case !ok:
		return []error{err}
	}
	var all []error
	for _, one := range many.Unwrap() {
		all = append(all, Flatten(one)...)
	}
	return all
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path, tag string) {
	if !d.expect(n, yaml.MappingNode, path, "a mapping (name: value)") {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for key, child := range d.pairs(n, path) {
		elem := reflect.New(v.Type().Elem()).Elem()
		setDefaults(elem)
		d.value(child, elem, under(path, key), tag)
		v.SetMapIndex(reflect.ValueOf(key), elem)
	}
}

// list fills a slice; one scalar stands for a list of one.
func (d *decoder) list(n *yaml.Node, v reflect.Value, path, tag string) {
	items := n.Content
	if n.Kind == yaml.ScalarNode {
		items = []*yaml.Node{n}
	} else if !d.expect(n, yaml.SequenceNode, path, "a list") {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", path, i)
		if isNull(item) && v.Index(i).Kind() == reflect.Struct {
			d.lines[at] = item.Line
			d.report(at, "an empty item; fill it in, or leave it out")
			continue
		}
		setDefaults(v.Index(i))
		d.value(item, v.Index(i), at, tag)
	}
}

// scalar fills what is written as one word.
func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path, tag string) {
	text, ok := d.text(n, path)
	if !ok {
		return
	}
	if err := d.setScalar(v, text, tag); err != nil {
		message := err.Error()
		if text != n.Value { // what came from the environment may be a secret
			message = strings.ReplaceAll(message, strconv.Quote(text), strconv.Quote(n.Value))
		}
		d.report(path, "%s", message)
	}
}

// text returns the node's words with the environment's values in their place.
func (d *decoder) text(n *yaml.Node, path string) (string, bool) {
	switch {
	case !d.expect(n, yaml.ScalarNode, path, "a single value"):
		return "", false
	case isNull(n):
		d.report(path, "no value; give one, or leave the key out for its default")
		return "", false
	case !strings.HasPrefix(n.Tag, "!!"):
		d.report(path, "unknown tag %q; leave it out", n.Tag)
		return "", false
	}
	text, err := expand(n.Value)
	d.judge(err, path, nil)
	return text, err == nil
}

func (d *decoder) setScalar(v reflect.Value, text, tag string) (err error) {
	if t, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		return t.UnmarshalText([]byte(text))
	}
	switch {
	case v.Type() == reflect.TypeFor[time.Duration]():
		var period time.Duration
		period, err = parseDuration(text)
		v.SetInt(int64(period))
	case tag == "size":
		var size int64
		if size, err = parseSize(text); v.OverflowInt(size) {
			return fmt.Errorf("%q is too large", text)
		}
		v.SetInt(size)
	case v.Kind() == reflect.String:
		text, err = d.refine(text, tag)
		v.SetString(text)
	default:
		err = setPlain(v, text)
	}
	return err
}

// refine checks and completes a string as its field's tag asks. An empty one is as good as none.
func (d *decoder) refine(text, tag string) (string, error) {
	if text == "" {
		return "", nil
	}
	switch tag {
	case "address":
		return text, CheckAddress(text)
	case "path":
		return resolve(d.dir, text), nil
	case "file":
		text = resolve(d.dir, text)
		return text, checkFile(text)
	case "secret":
		if path, ok := strings.CutPrefix(text, "file:"); ok {
			return readSecret(resolve(d.dir, path))
		}
	}
	return text, nil
}

func setPlain(v reflect.Value, text string) error {
	bits := 8 * int(v.Type().Size())
	switch v.Kind() {
	case reflect.Bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		v.SetBool(text == "true")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, bits)
		if err != nil {
			return fmt.Errorf("%q is not a whole number of up to %d bits", text, bits)
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, bits)
		if err != nil {
			return fmt.Errorf("%q is not a whole number from 0 to %d", text, uint64(1)<<bits-1)
		}
		v.SetUint(n)
	case reflect.Float32, reflect.Float64:
		n, err := strconv.ParseFloat(text, bits)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return fmt.Errorf("%q is not a number", text)
		}
		v.SetFloat(n)
	default:
		return errors.ErrUnsupported
	}
	return nil
}
