//go:build unix && !linux

package remote

import "syscall"

// attributes put the program into a process group of its own.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func offer(int) {}
