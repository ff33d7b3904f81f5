package configs

import (
	"errors"
	"os"
	"reflect"
	"strings"

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
