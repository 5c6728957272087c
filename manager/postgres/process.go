//go:build unix

package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rs/zerolog"
)

// How long each way of stopping may take before the next, rougher one.
const (
	fastTime      = 30 * time.Second
	immediateTime = 10 * time.Second
)

// A process is the running postmaster. One goroutine starts it and waits for
// it, and is the owner of its end.
type process struct {
	cmd   *exec.Cmd
	lines *lines
	ended chan struct{}
	// err is how it ended; read it after ended.
	err error
}

// launch starts the server and waits until it takes connections. A shared
// memory block that children of a killed server still hold makes a start
// fail; they end within moments, so it is tried again.
func (h *home) launch(ctx context.Context, settings map[string]string) (*process, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		p, err := h.begin(settings)
		if err != nil {
			return nil, err
		}
		err = h.awaitReady(ctx, p)
		if err == nil {
			return p, nil
		}
		_ = p.stop() // it failed; err says why
		if !strings.Contains(p.lines.last(), "shared memory block") {
			return nil, err
		}
		h.log.Debug().Err(err).Msg("waiting for the remains of a killed PostgreSQL")
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// begin starts the server. The thread that forks it is held until its end: the
// kernel ties the parent-death signal to the thread, not to the process.
func (h *home) begin(settings map[string]string) (*process, error) {
	args := []string{"-D", h.data()}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	// The server outlives the start's context, so it is not tied to it.
	cmd := h.command(context.Background(), "postgres", args...)
	dieWithParent(cmd.SysProcAttr)
	p := &process{cmd: cmd, lines: &lines{log: h.log}, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.lines, p.lines
	cmd.WaitDelay = immediateTime
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("running %s: %w", cmd.Path, err)
	}
	return p, nil
}

func (h *home) awaitReady(ctx context.Context, p *process) error {
	for {
		err := probe(ctx, h.socket)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("the server ended at once: %s", p.lines.last())
		default:
		}
		if pauseErr := pause(ctx, 20*time.Millisecond); pauseErr != nil {
			return fmt.Errorf("the server takes no connections: %w: %w", pauseErr, err)
		}
	}
}

// probe connects once.
func probe(ctx context.Context, socket string) error {
	conn, err := pgx.Connect(ctx, databaseURL(socket, "postgres"))
	if err != nil {
		var refused *pgconn.PgError
		if errors.As(err, &refused) {
			return fmt.Errorf("refused: %s", refused.Message)
		}
		return err
	}
	return conn.Close(ctx)
}

// stop ends the server: fast first (connections are cut, the state is
// written), then immediate (recovery at the next start), then by force.
func (p *process) stop() error {
	steps := []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGINT, fastTime}, {syscall.SIGQUIT, immediateTime}, {syscall.SIGKILL, immediateTime}}
	for _, step := range steps {
		// A process that is gone already is what is wanted.
		_ = p.cmd.Process.Signal(step.signal)
		_ = p.cmd.Process.Signal(syscall.SIGCONT) // it may be stopped, and deaf
		timer := time.NewTimer(step.wait)
		select {
		case <-p.ended:
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
	return fmt.Errorf("process %d does not end", p.cmd.Process.Pid)
}

// pause waits, or returns the context's error.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lines takes the server's output: each line is logged, the last few are kept
// to explain an end.
type lines struct {
	log zerolog.Logger

	mu   sync.Mutex
	rest string
	kept []string
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest += string(p)
	for {
		line, rest, found := strings.Cut(l.rest, "\n")
		if !found {
			return len(p), nil
		}
		l.rest = rest
		l.keep(line)
	}
}

func (l *lines) keep(line string) {
	if line == "" {
		return
	}
	level := zerolog.DebugLevel
	switch {
	case strings.HasPrefix(line, "ERROR") || strings.HasPrefix(line, "FATAL"):
		// A client's mistake, which its caller hears of.
	case strings.HasPrefix(line, "PANIC"):
		level = zerolog.ErrorLevel
	case strings.HasPrefix(line, "WARNING"):
		level = zerolog.WarnLevel
	}
	l.log.WithLevel(level).Str("part", "postgres").Msg(line)
	l.kept = append(l.kept, line)
	if len(l.kept) > 8 {
		l.kept = l.kept[1:]
	}
}

func (l *lines) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.kept, "; ")
}
