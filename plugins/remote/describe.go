package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	pluginv1 "github.com/weft-relay/weft/plugins/proto/weft/plugin/v1"
)

// Description is what a program says of itself.
type Description struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Types   []Type `json:"types"`
}

// Kind of a type.
type Kind string

// Kinds.
const (
	KindStage     Kind = "stage"
	KindTransport Kind = "transport"
)

// Type of stage or transport that a program has.
type Type struct {
	Kind      Kind     `json:"kind"`
	Name      string   `json:"name"`
	Comment   string   `json:"comment,omitempty"`
	Options   []Option `json:"options"`
	Directory bool     `json:"directory,omitempty"` // of a transport: it keeps profiles
}

// Option is one key of a type.
type Option struct {
	Key      string `json:"key"`
	Type     string `json:"type"` // text, bool, integer, number, duration, size, list, secret or any
	Default  string `json:"default,omitempty"`
	Comment  string `json:"comment,omitempty"`
	Required bool   `json:"required,omitempty"`

	Values []string `json:"values,omitempty"` // the words that it may be; nil where any may
}

// Bounds of a description.
const (
	maxTypes   = 256
	maxOptions = 256
)

var kinds = map[pluginv1.Kind]Kind{pluginv1.Kind_KIND_STAGE: KindStage, pluginv1.Kind_KIND_TRANSPORT: KindTransport}

var optionTypes = map[pluginv1.OptionType]string{
	pluginv1.OptionType_OPTION_TYPE_UNSPECIFIED: "any",
	pluginv1.OptionType_OPTION_TYPE_TEXT:        "text",
	pluginv1.OptionType_OPTION_TYPE_BOOL:        "bool",
	pluginv1.OptionType_OPTION_TYPE_INTEGER:     "integer",
	pluginv1.OptionType_OPTION_TYPE_NUMBER:      "number",
	pluginv1.OptionType_OPTION_TYPE_DURATION:    "duration",
	pluginv1.OptionType_OPTION_TYPE_SIZE:        "size",
	pluginv1.OptionType_OPTION_TYPE_LIST:        "list",
	pluginv1.OptionType_OPTION_TYPE_SECRET:      "secret",
}

// newDescription checks what a program says of itself.
func newDescription(answer *pluginv1.DescribeResponse) (Description, error) {
	d := Description{Name: clip(answer.Name, 64), Version: clip(answer.Version, 64)}
	if len(answer.Types) == 0 || len(answer.Types) > maxTypes {
		return d, fmt.Errorf("%w: it has %d types; a plugin has 1 to %d", ErrContract, len(answer.Types), maxTypes)
	}
	for _, t := range answer.Types {
		kind, known := kinds[t.GetKind()]
		switch {
		case !known:
			return d, fmt.Errorf("%w: type %.40q is of kind %v; write KIND_STAGE or KIND_TRANSPORT", ErrContract, t.GetName(), t.GetKind())
		case !validName.MatchString(t.Name):
			return d, fmt.Errorf("%w: %.40q is not the name of a type; use 1 to 32 of a-z, 0-9, _ and -", ErrContract, t.Name)
		case d.find(kind, t.Name) >= 0:
			return d, fmt.Errorf("%w: it has the %s %q twice", ErrContract, kind, t.Name)
		case len(t.Options) > maxOptions:
			return d, fmt.Errorf("%w: %s %q has %d options; it may have %d", ErrContract, kind, t.Name, len(t.Options), maxOptions)
		}
		one := Type{Kind: kind, Name: t.Name, Comment: clip(t.Comment, maxReason), Directory: t.Directory, Options: []Option{}}
		for _, o := range t.Options {
			word, known := optionTypes[o.GetType()]
			if !known || o.GetKey() == "" || o.GetKey() == "type" || len(o.GetKey()) > 64 {
				return d, fmt.Errorf("%w: %s %q has an option %.70q of type %v, which no plugin can have", ErrContract, kind, t.Name, o.GetKey(), o.GetType())
			}
			one.Options = append(one.Options, Option{o.Key, word, clip(o.Default, maxReason), clip(o.Comment, maxReason), o.Required, words(o.Values)})
		}
		d.Types = append(d.Types, one)
	}
	return d, nil
}

func words(values []string) (all []string) {
	for _, value := range values[:min(len(values), maxOptions)] {
		all = append(all, clip(value, 64))
	}
	return all
}

func (d Description) find(kind Kind, name string) int {
	return slices.IndexFunc(d.Types, func(t Type) bool { return t.Kind == kind && t.Name == name })
}

// Type returns the type of that kind and name.
func (d Description) Type(kind Kind, name string) (Type, error) {
	if i := d.find(kind, name); i >= 0 {
		return d.Types[i], nil
	}
	var known []string
	for _, t := range d.Types {
		if t.Kind == kind {
			known = append(known, t.Name)
		}
	}
	return Type{}, fmt.Errorf("unknown %s %q; known here: %s", kind, name, orNone(known))
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(slices.Values(names)), ", ")
}

// Check says what is wrong with options, a JSON object, as far as the type's list of options says. The errors are joined, and each begins
// with the key that it is about.
func (t Type) Check(options []byte) error {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(orEmpty(options), &given); err != nil {
		return fmt.Errorf("options: %w; they are a JSON object", err)
	}
	var errs []error
	known := map[string]Option{}
	for _, o := range t.Options {
		known[o.Key] = o
	}
	seen := map[string]bool{}
	t.walk("", given, known, func(key string, value json.RawMessage) {
		seen[key] = true
		o, is := known[key]
		if !is {
			errs = append(errs, fmt.Errorf("%s: unknown key; known here: %s", key, orNone(slices.Collect(maps.Keys(known)))))
		} else if !o.takes(value) {
			errs = append(errs, fmt.Errorf("%s: %s is not %s", key, o.show(value), o.article()))
		}
	})
	for _, o := range t.Options {
		if o.Required && !seen[o.Key] {
			errs = append(errs, fmt.Errorf("%s: missing; give %s", o.Key, o.article()))
		}
	}
	return errors.Join(errs...)
}

// walk visits the keys, those of sections with the section's name before them.
func (t Type) walk(under string, given map[string]json.RawMessage, known map[string]Option, visit func(string, json.RawMessage)) {
	for _, key := range slices.Sorted(maps.Keys(given)) {
		value, path := given[key], under+key
		var section map[string]json.RawMessage
		isSection := func(o Option) bool { return strings.HasPrefix(o.Key, path+".") }
		if slices.ContainsFunc(t.Options, isSection) && json.Unmarshal(value, &section) == nil {
			t.walk(path+".", section, known, visit)
			continue
		}
		visit(path, value)
	}
}

// takes says whether the value is of the option's type.
func (o Option) takes(value json.RawMessage) bool {
	var decoded any
	if json.Unmarshal(value, &decoded) != nil {
		return false
	}
	_, isText := decoded.(string)
	number, isNumber := decoded.(float64)
	_, isList := decoded.([]any)
	switch o.Type {
	case "text", "secret":
		return (isText || isNumber) && (o.Values == nil || slices.Contains(o.Values, strings.Trim(string(value), `"`))) // YAML has no quotes around 123
	case "duration":
		return isText || isNumber && number == 0
	case "size":
		return isText || isNumber
	case "bool":
		_, ok := decoded.(bool)
		return ok
	case "integer":
		return isNumber && number == float64(int64(number))
	case "number":
		return isNumber
	case "list":
		return isList || isText
	}
	return true
}

func (o Option) show(value json.RawMessage) string {
	if o.Type == "secret" {
		return "the secret"
	}
	return clip(string(value), 60)
}

func (o Option) article() string {
	if o.Values != nil {
		return "one of " + strings.Join(o.Values, ", ")
	}
	return map[string]string{
		"text": "a text", "secret": "a text", "bool": "true or false", "integer": "a whole number", "number": "a number", "duration": "a duration, such as 10s",
		"size": "a size, such as 16KiB", "list": "a list of texts", "any": "a value",
	}[o.Type]
}

func orEmpty(options []byte) []byte {
	if len(options) == 0 {
		return []byte("{}")
	}
	return options
}

// clip cuts a text to so many bytes, in valid UTF-8.
func clip(text string, most int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most] + "..."
}
