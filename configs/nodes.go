package configs

import (
	"errors"
	"io"
	"iter"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxSource bounds a configuration file, in bytes.
const maxSource = 1 << 20

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// parse returns the root node of the file's only document, nil when it is empty or no YAML.
func (d *decoder) parse(text []byte) *yaml.Node {
	if len(text) > maxSource {
		d.report("", "%d bytes long; a configuration file has at most %d", len(text), maxSource)
		return nil
	}
	documents := yaml.NewDecoder(strings.NewReader(indentBySpaces(string(text))))
	var document, second yaml.Node
	err := documents.Decode(&document)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		if err = documents.Decode(&second); errors.Is(err, io.EOF) {
			return document.Content[0]
		}
		if err == nil {
			d.lines[""] = second.Line
			d.report("", "a second YAML document; a configuration file has one")
			return nil
		}
	}
	reason := err.Error()
	if found := yamlLine.FindStringSubmatch(reason); found != nil {
		d.lines[""], _ = strconv.Atoi(found[1]) // 0, and so line 1, where none is named
		reason = reason[len(found[0]):]
	}
	if strings.Contains(reason, "cannot start any token") && strings.Contains(string(text), "\t") {
		d.report("", "not YAML: a tab; indent with spaces, not tabs")
		return nil
	}
	d.report("", "not YAML: %s; see https://yaml.org for its rules", reason)
	return nil
}

// indentBySpaces replaces the tabs that JSON may be indented by, and YAML not.
func indentBySpaces(source string) string {
	if !strings.HasPrefix(strings.TrimSpace(source), "{") {
		return source
	}
	lines := strings.Split(source, "\n")
	for i, line := range lines {
		text := strings.TrimLeft(line, "\t ")
		lines[i] = strings.Repeat(" ", len(line)-len(text)) + text
	}
	return strings.Join(lines, "\n")
}

// pairs gives the keys of a mapping with their values, and reports what is no key or is there twice.
func (d *decoder) pairs(n *yaml.Node, path string) iter.Seq2[string, *yaml.Node] {
	return func(yield func(string, *yaml.Node) bool) {
		first := make(map[string]int, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			at := under(path, key.Value)
			if key.Kind != yaml.ScalarNode || key.Value == "" {
				d.lines[at] = key.Line
				d.report(at, "%s is no key; a key is one word", describe(key))
				continue
			}
			if line, twice := first[key.Value]; twice {
				d.lines[at] = key.Line
				d.report(at, "given twice, first in line %d; keep one of them", line)
				continue
			}
			first[key.Value] = key.Line
			d.lines[at] = key.Line
			if !yield(key.Value, value) {
				return
			}
		}
	}
}

// expect reports a node of another kind than the one that belongs at the path.
func (d *decoder) expect(n *yaml.Node, kind yaml.Kind, path, want string) bool {
	if n.Kind != kind {
		d.report(path, "%s; it must be %s", describe(n), want)
	}
	return n.Kind == kind
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// describe says in words what a node is, and no more: the words of a single value may be a secret.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	default:
		return "a single value"
	}
}
