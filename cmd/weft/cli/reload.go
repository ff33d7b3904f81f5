package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/weft-relay/weft/configs"
)

// reloads remembers what came of the last attempt to take up a changed configuration file. The zero value is ready.
type reloads struct{ failed atomic.Pointer[string] }

// note keeps why the file was not taken up; nil is that it was.
func (r *reloads) note(path string, err error) {
	if err == nil {
		r.failed.Store(nil)
		return
	}
	text := fmt.Sprintf("%s was not taken up at %s: %s", path, time.Now().Format(time.DateTime), strings.ReplaceAll(err.Error(), "\n", "; "))
	r.failed.Store(&text)
}

// problem says why the last attempt failed, or "" if it did not.
func (r *reloads) problem() string {
	if text := r.failed.Load(); text != nil {
		return *text
	}
	return ""
}

// reread reads the file again and builds what it asks for.
func (r *runner) reread(ctx context.Context, running *configs.File) (*configs.File, error) {
	file, err := r.set.Load(r.path)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(sameNode(file, running), r.set.Check(ctx, file)); err != nil {
		return nil, err
	}
	r.log.Info("configuration read again")
	return file, nil
}

// sameNode says why a file is not one for the node that runs: its peers know it by its name, and by the key in its data_dir.
func sameNode(file, running *configs.File) error {
	switch now, was := file.Node, running.Node; {
	case now.Node != was.Node:
		return file.Problem("node", fmt.Errorf("%q, but this process runs %q; stop it and run weft again to change the name, which gives it a new identity unless data_dir stays", now.Node, was.Node))
	case now.DataDir != was.DataDir:
		return file.Problem("data_dir", fmt.Errorf("%s, but the identity and the lanes of this process are in %s; stop it and run weft again to change the folder", now.DataDir, was.DataDir))
	}
	return nil
}
