package configs

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Options are the keys of a type of transport or stage that a plugin has which is a program of its own: PLUGIN.TYPE in a file. What keys
// there are that program alone knows.
type Options struct {
	Plugin string          // its name in `plugins`
	Type   string          // what it calls the type
	JSON   json.RawMessage // the keys with their values: an object
}

// remoteUse is where a file names a plugin.
type remoteUse struct{ path, plugin string }

// remote returns the options of an entry if its type is one of a plugin, and nil if it is not.
func (d *decoder) remote(word string, n *yaml.Node, path string) *Options {
	plugin, typ, ok := strings.Cut(word, ".")
	if !ok {
		return nil
	}
	at := path
	if n.Kind == yaml.MappingNode {
		at = under(path, "type")
	}
	d.remotes = append(d.remotes, remoteUse{at, plugin})
	o := &Options{Plugin: plugin, Type: typ, JSON: json.RawMessage("{}")}
	if n.Kind != yaml.MappingNode {
		return o
	}
	values := map[string]any{}
	for key, child := range d.pairs(n, path) {
		if key != "type" {
			values[key] = d.plain(child, under(path, key))
		}
	}
	text, err := json.Marshal(values)
	if err != nil { // infinity, say
		d.report(path, "%s", err)
		return o
	}
	o.JSON = text
	return o
}

// plain returns what a node holds as JSON knows it, with the environment's values in their places.
func (d *decoder) plain(n *yaml.Node, path string) any {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	d.lines[path] = n.Line
	switch n.Kind {
	case yaml.MappingNode:
		values := map[string]any{}
		for key, child := range d.pairs(n, path) {
			values[key] = d.plain(child, under(path, key))
		}
		return values
	case yaml.SequenceNode:
		values := make([]any, len(n.Content))
		for i, child := range n.Content {
			values[i] = d.plain(child, fmt.Sprintf("%s[%d]", path, i))
		}
		return values
	}
	if isNull(n) {
		return nil
	}
	text, ok := d.text(n, path)
	if !ok || n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return text
	}
	var value any
	switch (&yaml.Node{Kind: yaml.ScalarNode, Value: text}).Decode(&value); value := value.(type) {
	case bool, int, int64, uint64, float64:
		return value
	}
	return text // dates among them
}

// checkPrograms checks that each plugin has a name of its own, and that each that an entry names is there.
func (d *decoder) checkPrograms(doc *document) {
	var names []string
	list := reflect.ValueOf(doc.Plugins).Elem()
	for i := range list.Len() {
		p, ok := reflect.TypeAssert[interface{ PluginName() string }](list.Index(i).Addr())
		if !ok {
			continue
		}
		d.checkOnce(fmt.Sprintf("plugins[%d].name", i), "plugin", p.PluginName(), names)
		names = append(names, p.PluginName())
	}
	for _, use := range d.remotes {
		switch {
		case len(names) == 0:
			d.report(use.path, "no plugin %q; list it, as in plugins: [{name: %s, command: [./%[2]s]}]", use.plugin, use.plugin)
		case !slices.Contains(names, use.plugin):
			d.report(use.path, "no plugin %q; %s", use.plugin, suggest(use.plugin, names))
		}
	}
}
