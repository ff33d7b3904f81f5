package plugins

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/plugins/remote"
)

// Programs are the file's plugins that are programs of their own, by name.
type Programs map[string]*remote.Program

// NewPrograms returns the file's plugins, none of them started.
func NewPrograms(file *configs.File, log *slog.Logger) (Programs, error) {
	programs := Programs{}
	var errs []error
	for i, c := range *file.Plugins.(*[]remote.Config) {
		c.Dir = file.Dir()
		p, err := remote.New(c, log)
		if err != nil {
			errs = append(errs, file.Problem(fmt.Sprintf("plugins[%d]", i), err))
			continue
		}
		programs[c.Name] = p
	}
	return programs, errors.Join(errs...)
}

// Start begins to run them. None is waited for: what needs one waits by itself.
func (p Programs) Start(ctx context.Context) error {
	for _, program := range p {
		if err := program.Start(ctx); err != nil {
			return errors.Join(err, p.Close())
		}
	}
	return nil
}

// Close ends them.
func (p Programs) Close() error {
	var errs []error
	for _, program := range p {
		errs = append(errs, program.Close())
	}
	return errors.Join(errs...)
}

// Status returns how each of them is, by name.
func (p Programs) Status() (all []remote.Status) {
	for _, name := range slices.Sorted(maps.Keys(p)) {
		all = append(all, p[name].Status())
	}
	return all
}

// step returns a stage of a program. The instance is what it serves.
func (p Programs) step(o *configs.Options, instance string) stage.Step {
	return stage.Step{Name: o.Plugin + "." + o.Type, New: func() (stage.Stage, error) {
		return p[o.Plugin].Stage(o.Type, o.JSON, instance), nil
	}}
}

// remoteUse is a place in a file where a type of a program is named.
type remoteUse struct {
	at   string
	kind remote.Kind
	*configs.Options
}

// remoteUses returns the places where types of programs are named.
func remoteUses(file *configs.File) (all []remoteUse) {
	note := func(at string, kind remote.Kind, config any) {
		if o, ok := config.(*configs.Options); ok {
			all = append(all, remoteUse{at, kind, o})
		}
	}
	for _, t := range file.Transports {
		note("transports."+t.Name, remote.KindTransport, t.Config)
	}
	for i, r := range file.Node.Routes {
		for j, s := range file.RouteStages[r.Name] {
			note(fmt.Sprintf("routes[%d].stages[%d]", i, j), remote.KindStage, s.Config)
		}
	}
	for i, list := range file.SubscriptionStages {
		for j, s := range list {
			note(fmt.Sprintf("subscribe[%d].stages[%d]", i, j), remote.KindStage, s.Config)
		}
	}
	return all
}

// checkPrograms starts each of the file's programs once, and asks it about the options that the file gives.
func checkPrograms(ctx context.Context, file *configs.File, programs Programs) error {
	uses := remoteUses(file)
	var errs []error
	for i, c := range *file.Plugins.(*[]remote.Config) {
		program := programs[c.Name]
		if program == nil {
			continue
		}
		err := program.Try(ctx, func(running *remote.Program) error {
			description, err := running.Describe(ctx)
			if err != nil {
				return err
			}
			for _, use := range uses {
				if use.Plugin == c.Name {
					errs = append(errs, checkUse(ctx, file, running, description, use))
				}
			}
			return nil
		})
		if err != nil {
			errs = append(errs, file.Problem(fmt.Sprintf("plugins[%d].command", i), unnamed(err, c.Name)))
		}
	}
	return errors.Join(errs...)
}

// unnamed takes the plugin's name from an error where that is said already.
func unnamed(err error, plugin string) error {
	return errors.New(strings.TrimPrefix(err.Error(), fmt.Sprintf("plugin %q: ", plugin)))
}

// checkUse says what a program has against one place where the file names a type of it.
func checkUse(ctx context.Context, file *configs.File, program *remote.Program, has remote.Description, use remoteUse) error {
	t, err := has.Type(use.kind, use.Type)
	if err == nil {
		err = t.Check(use.JSON)
	}
	if err == nil {
		err = program.Check(ctx, use.kind, use.Type, use.JSON)
	}
	if err != nil {
		return file.Problem(use.at, err)
	}
	return nil
}
