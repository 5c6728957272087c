package apply

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Do writes the planned change and tests it. It returns nil when the new file
// stands and its test, if there is one, has passed; ErrVerify when the test
// failed and the old file is back. Output of the test goes to log as well.
func Do(ctx context.Context, c *Change, log io.Writer) error {
	if c.Unchanged() {
		return nil
	}
	root, err := os.OpenRoot(c.Dir)
	if err != nil {
		return fmt.Errorf("opening the folder: %w", err)
	}
	defer func() { _ = root.Close() }()
	d := &doing{Change: c, root: root}
	unlock, err := d.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.recover(); err != nil {
		return err
	}
	if err := d.unmoved(); err != nil {
		return err
	}
	if err := d.replace(); err != nil {
		return errors.Join(err, d.rollBack())
	}
	if err := d.test(ctx, log); err != nil {
		if back := d.rollBack(); back != nil {
			return fmt.Errorf("testing the new configuration: %w; putting the old one back failed too: %w", err, back)
		}
		return fmt.Errorf("%w: %w", ErrVerify, err)
	}
	d.at("forget")
	if err := d.remove(d.kept()); err != nil {
		return err
	}
	return d.sync()
}

// doing is a change at work.
type doing struct {
	*Change
	root *os.Root
	// replaced says that the target is, or may be, the new file.
	replaced bool
}

// lock keeps a second apply out of the folder. The kernel drops it with the
// process, and nothing is left in the folder.
func (d *doing) lock() (unlock func(), err error) {
	dir, err := d.root.Open(".")
	if err != nil {
		return nil, fmt.Errorf("opening the folder: %w", err)
	}
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = dir.Close()
		return nil, fmt.Errorf("%w: %w", ErrBusy, err)
	}
	return func() { _ = dir.Close() }, nil
}

// recover puts back what an interrupted apply kept aside, and removes its draft.
func (d *doing) recover() error {
	if err := d.remove(d.draft()); err != nil {
		return err
	}
	if !d.interrupted {
		return nil
	}
	d.at("recover")
	if err := d.root.Rename(d.kept(), d.Target); err != nil {
		return fmt.Errorf("putting back what an interrupted apply replaced: %w", err)
	}
	// Where the target was not replaced yet both names are one file, which a
	// rename leaves alone.
	if err := d.remove(d.kept()); err != nil {
		return err
	}
	return d.sync()
}

// unmoved makes sure that the target is still what was planned upon.
func (d *doing) unmoved() error {
	now := *d.Change
	now.Old = nil
	if err := now.readOld(d.root); err != nil {
		return err
	}
	if (now.Old == nil) != (d.Old == nil) || !bytes.Equal(now.Old, d.Old) {
		return fmt.Errorf("%w: %s", ErrTargetChanged, d.Target)
	}
	return nil
}

// replace writes a draft to the disk, keeps the old file aside under a second
// name, and renames the draft over the target.
func (d *doing) replace() error {
	d.at("draft")
	if err := d.writeDraft(); err != nil {
		return fmt.Errorf("writing %s: %w", d.Target, err)
	}
	if d.Old != nil {
		d.at("keep")
		if err := d.root.Link(d.Target, d.kept()); err != nil {
			return fmt.Errorf("keeping the old %s: %w", d.Target, err)
		}
	}
	d.at("rename")
	d.replaced = true
	if err := d.root.Rename(d.draft(), d.Target); err != nil {
		return fmt.Errorf("replacing %s: %w", d.Target, err)
	}
	return d.sync()
}

func (d *doing) writeDraft() (err error) {
	f, err := d.root.OpenFile(d.draft(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, d.mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Chmod(d.mode); err != nil { // whatever the umask says
		return err
	}
	if _, err := f.Write(d.New); err != nil {
		return err
	}
	return f.Sync()
}

// rollBack brings the old state back, whatever the context says by now.
func (d *doing) rollBack() error {
	d.at("roll back")
	err := d.remove(d.draft())
	switch {
	case d.replaced && d.Old != nil:
		if back := d.root.Rename(d.kept(), d.Target); back != nil {
			err = errors.Join(err, fmt.Errorf("putting the old %s back: %w", d.Target, back))
		}
		err = errors.Join(err, d.remove(d.kept())) // see recover
	case d.replaced:
		err = errors.Join(err, d.remove(d.Target))
	default:
		err = errors.Join(err, d.remove(d.kept()))
	}
	return errors.Join(err, d.sync())
}

func (d *doing) remove(name string) error {
	if err := d.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing %s: %w", name, err)
	}
	return nil
}

// sync makes the renames of the target's folder last.
func (d *doing) sync() error {
	dir, err := d.root.Open(filepath.Dir(d.Target))
	if err != nil {
		return fmt.Errorf("syncing the target's folder: %w", err)
	}
	defer func() { _ = dir.Close() }()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("syncing the target's folder: %w", err)
	}
	return nil
}

const (
	// verifyTimeout bounds a test without a time-out of its own.
	verifyTimeout = 10 * time.Minute
	// verifyTail is how much of a failed test's output an error quotes, in bytes.
	verifyTail = 2 << 10
)

// test runs the verify step in the change's folder, in the user's environment.
// Its output goes to a file, for a pipe would keep us waiting for whoever
// inherits it.
func (d *doing) test(ctx context.Context, log io.Writer) error {
	if d.verify == nil {
		return nil
	}
	d.at("test")
	dir, err := filepath.Abs(d.Dir)
	if err != nil {
		return err
	}
	argv, err := d.verify.Argv.Resolve(map[string]string{"EXP_DIR": dir})
	if err != nil {
		return err
	}
	timeout := d.verify.Timeout.D()
	if timeout <= 0 {
		timeout = verifyTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("its time-out of %v passed", timeout))
	defer cancel()
	out, err := os.CreateTemp("", "fleetune-verify-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(out.Name()); _ = out.Close() }()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, append(os.Environ(), "EXP_DIR="+dir), out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err = cmd.Run()
	text, readErr := os.ReadFile(out.Name())
	if _, copyErr := log.Write(text); readErr == nil {
		readErr = copyErr
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if err != nil {
		return fmt.Errorf("%s: %w%s", strings.Join(argv, " "), err, quoted(text))
	}
	if readErr != nil {
		return fmt.Errorf("passing on the test's output: %w", readErr)
	}
	return nil
}

// quoted is the end of a program's output, on lines of its own.
func quoted(text []byte) string {
	text = bytes.TrimSpace(text[max(0, len(text)-verifyTail):])
	if len(text) == 0 {
		return ""
	}
	return "\n" + strings.ToValidUTF8(string(text), "\uFFFD")
}
