//go:build unix

package remote

import (
	"os"
	"os/exec"
	"syscall"
)

// newGuard returns a process that joins the program's group and, when the pipe closes, removes the folder and kills the group: when the node
// has ended, however it did. What the program has started ends as well then. As long as the guard lives nobody else gets the group's number.
func newGuard(group int, pipe *os.File, folder string) *exec.Cmd {
	guard := exec.Command("/bin/sh", "-c", `trap '' TERM INT HUP; read _; rm -rf "$1"; kill -KILL 0`, "weft-guard", folder)
	guard.Stdin, guard.Env = pipe, []string{}
	guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: group}
	return guard
}

func terminateGroup(leader *os.Process) { _ = syscall.Kill(-leader.Pid, syscall.SIGTERM) }

// killGroup kills the leader of the group too where it has left it.
func killGroup(leader *os.Process) {
	_ = leader.Kill()
	_ = syscall.Kill(-leader.Pid, syscall.SIGKILL)
}
