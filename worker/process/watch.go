package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Process is a started program.
type Process struct {
	runner *Runner
	spec   Spec
	mark   uint64
	group  *cgroup // nil without cgroups
	out    *outputs
	ooms   int64

	leader *os.Process
	pid    int
	handle *os.File // pidfd, nil where the kernel has none
	start  time.Time

	done chan struct{} // closed when exit and err are set
	exit Exit
	err  error

	mu     sync.Mutex
	reaped bool // the leader's id may be someone else's
}

// PID of the leader.
func (p *Process) PID() int { return p.pid }

// Done is closed when the program has ended and the proof is done.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end of the program and for the proof that its tree is
// dead. It may be called more than once.
func (p *Process) Wait() (Exit, error) {
	<-p.done
	return p.exit, p.err
}

// Terminate asks the program's group to end (SIGTERM). A program that does not
// listen goes on until its context ends.
func (p *Process) Terminate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = unix.Kill(-p.pid, unix.SIGTERM) // it may have ended meanwhile
	}
}

func (p *Process) openHandle() {
	fd, err := unix.PidfdOpen(p.pid, unix.PIDFD_NONBLOCK)
	if err == nil {
		p.handle = os.NewFile(uintptr(fd), "pidfd")
	}
}

// watch owns the program from its start to the end of the proof. The leader is
// not reaped before the tree is proven dead: as long as it is a zombie, its
// process id, and so the id of its group and session, cannot belong to anyone
// else, and signalling the group is safe.
func (p *Process) watch(ctx context.Context) {
	defer close(p.done)
	p.exit = Exit{PID: p.pid, Code: -1, Start: p.start}
	exited := p.waitLeader(ctx, time.Time{})
	if !exited {
		p.exit.Cause = context.Cause(ctx)
		exited = p.end()
	}
	p.exit.Duration = time.Since(p.start)

	deadline := time.Now().Add(p.runner.budget)
	survivors, err := p.prove(deadline)
	p.exit.Survivors = survivors
	held := p.out.finish(deadline)
	if err == nil && held {
		err = errors.New("its output is still held open")
	}
	p.exit.LogErr = p.out.err()
	p.reap(exited)
	if p.group != nil {
		p.exit.OOM = p.exit.OOM || p.group.oomKilled()
		p.group.remove()
	}
	if p.handle != nil {
		p.handle.Close()
	}
	if err != nil {
		p.err = fmt.Errorf("%w: run %s: %w", ErrNotProvenDead, p.spec.Tag, err)
	}
}

// end asks the program to stop, then kills it; it says whether the leader is
// gone.
func (p *Process) end() bool {
	if p.spec.Grace > 0 {
		_ = unix.Kill(-p.pid, unix.SIGTERM)
		if p.waitLeader(context.Background(), time.Now().Add(p.spec.Grace)) {
			return true
		}
	}
	p.killGroup()
	return p.waitLeader(context.Background(), time.Now().Add(p.runner.budget))
}

// killGroup kills everything that carries the id of the unreaped leader.
func (p *Process) killGroup() {
	if p.group != nil {
		p.group.kill()
	}
	_ = unix.Kill(-p.pid, unix.SIGKILL)
}

// reap collects the exit status of the leader.
func (p *Process) reap(exited bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaped = true
	if !exited {
		_ = p.leader.Release()
		return
	}
	state, err := p.leader.Wait()
	if err != nil {
		return
	}
	status, _ := state.Sys().(syscall.WaitStatus)
	p.exit.Code = state.ExitCode()
	if status.Signaled() {
		p.exit.Signal = status.Signal()
	}
	p.exit.User, p.exit.System = state.UserTime(), state.SystemTime()
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
		p.exit.MaxRSS = usage.Maxrss << 10
	}
	p.exit.OOM = killedForMemory(p.exit, p.ooms)
}

// waitLeader waits until the leader has ended, without reaping it, until ctx
// ends or the time comes (zero: never). It says whether the leader has ended.
func (p *Process) waitLeader(ctx context.Context, until time.Time) bool {
	if p.handle == nil {
		return p.pollLeader(ctx, until)
	}
	_ = p.handle.SetReadDeadline(until)
	stop := context.AfterFunc(ctx, func() { _ = p.handle.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := p.handle.SyscallConn()
	if err != nil {
		return p.pollLeader(ctx, until)
	}
	err = conn.Read(func(uintptr) bool { return p.leaderEnded() })
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return p.pollLeader(ctx, until)
	}
	return p.leaderEnded()
}

// pollInterval is how often a leader is looked at where the kernel cannot
// notify.
const pollInterval = 5 * time.Millisecond

func (p *Process) pollLeader(ctx context.Context, until time.Time) bool {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for !p.leaderEnded() {
		if !until.IsZero() && time.Now().After(until) {
			return false
		}
		select {
		case <-ctx.Done():
			return p.leaderEnded()
		case <-tick.C:
		}
	}
	return true
}

// leaderEnded says whether the leader is a zombie, and leaves it one.
func (p *Process) leaderEnded() bool {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PID, p.pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err == nil && info.Signo != 0
		}
	}
}
