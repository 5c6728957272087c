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
// still runs is stopped, and a postmaster.pid that would keep PostgreSQL from
// starting is mended. A stale one it deals with itself, by its knowledge of
// the old server's shared memory, so the file is not simply removed: children
// of a killed server may still be at work.
func (h *home) heal(ctx context.Context) error {
	path := filepath.Join(h.data(), "postmaster.pid")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading postmaster.pid: %w", err)
	}
	first, rest, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 1 {
		// Half-written in a crash. PostgreSQL would wait for a hand.
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("removing a broken postmaster.pid: %w", err)
		}
		return nil
	}
	if runsIn(pid, h.data()) {
		h.log.Warn().Int("pid", pid).Msg("stopping a PostgreSQL that a killed owner left behind")
		return h.end(ctx, pid)
	}
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return nil
	}
	// The number is a stranger's by now, whom PostgreSQL would take for a
	// server. Its own parent it does not, and that is who we are.
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"+rest), 0o600); err != nil {
		return fmt.Errorf("mending a stale postmaster.pid: %w", err)
	}
	return nil
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
