package postgres

import (
	"os"
	"strconv"
)

// runsIn tells whether a process is a postmaster of the data folder: it works
// in there. A zombie does not: its folder cannot be read.
func runsIn(pid int, data string) bool {
	at, err := os.Stat("/proc/" + strconv.Itoa(pid) + "/cwd")
	if err != nil {
		return false
	}
	want, err := os.Stat(data)
	return err == nil && os.SameFile(at, want)
}
