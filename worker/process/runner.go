package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Config of a Runner. The zero value is usable.
type Config struct {
	// KillBudget bounds the proof that a tree is dead; 0 means DefaultKillBudget.
	KillBudget time.Duration
	// NoCgroup keeps the runner from using cgroups even where it could.
	NoCgroup bool
}

// A Runner starts programs. Its methods may be called from many goroutines.
type Runner struct {
	budget time.Duration
	groups *cgroups // nil where no hierarchy is delegated
}

// New returns a Runner.
func New(c Config) *Runner {
	r := &Runner{budget: c.KillBudget}
	if r.budget <= 0 {
		r.budget = DefaultKillBudget
	}
	if !c.NoCgroup {
		r.groups = detectCgroups()
	}
	return r
}

// UsesCgroups says whether programs run in cgroups of their own.
func (r *Runner) UsesCgroups() bool { return r.groups != nil }

// BecomeSubreaper makes this process the parent of every orphan below it, so
// that a dead process whose parent is gone is reaped here. Call it once, from
// main, before anything is started.
func BecomeSubreaper() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("becoming child subreaper: %w", err)
	}
	return nil
}

// Run starts a program, waits until it ends or ctx does, and then proves its
// whole tree dead. The error is ErrStart, ErrNotProvenDead or nil: a program
// that fails is no error, and one that was ended through ctx has Exit.Cause.
func (r *Runner) Run(ctx context.Context, s Spec) (Exit, error) {
	p, err := r.Start(ctx, s)
	if err != nil {
		return Exit{Code: -1}, err
	}
	return p.Wait()
}

// Start starts a program that ends by itself or when ctx does. Whoever calls
// it must call Wait.
func (r *Runner) Start(ctx context.Context, s Spec) (*Process, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStart, err)
	}
	p, err := r.launch(s)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStart, err)
	}
	go p.watch(ctx)
	return p, nil
}

func (r *Runner) launch(s Spec) (*Process, error) {
	if s.Tag == "" || strings.ContainsAny(s.Tag, "\x00=") {
		return nil, fmt.Errorf("run tag %q is not usable", s.Tag)
	}
	if len(s.Argv) == 0 {
		return nil, errors.New("argv is empty")
	}
	env := tagged(s.Env, s.Tag)
	path, err := lookup(s.Argv[0], env)
	if err != nil {
		return nil, err
	}
	out, err := openOutputs(s)
	if err != nil {
		return nil, err
	}
	p := &Process{runner: r, spec: s, out: out, done: make(chan struct{}), mark: markOf(s.Tag)}
	p.ooms = oomKills()
	attr := &os.ProcAttr{Dir: s.Dir, Env: env, Files: out.childFiles(),
		Sys: &syscall.SysProcAttr{Setsid: true}}
	p.start = time.Now()
	if err := p.startIn(path, attr); err != nil {
		out.abandon()
		return nil, fmt.Errorf("starting %s: %w", s.Argv[0], err)
	}
	out.begin()
	p.openHandle()
	return p, nil
}

// startIn starts the leader, in a cgroup where possible.
func (p *Process) startIn(path string, attr *os.ProcAttr) error {
	if p.runner.groups != nil {
		group, err := p.runner.groups.create(p.mark)
		if err == nil {
			attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, group.fd()
			err = p.startLeader(path, attr)
			group.closeFD()
			if err == nil {
				p.group = group
				return nil
			}
			group.remove()
			attr.Sys.UseCgroupFD = false
			if !cgroupRefused(err) {
				return err
			}
		}
	}
	return p.startLeader(path, attr)
}

// tagged returns env with the tag as its only value of TagVariable.
func tagged(env []string, tag string) []string {
	out := make([]string, 0, len(env)+1)
	for _, e := range env {
		if !strings.HasPrefix(e, TagVariable+"=") {
			out = append(out, e)
		}
	}
	return append(out, TagVariable+"="+tag)
}

// lookup finds the program as the child would: in the child's PATH.
func lookup(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	path := ""
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			path = v
		}
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue // never run what lies in the working folder by accident
		}
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && unix.Access(file, unix.X_OK) == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("%q: %w", name, exec.ErrNotFound)
}
