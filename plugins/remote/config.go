package remote

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// Config says which program to run, and what it may use.
type Config struct {
	Name string `yaml:"name" doc:"what the plugin is called: PLUGIN.TYPE is the type of a transport or a stage that it has"`
	// A command with a slash in it is a path, relative to the folder of the configuration file, which is also where the program runs; any other
	// is looked for in PATH.
	Command []string `yaml:"command" doc:"the program and its arguments, a list"`
	// Beside Env it has PATH, HOME, USER, LANG, TZ and TMPDIR; nothing else of the node's own environment reaches the program.
	Env     map[string]string `yaml:"env" weft:"secret" doc:"variables of its environment, secrets"`
	Memory  int64             `yaml:"memory" weft:"size" doc:"what it may use with its children; beyond, it is killed and started again; 0 for no limit"`
	Timeout time.Duration     `yaml:"timeout" doc:"how long a start, a call or a health check may take before it is killed and started again, 100ms to 1h"`

	Dir string `yaml:"-"` // the folder of the configuration file; empty is the working directory
}

// PluginName is what a configuration file calls it.
func (c *Config) PluginName() string { return c.Name }

// Defaults and bounds.
const (
	defaultMemory  = 256 << 20
	leastMemory    = 1 << 20
	defaultTimeout = 10 * time.Second
	leastTimeout   = 100 * time.Millisecond
	mostTimeout    = time.Hour
)

// SetDefaults sets what holds when the key is not there.
func (c *Config) SetDefaults() {
	c.Memory = defaultMemory
	c.Timeout = defaultTimeout
}

var (
	validName     = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)
	validVariable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// Validate reports everything that is wrong with the section, joined. It looks at no file.
func (c *Config) Validate() error {
	var errs []error
	switch {
	case c.Name == "":
		errs = append(errs, errors.New("name: missing; name the plugin, such as name: lora"))
	case !validName.MatchString(c.Name):
		errs = append(errs, fmt.Errorf("name: %q is not a name; use 1 to 32 of a-z, 0-9, _ and -", c.Name))
	}
	if len(c.Command) == 0 || c.Command[0] == "" {
		errs = append(errs, errors.New("command: missing; give the program and its arguments, such as [./lora-plugin, --port, /dev/ttyUSB0]"))
	}
	for key := range c.Env {
		if !validVariable.MatchString(key) || reserved(key) {
			errs = append(errs, fmt.Errorf("env: %q is not a variable to set; use letters, digits and _, not beginning with a digit, with PLUGIN_ or with WEFT_PLUGIN", key))
		}
	}
	if c.Memory != 0 && c.Memory < leastMemory {
		errs = append(errs, fmt.Errorf("memory: %d bytes are too few for any program; write 1MiB or more, or 0 for no limit", c.Memory))
	}
	if c.Timeout < leastTimeout || c.Timeout > mostTimeout {
		errs = append(errs, fmt.Errorf("timeout: %v is out of range; write 100ms to 1h", c.Timeout))
	}
	return errors.Join(errs...)
}

// reserved says whether the handshake uses the variable.
func reserved(key string) bool {
	return strings.HasPrefix(key, "PLUGIN_") || strings.HasPrefix(key, "WEFT_PLUGIN")
}

// explain adds to the error of a start what would help.
func (c *Config) explain(err error) error {
	program := c.Command[0]
	_, missing := os.Stat(c.path())
	_, beside := os.Stat(filepath.Join(c.Dir, program))
	switch {
	case missing != nil && len(c.Command) == 1 && strings.ContainsRune(program, ' '):
		return fmt.Errorf("%w; write each argument as an item of its own: [%s]", err, strings.Join(strings.Fields(program), ", "))
	case errors.Is(err, exec.ErrNotFound) && beside == nil:
		return fmt.Errorf("%w; for the one in the folder of the file write ./%s", err, program)
	case errors.Is(err, fs.ErrNotExist) && missing == nil:
		return fmt.Errorf("%w: the program is there, but not what it needs to run, such as what its first line (#!) names", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; it must be a program, and executable (chmod +x)", err)
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("%w; a script needs a first line such as #!/bin/sh, or its interpreter in the command", err)
	}
	return err
}

// path returns the program as it is to be looked for.
func (c *Config) path() string {
	program := c.Command[0]
	if !strings.ContainsRune(program, '/') || filepath.IsAbs(program) {
		return program
	}
	absolute, err := filepath.Abs(filepath.Join(c.Dir, program))
	if err != nil {
		return program
	}
	return absolute
}
