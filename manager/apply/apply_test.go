package apply

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fleetune/fleetune/proto/bundle"
	"github.com/fleetune/fleetune/proto/render"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("APPLY_TEST_CRASH_IN"); dir != "" {
		crash(dir, os.Getenv("APPLY_TEST_CRASH_AT"))
	}
	goleak.VerifyTestMain(m)
}

const (
	oldText  = "#define N 1\n"
	newText  = "#define N 8\n"
	template = "#define N {{n}}\n"
)

// prepare makes a task's folder with an old target, and a request that passes
// every gate.
func prepare(dir string) (Request, error) {
	c := &task.Command{Thresholds: task.Thresholds{Promote: 1.1}, Apply: &task.Apply{Template: "config.in",
		Target: "sub/config.h", Digest: bundle.Digest([]byte(template)),
		Verify: &task.Step{Argv: []string{"grep", "-q", "N {{n}}", "sub/config.h"}}}}
	r := Request{Dir: dir, Command: c, Succeeded: true,
		Winner: &Winner{Number: 3, Parameters: space.Point{"n": int64(8), "other": true}, Confirmed: true, Speedup: 2}}
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o755); err != nil {
		return r, err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.in"), []byte(template), 0o600); err != nil {
		return r, err
	}
	return r, os.WriteFile(filepath.Join(dir, "sub/config.h"), []byte(oldText), 0o640)
}

func request(t *testing.T) Request {
	t.Helper()
	r, err := prepare(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// do plans and does.
func do(ctx context.Context, r Request) error {
	c, err := Plan(r)
	if err != nil {
		return err
	}
	return Do(ctx, c, io.Discard)
}

// holds checks the target, and that nothing else is left in its folder.
func holds(t *testing.T, r Request, want string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(r.Dir, "sub/config.h"))
	if err != nil || string(got) != want {
		t.Errorf("the target holds %q (%v), want %q", got, err, want)
	}
	entries, err := os.ReadDir(filepath.Join(r.Dir, "sub"))
	if err != nil || len(entries) != 1 {
		t.Errorf("the target's folder holds %v (%v)", entries, err)
	}
}

func TestApply(t *testing.T) {
	r := request(t)
	c, err := Plan(r)
	if err != nil {
		t.Fatal(err)
	}
	if string(c.Old) != oldText || string(c.New) != newText || c.Unchanged() {
		t.Errorf("planned %q to %q", c.Old, c.New)
	}
	holds(t, r, oldText) // a plan writes nothing
	r.Command.Apply.Verify.Argv = []string{"echo", "fine"}
	if c, err = Plan(r); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	if err := Do(t.Context(), c, &log); err != nil || log.String() != "fine\n" {
		t.Errorf("error %v, log %q", err, log.String())
	}
	holds(t, r, newText)
	info, err := os.Stat(filepath.Join(r.Dir, "sub/config.h"))
	if err != nil || info.Mode() != 0o640 {
		t.Errorf("mode is %v (%v)", info.Mode(), err)
	}
	if c, err = Plan(r); err != nil || !c.Unchanged() {
		t.Errorf("a second plan changes %v (%v)", c, err)
	}
	if err := do(t.Context(), r); err != nil {
		t.Errorf("a second apply: %v", err)
	}
}

func TestApplyMakesAMissingTarget(t *testing.T) {
	r := request(t)
	if err := os.Remove(filepath.Join(r.Dir, "sub/config.h")); err != nil {
		t.Fatal(err)
	}
	if err := do(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	holds(t, r, newText)
}

func TestGates(t *testing.T) {
	for name, c := range map[string]struct {
		change func(r *Request)
		want   error
	}{
		"no apply section":  {func(r *Request) { r.Command.Apply = nil }, ErrNoTemplate},
		"no command":        {func(r *Request) { r.Command = nil }, ErrNoTemplate},
		"task failed":       {func(r *Request) { r.Succeeded = false }, ErrNotSucceeded},
		"no winner":         {func(r *Request) { r.Winner = nil }, ErrNoWinner},
		"not confirmed":     {func(r *Request) { r.Winner.Confirmed = false }, ErrNotConfirmed},
		"not even forced":   {func(r *Request) { r.Winner.Confirmed, r.Force = false, true }, ErrNotConfirmed},
		"speed-up unknown":  {func(r *Request) { r.Winner.Speedup = math.NaN() }, ErrBelowThreshold},
		"value missing":     {func(r *Request) { r.Winner.Parameters = space.Point{} }, render.ErrRender},
		"target outside":    {func(r *Request) { r.Command.Apply.Target = "../config.h" }, ErrTarget},
		"target is a link":  {func(r *Request) { relink(r, "../config.in") }, ErrTarget},
		"link leaves":       {func(r *Request) { relink(r, "/etc/hostname") }, ErrTarget},
		"target a folder":   {func(r *Request) { r.Command.Apply.Target = "sub" }, ErrTarget},
		"never submitted":   {func(r *Request) { r.Command.Apply.Digest = "" }, ErrTemplateChanged},
		"template missing":  {func(r *Request) { r.Command.Apply.Template = "absent" }, os.ErrNotExist},
		"verify impossible": {func(r *Request) { r.Command.Apply.Verify.Argv = []string{"{{x}}"} }, render.ErrRender},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(t)
			c.change(&r)
			if err := do(t.Context(), r); !errors.Is(err, c.want) {
				t.Errorf("error is %v, want %v", err, c.want)
			}
		})
	}
}

func relink(r *Request, to string) {
	path := filepath.Join(r.Dir, "sub/config.h")
	if err := errors.Join(os.Remove(path), os.Symlink(to, path)); err != nil {
		panic(err)
	}
}

// Invariant 16, first part: a template that changed since the task was
// submitted is refused.
func TestInvariant16_TemplateMismatchRefused(t *testing.T) {
	r := request(t)
	if err := os.WriteFile(filepath.Join(r.Dir, "config.in"), []byte(template+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.Force = true // does not help
	if err := do(t.Context(), r); !errors.Is(err, ErrTemplateChanged) {
		t.Errorf("error is %v", err)
	}
	holds(t, r, oldText)
}

// Invariant 16, second part: below the threshold nothing changes, unless forced.
func TestInvariant16_BelowThresholdUnchanged(t *testing.T) {
	r := request(t)
	r.Winner.Speedup = 1.0999
	err := do(t.Context(), r)
	if !errors.Is(err, ErrBelowThreshold) || !strings.Contains(err.Error(), "1.1") {
		t.Errorf("error is %v", err)
	}
	holds(t, r, oldText)
	r.Winner.Speedup = 1.1
	if _, err := Plan(r); err != nil {
		t.Errorf("just at the threshold: %v", err)
	}
	r.Winner.Speedup, r.Force = 0.5, true
	if err := do(t.Context(), r); err != nil {
		t.Errorf("forced: %v", err)
	}
	holds(t, r, newText)
}

// crash applies in dir and dies by SIGKILL before the named step.
func crash(dir, step string) {
	r, err := prepare(dir)
	if err != nil {
		panic(err)
	}
	c, err := Plan(r)
	if err != nil {
		panic(err)
	}
	c.at = func(s string) {
		if s == step {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	panic(Do(context.Background(), c, io.Discard))
}

// Invariant 16, third part: whenever the process dies, the target is the old
// file or the whole new one: the old one before the rename, and after the next
// apply the tested one.
func TestInvariant16_Crash(t *testing.T) {
	for step, want := range map[string]string{"draft": oldText, "keep": oldText, "rename": oldText, "test": newText, "forget": newText} {
		t.Run(step, func(t *testing.T) {
			dir := t.TempDir()
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), "APPLY_TEST_CRASH_IN="+dir, "APPLY_TEST_CRASH_AT="+step)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("it did not die as planned: %v\n%s", err, out)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "sub/config.h")); err != nil || string(got) != want {
				t.Errorf("the target holds %q (%v), want %q", got, err, want)
			}
			t.Run("next apply fails its test", func(t *testing.T) { afterCrash(t, dir, "false", ErrVerify, oldText) })
			t.Run("next apply", func(t *testing.T) { afterCrash(t, dir, "true", nil, newText) })
		})
	}
}

// afterCrash applies again in a copy of dir.
func afterCrash(t *testing.T, dir, verify string, want error, text string) {
	t.Helper()
	r := request(t)
	if err := os.RemoveAll(r.Dir); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", dir, r.Dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r.Command.Apply.Verify.Argv = []string{verify}
	if err := do(t.Context(), r); !errors.Is(err, want) {
		t.Errorf("error is %v, want %v", err, want)
	}
	holds(t, r, text)
}

// Invariant 16, fourth part: a failed test brings the old file back.
func TestInvariant16_FailedTestRollsBack(t *testing.T) {
	r := request(t)
	r.Command.Apply.Verify.Argv = []string{"sh", "-c", "cat sub/config.h; exit 3"}
	err := do(t.Context(), r)
	if !errors.Is(err, ErrVerify) || !strings.Contains(err.Error(), "exit status 3\n#define N 8") {
		t.Errorf("error is %v", err)
	}
	holds(t, r, oldText)

	if err := os.Remove(filepath.Join(r.Dir, "sub/config.h")); err != nil {
		t.Fatal(err)
	}
	if err := do(t.Context(), r); !errors.Is(err, ErrVerify) {
		t.Errorf("error is %v", err)
	}
	if entries, err := os.ReadDir(filepath.Join(r.Dir, "sub")); err != nil || len(entries) != 0 {
		t.Errorf("where there was no file there is %v now (%v)", entries, err)
	}
}

func TestSlowTestRollsBack(t *testing.T) {
	r := request(t)
	r.Command.Apply.Verify = &task.Step{Argv: []string{"sh", "-c", "sleep 100 & sleep 100"}, Timeout: task.Duration(50 * time.Millisecond)}
	if err := do(t.Context(), r); !errors.Is(err, ErrVerify) || !strings.Contains(err.Error(), "time-out of 50ms") {
		t.Errorf("error is %v", err)
	}
	holds(t, r, oldText)
}

func TestCancelledTestRollsBack(t *testing.T) {
	r := request(t)
	r.Command.Apply.Verify.Argv = []string{"sh", "-c", "echo > started; sleep 100"}
	if err := syscall.Mkfifo(filepath.Join(r.Dir, "started"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := os.ReadFile(filepath.Join(r.Dir, "started"))
		cancel()
		done <- err
	}()
	if err := do(ctx, r); !errors.Is(err, ErrVerify) || !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	holds(t, r, oldText)
}

func TestTargetChangedSincePlan(t *testing.T) {
	r := request(t)
	c, err := Plan(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.Dir, "sub/config.h"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Do(t.Context(), c, io.Discard); !errors.Is(err, ErrTargetChanged) {
		t.Errorf("error is %v", err)
	}
	holds(t, r, "mine")
}

// Two applies in one folder do not mix: the second is told so.
func TestOneApplyAtATime(t *testing.T) {
	r := request(t)
	first, err := Plan(r)
	if err != nil {
		t.Fatal(err)
	}
	first.at = func(step string) {
		if step == "test" {
			r.Winner = &Winner{Parameters: space.Point{"n": int64(9)}, Confirmed: true, Speedup: 3}
			if err := do(t.Context(), r); !errors.Is(err, ErrBusy) {
				t.Errorf("error is %v", err)
			}
		}
	}
	if err := Do(t.Context(), first, io.Discard); err != nil {
		t.Fatal(err)
	}
	holds(t, r, newText)
}
