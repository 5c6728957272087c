package chaos

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// hurry is when a part that was asked to end is asked again: a worker lets
	// running attempts finish at first, and hands them back then.
	hurry = 300 * time.Millisecond
	// restartPause keeps a program that cannot start from being started in a row.
	restartPause = time.Second
	// partPatience is for a part that was asked to hurry, before it is killed.
	partPatience = 20 * time.Second
)

// A part is one program of the stand, started again and again.
type part struct {
	name string
	argv []string
	env  []string // beside the stand's own
	dir  string   // of its log

	cmd     *exec.Cmd
	exited  chan struct{}
	started time.Time
}

// start starts the program; extra variables hold for this start alone. The
// program is in a process group of its own, so that Ctrl-C is the stand's.
func (p *part) start(extra ...string) error {
	if p.alive() {
		return nil
	}
	log, err := os.OpenFile(filepath.Join(p.dir, p.name+".log"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("opening the log of %s: %w", p.name, err)
	}
	defer func() { _ = log.Close() }() // the program has its own copy
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Env = append(append(os.Environ(), p.env...), extra...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how a killed program ended is no news
		close(exited)
	}()
	p.cmd, p.exited, p.started = cmd, exited, time.Now()
	return nil
}

func (p *part) alive() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// revive starts a program again that ended by itself, as an init system does,
// and says whether it did.
func (p *part) revive() (bool, error) {
	if p.cmd == nil || p.alive() || time.Since(p.started) < restartPause {
		return false, nil
	}
	return true, p.start()
}

// signal sends a signal to the program itself, not to what it started.
func (p *part) signal(s syscall.Signal) error {
	if !p.alive() {
		return nil
	}
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signalling %s: %w", p.name, err)
	}
	return nil
}

// kill ends the program at once and waits for it.
func (p *part) kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	if p.exited != nil {
		<-p.exited
	}
	return nil
}

// stop asks the program to end, then to hurry, and kills it when it does not.
func (p *part) stop() error {
	if !p.alive() {
		return nil
	}
	if err := p.signal(syscall.SIGCONT); err != nil {
		return err
	}
	// Two signals at once would arrive as one.
	for _, wait := range []time.Duration{hurry, partPatience} {
		if err := p.signal(syscall.SIGTERM); err != nil {
			return err
		}
		select {
		case <-p.exited:
			return nil
		case <-time.After(wait):
		}
	}
	return errors.Join(fmt.Errorf("%s did not end in %s", p.name, partPatience), p.kill())
}
