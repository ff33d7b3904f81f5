package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/plugins"
)

// The exit statuses, beside 0.
const (
	statusError = 1
	statusUsage = 2
)

// errQuiet ends a command with status 1 and without a word: the status is the answer.
var errQuiet = errors.New("no")

// usageError is a command line that cannot be obeyed.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// globals are the flags that every command has.
type globals struct {
	set       *plugins.Set // what this build can be configured to use
	config    string       // path of the configuration file
	logLevel  string
	logFormat string
}

// execute runs one command line and returns the exit status.
func execute(ctx context.Context, set *plugins.Set, args []string, in io.Reader, out, errOut io.Writer) int {
	root := newRoot(set)
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	addCompletion(root)
	understood := false // cobra does not mark the errors that are about the command line
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		err := errors.Join(cmd.ValidateRequiredFlags(), cmd.ValidateFlagGroups())
		understood = err == nil
		return err
	}
	cmd, err := root.ExecuteContextC(ctx)
	var usage usageError
	var problems configs.Problems
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errQuiet):
		return statusError
	case !understood || errors.As(err, &usage):
		fmt.Fprintf(errOut, "weft: %v\nTry: %s --help\n", err, cmd.CommandPath())
		return statusUsage
	case errors.As(err, &problems):
		fmt.Fprintln(errOut, problems) // each begins with its file and line
		return statusError
	}
	fmt.Fprintf(errOut, "weft: %v\n", err)
	return statusError
}

// flagError says in plain words what pflag says in those of Go's parsers.
func flagError(err error) error {
	if what, _, ok := strings.Cut(err.Error(), "time: "); ok {
		return errors.New(what + "write a number with its unit, such as 5s")
	}
	if what, _, ok := strings.Cut(err.Error(), "strconv."); ok {
		if strings.Contains(what, "--qos") {
			return errors.New(what + "write 0, 1 or 2")
		}
		return errors.New(what + "write a whole number from 0 up")
	}
	return err
}

func newRoot(set *plugins.Set) *cobra.Command {
	g := &globals{set: set}
	root := &cobra.Command{
		Use:   "weft",
		Short: "Join MQTT brokers into one distributed broker",
		Long: `Weft joins MQTT brokers into one distributed broker. Beside each site's broker runs one relay: it takes the messages
that other sites have asked for out of its broker, carries them over the network of its owner's choice, and puts them
into the other sites' brokers.`,
		Example: `  weft init --mesh             write weft.yaml and an identity
  weft check weft.yaml         say what is wrong with it
  weft sub -t '#' -v           watch this node's broker`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.Version = version()
	root.SetVersionTemplate("weft {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return flagError(err) })
	flags := root.PersistentFlags()
	flags.StringVarP(&g.config, "config", "c", "weft.yaml", "configuration `file`")
	flags.StringVar(&g.logLevel, "log-level", "", "least `level` to log: debug, info, warn or error (default info; warn for pub and sub)")
	flags.StringVar(&g.logFormat, "log-format", "text", "`format` of the log on standard error: text or json")
	root.AddCommand(
		newRun(g), newCheck(g), newDemo(g), newInit(g), newID(g), newStatus(g), newPeers(g), newMatch(), newPub(g), newSub(g), newPlugins(g), newSchema(g), newVersion(),
	)
	return root
}

// noArgs is for the commands that take flags alone.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	what := cmd.Name() + " takes no argument"
	if slices.Contains([]string{"run", "id", "status", "peers"}, cmd.Name()) {
		what += "; -c names the file"
	}
	return fmt.Errorf("extra argument %q: %s", args[0], what)
}

// addCompletion adds cobra's command for shells, which says nothing of a shell that it does not know. The root's output is set.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	completion, _, err := root.Find([]string{"completion"})
	if err != nil {
		return
	}
	completion.Args = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return errors.New("no shell; write bash, zsh, fish or powershell")
		}
		return fmt.Errorf("unknown shell %q; write bash, zsh, fish or powershell", args[0])
	}
	completion.Run = func(*cobra.Command, []string) {} // its Args let nobody come here
	for _, shell := range completion.Commands() {
		shell.Args = noArgs
	}
}
