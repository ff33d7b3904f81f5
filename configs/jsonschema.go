package configs

import (
	"reflect"
	"strconv"
	"time"
)

// object is a JSON object.
type object = map[string]any

// Schema returns the JSON Schema (2020-12) of a configuration file, as a JSON object. It is for editors, which complete and check what
// is typed by it. It knows of the shape of a file alone: what is in it may still be wrong.
func Schema(types Types) map[string]any {
	s := schemaOf(reflect.ValueOf(newDocument(types)).Elem(), field{}, types)
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "weft.yaml"
	s["description"] = "Configuration of a Weft node. In every value ${NAME} and ${NAME:default} stand for an environment variable."
	s["required"] = []string{"node"}
	s["$defs"] = words
	return s
}

// words are how single values are written; what comes from the environment is judged when it is read.
var words = object{
	"environment": object{"type": "string", "pattern": `\$\{`},
	"text":        object{"type": []string{"string", "number", "boolean"}},
	"boolean":     orWritten(object{"type": "boolean"}, `^(true|false)$`),
	"integer":     orWritten(object{"type": "integer"}, `^[+-]?[0-9]+$`),
	"number":      orWritten(object{"type": "number"}, `^[+-]?[0-9.]+([eE][+-]?[0-9]+)?$`),
	"duration":    orWritten(object{"const": 0}, durationPattern),
	"size":        orWritten(object{"type": "integer", "minimum": 0}, sizePattern),
}

const (
	durationPattern = `^(0|[0-9]+d|([0-9]+d)?(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$`
	sizePattern     = `^[0-9]+ *(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)? *$`
)

// orWritten allows a string of that pattern too, and one from the environment.
func orWritten(s object, pattern string) object {
	return object{"anyOf": []any{s, object{"type": "string", "pattern": pattern}, object{"$ref": "#/$defs/environment"}}}
}

// schemaOf returns what a value may be that is in the field f.
func schemaOf(v reflect.Value, f field, types Types) object {
	s := shape(v, f, types)
	if f.doc != "" {
		s["description"] = f.doc
	}
	return s
}

func shape(v reflect.Value, f field, types Types) object {
	t := v.Type()
	switch {
	case isWord(v):
		return wordSchema(v, f)
	case t == reflect.TypeFor[transport]():
		return oneOfTypes(transportSchemas(types))
	case t == reflect.TypeFor[stage]():
		return stageSchema(types)
	case t == reflect.TypeFor[subscription]():
		return object{"anyOf": []any{wordSchema(v.FieldByName("Filter"), field{}), structSchema(v, types)}}
	case t.Kind() == reflect.Interface:
		return shape(v.Elem().Elem(), f, types)
	case t.Kind() == reflect.Pointer:
		return orNothing(shape(sample(t.Elem()), f, types))
	case t.Kind() == reflect.Map:
		m := object{"type": []string{"object", "null"}, "additionalProperties": shape(sample(t.Elem()), elementOf(f), types)}
		if t.Elem() == reflect.TypeFor[transport]() {
			m["propertyNames"] = object{"pattern": nameForm.String()}
		}
		return m
	case t.Kind() == reflect.Slice:
		return listSchema(t, f, types)
	}
	return orNothing(structSchema(v, types))
}

// elementOf is the field for what is in a list or a mapping.
func elementOf(f field) field { return field{tag: f.tag, values: f.values} }

// orNothing allows a section of which everything is commented out.
func orNothing(s object) object {
	if s["type"] == "object" {
		s["type"] = []string{"object", "null"}
	}
	return s
}

// listSchema allows a single value for a list of one.
func listSchema(t reflect.Type, f field, types Types) object {
	items := shape(sample(t.Elem()), elementOf(f), types)
	if t.Elem().Kind() == reflect.Struct && items["type"] != nil {
		items["type"] = "object"
	}
	list := object{"type": []string{"array", "null"}, "items": items}
	switch {
	case isWord(sample(t.Elem())):
		return object{"anyOf": []any{list, items}}
	case t.Elem() == reflect.TypeFor[subscription](), t.Elem() == reflect.TypeFor[stage]():
		return object{"anyOf": []any{list, items["anyOf"].([]any)[0]}}
	}
	return list
}

func structSchema(v reflect.Value, types Types) object {
	keys := object{}
	for _, f := range fieldsOf(v.Type()) {
		keys[f.key] = schemaOf(v.FieldByIndex(f.index), f, types)
	}
	return object{"type": "object", "properties": keys, "additionalProperties": false}
}

// typedSchema returns the schema of an entry whose key type is the name, and whose other keys are those of the configuration.
func typedSchema(name string, config func() any, types Types) object {
	s := structSchema(fresh(config), types)
	s["properties"].(object)["type"] = object{"const": name}
	s["required"] = []string{"type"}
	return s
}

// remoteType is the type that a plugin has which is a program of its own.
const remoteType = `^[a-z0-9_-]{1,32}\.[a-z0-9_-]{1,32}$`

// remoteSchema allows a type of a plugin with any keys.
var remoteSchema = object{
	"type": "object", "properties": object{"type": object{"type": "string", "pattern": remoteType}}, "required": []string{"type"},
}

func transportSchemas(types Types) (all []any) {
	for _, t := range types.Transports {
		all = append(all, typedSchema(t.Name, t.Config, types))
	}
	return append(all, remoteSchema)
}

// oneOfTypes allows one of the typed entries.
func oneOfTypes(all []any) object { return object{"oneOf": all} }

// stageSchema allows the type of a stage alone, and its type with its keys.
func stageSchema(types Types) object {
	names, all := []string{}, []any{}
	for _, s := range types.Stages {
		names = append(names, s.Name)
		all = append(all, typedSchema(s.Name, s.Config, types))
	}
	word := object{"anyOf": []any{object{"enum": names}, object{"type": "string", "pattern": remoteType}, object{"$ref": "#/$defs/environment"}}}
	return object{"anyOf": []any{word, oneOfTypes(append(all, remoteSchema))}}
}

func wordSchema(v reflect.Value, f field) object {
	t := v.Type()
	var s object
	switch {
	case f.values != nil:
		s = enumSchema(f.values)
	case t == reflect.TypeFor[time.Duration]():
		s = object{"$ref": "#/$defs/duration"}
	case f.tag == "size":
		s = object{"$ref": "#/$defs/size"}
	case !isScalar(v) || t.Kind() == reflect.String:
		s = object{"$ref": "#/$defs/text"}
	case t.Kind() == reflect.Bool:
		s = object{"$ref": "#/$defs/boolean"}
	case t.Kind() == reflect.Float32, t.Kind() == reflect.Float64:
		s = object{"$ref": "#/$defs/number"}
	default:
		s = object{"$ref": "#/$defs/integer"}
	}
	if standard := formatDefault(v, f.tag); standard != "" {
		s["default"] = plainValue(t, standard)
	}
	return s
}

// enumSchema allows the words, those that are numbers as numbers too.
func enumSchema(words []string) object {
	values := []any{}
	for _, word := range words {
		values = append(values, word)
		if n, err := strconv.Atoi(word); err == nil {
			values = append(values, n)
		}
	}
	return object{"anyOf": []any{object{"enum": values}, object{"$ref": "#/$defs/environment"}}}
}

// plainValue returns a default as it would be written without quotes.
func plainValue(t reflect.Type, text string) any {
	if t.Kind() == reflect.Bool {
		return text == "true"
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && t.Kind() != reflect.String {
		return n
	}
	return text
}
