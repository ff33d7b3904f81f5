//go:build unix

package lanes

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lockDir makes dir this process's own until the file is closed. The kernel lets go of it when the process dies.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data_dir %s: %w", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if err == unix.EWOULDBLOCK {
			pid, _ := io.ReadAll(io.LimitReader(f, 20))
			who := cmp.Or(strings.TrimSpace(string(pid)), "unknown")
			return nil, fmt.Errorf("data_dir %s is in use by another weft process (pid %s): stop that one, or give this node a data_dir of its own", dir, who)
		}
		return nil, fmt.Errorf("lock data_dir %s: %w", dir, err)
	}
	// The pid is there for people to read. A disk too full to hold it shows itself as soon as the journal is opened.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}
