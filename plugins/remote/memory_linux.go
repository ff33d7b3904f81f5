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
	state              byte
	pages              int64
}

// memoryOf returns the resident bytes of a process, of what is in its group, and of all that these have started, without the guard.
func memoryOf(pid, guard int) (bytes int64) {
	for _, r := range family(processes(), pid, guard) {
		bytes += r.pages * int64(os.Getpagesize())
	}
	return bytes
}

// startedBy returns what is in the group of a process, and what these have started, without the process and its guard.
func startedBy(pid, guard int) (pids []int) {
	for _, r := range family(processes(), pid, guard) {
		if r.pid != pid {
			pids = append(pids, r.pid)
		}
	}
	return pids
}

// alive says whether a process has not ended; one that nobody has waited for yet has.
func alive(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	r, ok := parseStat(text)
	return err == nil && ok && r.state != 'Z' && r.state != 'X'
}

func processes() (all []relative) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
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
	return all
}

// family returns a process, what is in its group, and all that these have started, without the guard.
func family(all []relative, pid, guard int) (found []relative) {
	members := map[int]bool{pid: true}
	for grown := true; grown; {
		grown = false
		for _, r := range all {
			if !members[r.pid] && (r.group == pid || members[r.parent]) {
				members[r.pid], grown = true, true
			}
		}
	}
	for _, r := range all {
		if members[r.pid] && r.pid != guard {
			found = append(found, r)
		}
	}
	return found
}

// parseStat reads what proc(5) says of /proc/PID/stat: fields 1, 3, 4, 5 and 24. The second is in parentheses, and may have any in it.
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
	r.state = fields[0][0]
	r.parent, errs[1] = strconv.Atoi(string(fields[1]))
	r.group, errs[2] = strconv.Atoi(string(fields[2]))
	r.pages, errs[3] = strconv.ParseInt(string(fields[21]), 10, 64)
	return r, errs == [4]error{}
}
