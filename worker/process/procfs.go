package process

import (
	"bytes"
	"os"
	"strconv"
)

func procPath(pid int, name string) string {
	return "/proc/" + strconv.Itoa(pid) + "/" + name
}

// processes reads the process table. Processes that end meanwhile are left out.
func processes() ([]entry, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	all := make([]entry, 0, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if e, ok := readEntry(pid); ok {
			all = append(all, e)
		}
	}
	return all, nil
}

func readEntry(pid int) (entry, bool) {
	text, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil {
		return entry{}, false
	}
	return parseStat(text)
}

// parseStat reads a line of /proc/PID/stat (proc_pid_stat(5)). The name in
// parentheses may itself hold spaces and parentheses: the last one ends it.
func parseStat(text []byte) (entry, bool) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return entry{}, false
	}
	fields := bytes.Fields(text[end+1:])
	if len(fields) < 20 {
		return entry{}, false
	}
	var bad bool
	number := func(b []byte) int {
		n, err := strconv.Atoi(string(b))
		bad = bad || err != nil
		return n
	}
	e := entry{
		pid:    number(bytes.TrimSpace(text[:open])),
		parent: number(fields[1]), group: number(fields[2]), session: number(fields[3]),
		zombie: len(fields[0]) == 1 && (fields[0][0] == 'Z' || fields[0][0] == 'X'),
	}
	started, err := strconv.ParseUint(string(fields[19]), 10, 64)
	e.started = started
	return e, !bad && err == nil
}
