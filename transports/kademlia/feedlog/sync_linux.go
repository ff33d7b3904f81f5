package feedlog

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncData makes what was written to f durable. fdatasync leaves out the times of the file, which nothing here needs.
func syncData(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err != unix.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
