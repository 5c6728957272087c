//go:build unix

package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// heal clears away what an owner that was killed left behind: a server that
// still runs is stopped, a postmaster.pid without a server is removed.
// PostgreSQL removes stale ones itself, but not when a stranger has been given
// the process number meanwhile.
func (h *home) heal(ctx context.Context) error {
	path := filepath.Join(h.data(), "postmaster.pid")
	pid, err := readPID(path)
	if err != nil || pid == 0 {
		return err
	}
	if runsIn(pid, h.data()) {
		h.log.Warn().Int("pid", pid).Msg("stopping a PostgreSQL that a killed owner left behind")
		if err := h.end(ctx, pid); err != nil {
			return err
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing a stale postmaster.pid: %w", err)
	}
	return nil
}

// readPID reads the first line of a postmaster.pid; 0 when there is no file or
// nothing in it.
func readPID(path string) (int, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading postmaster.pid: %w", err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 1 {
		return 0, nil // half-written at a crash
	}
	return pid, nil
}

// end stops a server that is not our child, fast, then immediately, then by
// force.
func (h *home) end(ctx context.Context, pid int) error {
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGINT, fastTime}, {syscall.SIGQUIT, immediateTime}, {syscall.SIGKILL, immediateTime}} {
		if err := syscall.Kill(pid, step.signal); errors.Is(err, syscall.ESRCH) {
			return nil
		} else if err != nil {
			return fmt.Errorf("stopping process %d: %w", pid, err)
		}
		_ = syscall.Kill(pid, syscall.SIGCONT) // it may be stopped, and deaf
		for until := time.Now().Add(step.wait); time.Now().Before(until); {
			if !runsIn(pid, h.data()) {
				return nil
			}
			if err := pause(ctx, 20*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("process %d, a PostgreSQL in %s, does not end", pid, h.data())
}
