// Package apply puts a task's best configuration to use: it renders the task's
// apply template with the winner's values into a file of the user's, and tests
// the outcome. It runs where the command line runs, on the user's machine.
//
// Planning is gated: the task succeeded, the winner was confirmed against the
// baseline, its speed-up reaches the promote threshold, and the template is
// the one that was submitted. Doing is atomic: the target is either the old
// file or the whole new one at every moment, and the old one comes back when
// the test fails, or, with the next apply, after a crash during the test.
package apply

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fleetune/fleetune/proto/bundle"
	"github.com/fleetune/fleetune/proto/render"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// The reasons not to apply.
var (
	ErrNoTemplate      = errors.New("the task has no apply section")
	ErrNotSucceeded    = errors.New("the task has not completed")
	ErrNoWinner        = errors.New("the task has no best configuration")
	ErrNotConfirmed    = errors.New("the best configuration is not confirmed against the baseline")
	ErrBelowThreshold  = errors.New("the speed-up is below the promote threshold")
	ErrTemplateChanged = errors.New("the template is not the one that was submitted")
	ErrTarget          = errors.New("the target cannot be written")
	ErrTargetChanged   = errors.New("the target changed meanwhile")
	ErrBusy            = errors.New("another apply is at work in this folder")
	// ErrVerify says that the test failed and the old file is back.
	ErrVerify = errors.New("the test of the new configuration failed; the old one is back")
)

// A Winner is a task's best configuration.
type Winner struct {
	// Number of its experiment.
	Number     int
	Parameters space.Point
	// Confirmed says that it was measured again beside the baseline.
	Confirmed bool
	// Speedup over the baseline, from the confirmation: 2 is twice as fast.
	Speedup float64
}

// A Request says what to apply.
type Request struct {
	// Dir is where apply is called: template and target are paths in it, and
	// nothing outside it is read or written.
	Dir     string
	Command *task.Command
	// Succeeded says that the task has completed with a result.
	Succeeded bool
	// Winner is nil when the task has none.
	Winner *Winner
	// Force applies a winner below the promote threshold.
	Force bool
}

// A Change is a planned apply: nothing is written yet.
type Change struct {
	// Target is the path to be written, inside Dir.
	Dir, Target string
	// Old is what the target holds, nil when there is none.
	Old, New []byte
	mode     fs.FileMode
	verify   *render.Step
	// interrupted says that an earlier apply stopped before its test was over;
	// Old is what it kept aside.
	interrupted bool
	// at is called before each step on the disk; tests crash there.
	at func(step string)
}

// Plan checks the gates and renders the template. The error wraps one of this
// package's, and what it wraps names the figures.
func Plan(r Request) (*Change, error) {
	if err := gates(r); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(r.Dir)
	if err != nil {
		return nil, fmt.Errorf("opening the folder: %w", err)
	}
	defer func() { _ = root.Close() }()
	a := r.Command.Apply
	template, err := root.ReadFile(filepath.FromSlash(a.Template))
	if err != nil {
		return nil, fmt.Errorf("reading the template: %w", err)
	}
	if a.Digest == "" || bundle.Digest(template) != a.Digest {
		return nil, fmt.Errorf("%w: %s has changed since; submit the task again, or restore the file",
			ErrTemplateChanged, a.Template)
	}
	text, err := render.Text(string(template), r.Winner.Parameters, a.Encoding)
	if err != nil {
		return nil, err
	}
	c := &Change{Dir: r.Dir, Target: filepath.FromSlash(a.Target), New: []byte(text), mode: 0o644, at: func(string) {}}
	if a.Verify != nil {
		if c.verify, err = render.Program(*a.Verify, r.Winner.Parameters); err != nil {
			return nil, fmt.Errorf("apply.verify: %w", err)
		}
	}
	return c, c.readOld(root)
}

func gates(r Request) error {
	w := r.Winner
	switch {
	case r.Command == nil || r.Command.Apply == nil:
		return ErrNoTemplate
	case !r.Succeeded:
		return ErrNotSucceeded
	case w == nil:
		return ErrNoWinner
	case !w.Confirmed:
		return fmt.Errorf("%w: experiment %d", ErrNotConfirmed, w.Number)
	case !(w.Speedup >= r.Command.Thresholds.Promote) && !r.Force: // false for NaN too
		return fmt.Errorf("%w: %.3g, %.3g is asked for",
			ErrBelowThreshold, w.Speedup, r.Command.Thresholds.Promote)
	}
	return nil
}

// readOld reads what the target holds now, or what an interrupted apply kept.
func (c *Change) readOld(root *os.Root) error {
	name := c.Target
	if _, err := root.Lstat(c.kept()); err == nil {
		c.interrupted, name = true, c.kept()
	}
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTarget, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: %s is not a plain file", ErrTarget, name)
	}
	if c.Old, err = root.ReadFile(name); err != nil {
		return fmt.Errorf("%w: %w", ErrTarget, err)
	}
	if c.Old == nil {
		c.Old = []byte{}
	}
	c.mode = info.Mode().Perm()
	return nil
}

// Unchanged says that the target already holds the winner.
func (c *Change) Unchanged() bool {
	return c.Old != nil && bytes.Equal(c.Old, c.New) && !c.interrupted
}

// kept is where the old file waits while the new one is tested; draft is where
// the new one is written. Both stand beside the target, for a rename to be
// atomic.
func (c *Change) kept() string  { return c.beside(".kept") }
func (c *Change) draft() string { return c.beside(".draft") }

func (c *Change) beside(suffix string) string {
	dir, file := filepath.Split(c.Target)
	return filepath.Join(dir, "."+file+".fleetune"+suffix)
}
