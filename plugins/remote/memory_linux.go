package remote

import (
	"bytes"
	"os"
	"strconv"
)

// measures says whether memory can be measured here.
const measures = true

// relative is a process as /proc/PID/stat has it.
type relative struct {
	pid, parent, group int
	pages              int64
}

// memoryOf returns the resident bytes of a process, of what is in its group, and of all that these have started, without the guard.
func memoryOf(pid, guard int) int64 {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	var all []relative
	for _, entry := range entries {
		if _, err := strconv.Atoi(entry.Name()); err != nil {
			continue
		}
		if text, err := os.ReadFile("/proc/" + entry.Name() + "/stat"); err == nil {
			if r, ok := parseStat(text); ok {
				all = append(all, r)
			}
		}
	}
	return sum(all, pid, guard) * int64(os.Getpagesize())
}

func sum(all []relative, pid, guard int) (pages int64) {
	family := map[int]bool{pid: true}
	for grown := true; grown; {
		grown = false
		for _, r := range all {
			if !family[r.pid] && (r.group == pid || family[r.parent]) {
				family[r.pid], grown = true, true
			}
		}
	}
	for _, r := range all {
		if family[r.pid] && r.pid != guard {
			pages += r.pages
		}
	}
	return pages
}

// parseStat reads what proc(5) says of /proc/PID/stat: fields 1, 4, 5 and 24. The second is in parentheses, and may have any in it.
func parseStat(text []byte) (r relative, ok bool) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return r, false
	}
	fields := bytes.Fields(text[end+1:])
	if len(fields) < 22 {
		return r, false
	}
	var errs [4]error
	r.pid, errs[0] = strconv.Atoi(string(bytes.TrimSpace(text[:open])))
	r.parent, errs[1] = strconv.Atoi(string(fields[1]))
	r.group, errs[2] = strconv.Atoi(string(fields[2]))
	r.pages, errs[3] = strconv.ParseInt(string(fields[21]), 10, 64)
	return r, errs == [4]error{}
}
