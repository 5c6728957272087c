package chaos

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// grace is what processes get to vanish after the parts have ended.
const grace = 2 * time.Second

// sweep counts the processes of the stand that are still there, and kills them.
func (s *stand) sweep() (int, error) {
	deadline := time.Now().Add(grace)
	for {
		left, err := s.remaining()
		if err != nil || len(left) == 0 {
			return 0, err
		}
		if time.Now().Before(deadline) {
			time.Sleep(look)
			continue
		}
		for _, pid := range left {
			s.log.Error().Int("pid", pid).Str("command", commandLine(pid)).Msg("harm: process left")
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		return len(left), nil
	}
}

// remaining lists the living processes that bear the stand's mark, or whose
// command line names its folder.
func (s *stand) remaining() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	var left []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || pid == os.Getppid() {
			continue
		}
		environ, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		marked := bytes.Contains(environ, []byte(markVariable+"="+s.mark))
		if marked || strings.Contains(commandLine(pid), s.cfg.Dir) {
			left = append(left, pid)
		}
	}
	return left, nil
}

// commandLine of a process; empty for a zombie or one that is gone.
func commandLine(pid int) string {
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return ""
	}
	return string(bytes.ReplaceAll(line, []byte{0}, []byte{' '}))
}
