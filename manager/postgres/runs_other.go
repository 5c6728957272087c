//go:build unix && !linux

package postgres

import (
	"os/exec"
	"strconv"
	"strings"
)

// runsIn tells whether a process is a postmaster of the data folder: its
// command line names it.
func runsIn(pid int, data string) bool {
	out, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.Contains(string(out), "postgres -D "+data)
}
