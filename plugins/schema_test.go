package plugins_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/plugins"
)

// schemaOf returns the JSON Schema of what a set may be configured to use, as JSON has it.
func schemaOf(t *testing.T, set *plugins.Set) any {
	text, err := json.Marshal(configs.Schema(set.Types()))
	require.NoError(t, err)
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	return parsed
}

func TestExamplesConformToTheSchema(t *testing.T) {
	compiler := jsonschema.NewCompiler()
	require.NoError(t, compiler.AddResource("weft.schema.json", schemaOf(t, set)))
	schema, err := compiler.Compile("weft.schema.json")
	require.NoError(t, err)
	paths, err := filepath.Glob("../configs/*.yaml")
	require.NoError(t, err)
	paths = append(paths, "../cmd/weft/cli/init.yaml")
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		var content any
		require.NoError(t, yaml.Unmarshal(text, &content))
		asJSON, err := json.Marshal(content)
		require.NoError(t, err)
		plain, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
		require.NoError(t, err)
		require.NoError(t, schema.Validate(plain), path)
	}
}

// listed is where the keys of a stage stand, which configs.Keys names once.
var listed = regexp.MustCompile(`^[a-z\[\].]*stages\[\]\(`)

// Are the schema and the list of keys, to which a test holds docs/config.md, of the same keys in the same words?
func TestSchemaIsInStepWithTheKeys(t *testing.T) {
	own, err := plugins.New(plugins.Stage("tag", newTag))
	require.NoError(t, err)
	found := map[string]object{}
	collect(schemaOf(t, own).(object), "", func(path string, s object) {
		found[listed.ReplaceAllString(path, "stages[](")] = s
	})
	for _, key := range own.Keys() {
		s, is := found[key.Path]
		require.True(t, is, "%s is not in the schema", key.Path)
		delete(found, key.Path)
		if s["const"] == nil { // a type names itself
			require.Equal(t, key.Doc, written(s["description"]), key.Path)
			require.Equal(t, key.Default, written(s["default"]), key.Path)
		}
	}
	require.Empty(t, found, "the schema has keys that do not exist")
}

func written(value any) string {
	if value == nil {
		return ""
	}
	return fmt.Sprint(value)
}

// object is a JSON object.
type object = map[string]any

// collect calls note with every key that what the schema describes may have, and reports whether there are any.
func collect(schema object, path string, note func(path string, s object)) bool {
	count := 0
	counted := func(path string, s object) {
		count++
		note(path, s)
	}
	for _, s := range append(objects(schema["anyOf"]), schema) {
		for _, typed := range objects(s["oneOf"]) {
			keys := typed["properties"].(object)
			name := keys["type"].(object)
			if name["const"] == nil { // those of plugins, whose keys nobody knows
				continue
			}
			counted(path+".type", name)
			delete(keys, "type")
			collect(typed, fmt.Sprintf("%s(%s)", path, name["const"]), counted)
		}
		keys, _ := s["properties"].(object)
		for key, inner := range keys {
			at := strings.TrimPrefix(path+"."+key, ".")
			if !collect(inner.(object), at, counted) {
				counted(at, inner.(object))
			}
		}
		if items, ok := s["items"].(object); ok {
			collect(items, path+"[]", counted)
		}
		if others, ok := s["additionalProperties"].(object); ok {
			collect(others, path+".NAME", counted)
		}
	}
	return count > 0
}

// objects returns the list's objects.
func objects(list any) (all []object) {
	values, _ := list.([]any)
	for _, v := range values {
		all = append(all, v.(object))
	}
	return all
}
