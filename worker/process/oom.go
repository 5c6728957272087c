package process

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// oomKills is how many processes the kernel has killed for memory since boot,
// -1 where it does not say.
func oomKills() int64 {
	text, err := os.ReadFile("/proc/vmstat")
	if err != nil {
		return -1
	}
	return counter(text, "oom_kill")
}

// counter reads a line "name number", -1 if there is none.
func counter(text []byte, name string) int64 {
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) == 2 && string(fields[0]) == name {
			if n, err := strconv.ParseInt(string(fields[1]), 10, 64); err == nil {
				return n
			}
		}
	}
	return -1
}

// killedForMemory says whether a program was ended for memory: by a SIGKILL
// that was not ours, or a shell's word for one, while the kernel counted such
// a kill. Where the kernel does not count, a foreign SIGKILL is taken for one.
func killedForMemory(e Exit, before int64) bool {
	killed := e.Signal == unix.SIGKILL || e.Code == 128+int(unix.SIGKILL)
	if !killed || e.Cause != nil {
		return false
	}
	now := oomKills()
	return before < 0 || now < 0 || now > before
}
