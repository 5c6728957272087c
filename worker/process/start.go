package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// startLeader starts the leader on its cores and marks it before its first
// instruction. Both go by the thread that forks: a child inherits its affinity,
// and stops for it alone. The runtime makes no new thread from one that a
// goroutine has locked, so no other thread takes the affinity over.
func (p *Process) startLeader(path string, attr *os.ProcAttr) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		err, restored := p.startOn(p.spec.Cores, path, attr)
		if restored {
			runtime.UnlockOSThread()
		} // else the thread ends with this goroutine
		result <- err
	}()
	return <-result
}

// startOn says whether the thread has its own cores back.
func (p *Process) startOn(cores []int, path string, attr *os.ProcAttr) (err error, restored bool) {
	if len(cores) == 0 {
		return p.exec(path, attr), true
	}
	var own, want unix.CPUSet
	for _, c := range cores {
		want.Set(c)
	}
	if want.Count() != len(cores) {
		return fmt.Errorf("cores %v are not distinct or do not exist", cores), true
	}
	if err := unix.SchedGetaffinity(0, &own); err != nil {
		return fmt.Errorf("reading the CPU affinity: %w", err), true
	}
	if err := unix.SchedSetaffinity(0, &want); err != nil {
		return fmt.Errorf("setting the CPU affinity to %v: %w", cores, err), true
	}
	err = p.exec(path, attr)
	return err, unix.SchedSetaffinity(0, &own) == nil
}

// exec starts the leader. Where tracing is allowed it stops once at its
// beginning, so that it has the run's mark before it can fork; elsewhere a
// leader that forks within its first moments may be faster than the mark.
func (p *Process) exec(path string, attr *os.ProcAttr) error {
	attr.Sys.Ptrace = traceable(path, attr.Dir)
	leader, err := os.StartProcess(path, p.spec.Argv, attr)
	if attr.Sys.Ptrace && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS)) {
		attr.Sys.Ptrace = false
		leader, err = os.StartProcess(path, p.spec.Argv, attr)
	}
	if err != nil {
		return err
	}
	p.leader, p.pid = leader, leader.Pid
	if attr.Sys.Ptrace {
		p.awaitStop()
	}
	markLimit(p.pid, p.mark)
	if attr.Sys.Ptrace {
		_ = unix.PtraceDetach(p.pid)
	}
	return nil
}

// awaitStop waits until the leader has stopped, or was killed before it could.
func (p *Process) awaitStop() {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PID, p.pid, &info, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return
		}
	}
}

// traceable says whether a program does not depend on privileges that its file
// gives it: the kernel withholds them while a process is traced.
func traceable(path, dir string) bool {
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
		return false
	}
	_, err = unix.Getxattr(path, "security.capability", nil)
	return err != nil
}
