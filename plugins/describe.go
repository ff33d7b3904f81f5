package plugins

import (
	"fmt"

	"github.com/weft-relay/weft/configs"
)

// Description says of a type of transport or of stage what there is to configure.
type Description struct {
	Kind    string        `json:"kind"`              // transport or stage, or plugin where Error says why its types are not known
	Name    string        `json:"name"`              // that files use: PLUGIN.TYPE for one of a program
	Version string        `json:"version,omitempty"` // of the module that its package is of, or as the program says
	Package string        `json:"package,omitempty"` // where it comes from
	Program string        `json:"program,omitempty"` // what the program calls itself that has it
	Comment string        `json:"comment,omitempty"` // what it does
	BuiltIn bool          `json:"built_in"`
	UsedBy  []string      `json:"used_by,omitempty"` // the keys of the file that name it
	Options []configs.Key `json:"options"`
	Error   string        `json:"error,omitempty"` // why the plugin could not be asked
}

// Describe returns every type of transport and then of stage, with where the file uses it. There may be no file.
func (s *Set) Describe(file *configs.File) (all []Description) {
	uses := usesOf(file)
	for _, kind := range []string{"transport", "stage"} {
		for _, p := range s.plugins {
			if p.kind() != kind {
				continue
			}
			_, builtIn := (&Set{plugins: builtIn()}).find(kind, p.name)
			all = append(all, Description{
				Kind: kind, Name: p.name, Version: Version(p.home), Package: p.home, BuiltIn: builtIn,
				UsedBy: uses[use{kind, p.name}], Options: configs.KeysOf(p.config),
			})
		}
	}
	return all
}

// use is a type that a file names.
type use struct{ kind, name string }

// usesOf returns the keys under which a file uses each type.
func usesOf(file *configs.File) map[use][]string {
	found := map[use][]string{}
	if file == nil {
		return found
	}
	for _, t := range file.Transports {
		found[use{"transport", t.Type}] = append(found[use{"transport", t.Type}], "transports."+t.Name)
	}
	note := func(at string, stages []configs.Stage) {
		for i, s := range stages {
			found[use{"stage", s.Type}] = append(found[use{"stage", s.Type}], fmt.Sprintf("%s.stages[%d]", at, i))
		}
	}
	for i, r := range file.Node.Routes {
		note(fmt.Sprintf("routes[%d]", i), file.RouteStages[r.Name])
	}
	for i, stages := range file.SubscriptionStages {
		note(fmt.Sprintf("subscribe[%d]", i), stages)
	}
	return found
}
