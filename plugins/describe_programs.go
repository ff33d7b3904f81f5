package plugins

import (
	"context"
	"log/slog"
	"sync"

	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/plugins/remote"
)

// ProgramNames returns the names of the file's plugins that are programs, in their order. There may be no file.
func ProgramNames(file *configs.File) (names []string) {
	for _, c := range programsOf(file) {
		names = append(names, c.Name)
	}
	return names
}

func programsOf(file *configs.File) []remote.Config {
	if file == nil {
		return nil
	}
	return *file.Plugins.(*[]remote.Config)
}

// DescribePrograms starts those of the file's plugins that are wanted, all at once, asks each what types it has, and ends it. What cannot
// be asked is in its place, with the reason.
func DescribePrograms(ctx context.Context, file *configs.File, wanted func(plugin string) bool) (all []Description) {
	uses := usesOf(file)
	answers := make([][]Description, len(programsOf(file)))
	var asking sync.WaitGroup
	for i, c := range programsOf(file) {
		if wanted(c.Name) {
			c.Dir = file.Dir()
			asking.Go(func() { answers[i] = describeProgram(ctx, c, uses) })
		}
	}
	asking.Wait()
	for _, answer := range answers {
		all = append(all, answer...)
	}
	return all
}

func describeProgram(ctx context.Context, c remote.Config, uses map[use][]string) (all []Description) {
	program, err := remote.New(c, slog.New(slog.DiscardHandler))
	var answer remote.Description
	if err == nil {
		answer, err = program.Describe(ctx)
	}
	if err != nil {
		return []Description{{Kind: "plugin", Name: c.Name, Options: []configs.Key{}, Error: unnamed(err, c.Name).Error()}}
	}
	for _, kind := range []remote.Kind{remote.KindTransport, remote.KindStage} {
		for _, t := range answer.Types {
			if t.Kind != kind {
				continue
			}
			name := c.Name + "." + t.Name
			all = append(all, Description{
				Kind: string(kind), Name: name, Version: answer.Version, Program: answer.Name, Comment: t.Comment,
				UsedBy: uses[use{string(kind), name}], Options: keysOf(t.Options),
			})
		}
	}
	return all
}

// notations are those of package configs for the protocol's words, where they differ.
var notations = map[string]string{"bool": "true or false", "integer": "number", "list": "list of text"}

func keysOf(options []remote.Option) []configs.Key {
	keys := []configs.Key{}
	for _, o := range options {
		key := configs.Key{Path: o.Key, Type: o.Type, Values: o.Values, Default: o.Default, Doc: o.Comment, Required: o.Required}
		if notation, differs := notations[o.Type]; differs {
			key.Type = notation
		}
		keys = append(keys, key)
	}
	return keys
}
