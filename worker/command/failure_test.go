package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/worker/device"
	"github.com/fleetune/fleetune/worker/process"
)

func TestFailures(t *testing.T) {
	const brief = task.Duration(50 * time.Millisecond)
	for name, c := range map[string]struct {
		change  func(s *stand)
		outcome experiment.Outcome
		phase   string
		message string
	}{
		"unknown placeholder": {func(s *stand) { s.command.Run.Argv = append(s.command.Run.Argv, "{{nope}}") },
			experiment.OutcomeRenderError, "render", "{{nope}}"},
		"unused parameter": {func(s *stand) { s.point["idle"] = int64(1) },
			experiment.OutcomeRenderError, "render", "parameters.idle"},
		"file outside the folder": {func(s *stand) { s.file("../x", "") },
			experiment.OutcomeRenderError, "render", "leaves the experiment's folder"},
		"source not in the bundle": {func(s *stand) { s.command.Files[0].Source = "kernel.sh" },
			experiment.OutcomeRenderError, "render", "not in the bundle"},
		"build fails": {func(s *stand) { s.command.Build = step("sh", "-c", "echo why >&2; exit 3") },
			experiment.OutcomeFailed, "build", "exit code 3"},
		"build program is not on this worker": {func(s *stand) { s.command.Build = step("no-such-compiler") },
			experiment.OutcomeInfraError, "build", "no-such-compiler"},
		"program not built": {func(s *stand) { s.command.Run = *step("./kernel") },
			experiment.OutcomeFailed, "run", "./kernel"},
		"build too slow": {func(s *stand) { s.command.Build = &task.Step{Argv: []string{"sleep", "100"}, Timeout: brief} },
			experiment.OutcomeTimeout, "build", "time-out of the build"},
		"inputs too slow": {func(s *stand) { s.file("inputs.sh", "sleep 100"); s.command.Inputs.Timeout = brief },
			experiment.OutcomeTimeout, "inputs", "time-out of the inputs"},
		"check too slow": {func(s *stand) { s.file("kernel.sh", "sleep 100 # {{scale}}"); s.command.Check.Timeout = brief },
			experiment.OutcomeTimeout, "check", "time-out of the check"},
		"run too slow": {func(s *stand) { s.ungated(); s.file("run.sh", "sleep 100"); s.budget = 500 * time.Millisecond },
			experiment.OutcomeTimeout, "run", "time-out of the experiment"},
		"task's time is up": {func(s *stand) {
			s.ungated()
			s.file("run.sh", "sleep 100")
			s.budget, s.total = 500*time.Millisecond, true
		},
			experiment.OutcomeTotal, "run", "time-out of the task passed; "},
		"cool-down beyond the budget": {func(s *stand) {
			s.ungated()
			s.command.Cooldown, s.budget = task.Duration(time.Hour), 500*time.Millisecond
		}, experiment.OutcomeTimeout, "run", "time-out of the experiment"},
		"out of memory, says the program": {func(s *stand) {
			s.file("run.sh", "echo 'RuntimeError: CUDA out of memory. Tried to allocate 20 GiB' >&2; exit 1")
		}, experiment.OutcomeOutOfMemory, "run", "out of memory"},
		"out of memory, says the allocator": {func(s *stand) {
			s.file("run.sh", "echo \"terminate called after throwing an instance of 'std::bad_alloc'\" >&2; kill -ABRT $$")
		}, experiment.OutcomeOutOfMemory, "run", "out of memory"},
		"speaks of memory and succeeds": {func(s *stand) { s.file("run.sh", "echo out of memory >&2\n"+run) },
			experiment.OutcomeSuccess, "", ""},
		"run fails": {func(s *stand) { s.file("run.sh", "exit 9") },
			experiment.OutcomeFailed, "run", "exit code 9"},
		"run fails after a good result": {func(s *stand) { s.file("run.sh", run+"\nexit 9") },
			experiment.OutcomeFailed, "run", "exit code 9"},
		"run fails and says incorrect": {func(s *stand) { s.file("run.sh", strings.ReplaceAll(run, "true", "false")+"\nexit 9") },
			experiment.OutcomeIncorrect, "result", "not correct"},
		"says incorrect": {func(s *stand) { s.file("run.sh", strings.ReplaceAll(run, "true", "false")) },
			experiment.OutcomeIncorrect, "result", "not correct"},
		"its own check failed": {func(s *stand) {
			s.file("run.sh", strings.ReplaceAll(run, `"metrics"`, `"checks":[{"name":"x","ok":false,"detail":"d"}],"metrics"`))
		}, experiment.OutcomeIncorrect, "result", "check x failed: d"},
		"reports an error": {func(s *stand) { s.file("run.sh", strings.ReplaceAll(run, `true`, `true,"error":"no ECC"`)) },
			experiment.OutcomeFailed, "result", "no ECC"},
		"no result file": {func(s *stand) { s.file("run.sh", ":") },
			experiment.OutcomeNoMetric, "result", "did not write EXP_RESULT_PATH"},
		"another run's result": {func(s *stand) { s.file("run.sh", strings.ReplaceAll(run, `"%s"`, `"other%s"`)) },
			experiment.OutcomeNoMetric, "result", "run_id"},
		"too few samples": {func(s *stand) { s.offer.Repeats = 4 },
			experiment.OutcomeNoMetric, "result", "3 samples, 4 are needed"},
		"objective's metric missing": {func(s *stand) { s.offer.Metrics = []string{"energy"} },
			experiment.OutcomeNoMetric, "result", `"energy"`},
		"secret unknown": {func(s *stand) { s.command.Env.Secrets = map[string]string{"TOKEN": "hub"} },
			experiment.OutcomeInfraError, "render", `"hub"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStand(t)
			c.change(s)
			want(t, s.do(t.Context()), c.outcome, c.phase, c.message)
		})
	}
}

// Time-outs name themselves for machines too.
func TestTimeoutIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		limit  task.Duration // of the check
		budget time.Duration
		total  bool
	}{
		"check":      {task.Duration(50 * time.Millisecond), time.Minute, false},
		"experiment": {task.Duration(time.Minute), 300 * time.Millisecond, false},
		"task":       {task.Duration(time.Minute), 300 * time.Millisecond, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			s.file("kernel.sh", "sleep 100 # {{scale}}")
			s.command.Check.Timeout, s.budget, s.total = c.limit, c.budget, c.total
			f := s.do(t.Context()).Failure
			want := c.budget
			if name == "check" {
				want = c.limit.D()
			}
			if f == nil || f.Timeout != name || f.Limit != want || f.Hint == "" {
				t.Errorf("failure is %+v, want time-out %s of %v", f, name, want)
			}
		})
	}
}

// A cancelled attempt ends at once, whatever it is doing, and leaves nothing.
func TestCancel(t *testing.T) {
	for _, phase := range []string{"build", "inputs", "check", "reference", "run"} {
		t.Run(phase, func(t *testing.T) {
			s := newStand(t)
			fifo := filepath.Join(s.logs, "fifo")
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			hang := []string{"sh", "-c", "echo here > " + fifo + "; sleep 100"}
			switch phase {
			case "build":
				s.command.Build = step(hang...)
			case "inputs":
				s.command.Inputs = step(hang...)
			case "check":
				s.command.Check = step(append(hang, "{{scale}}")...)
				s.command.Inputs = nil
			case "reference":
				s.command.Reference = step(hang...)
			case "run":
				s.command.Run = *step(hang...)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			done := make(chan error, 1)
			go func() {
				_, err := os.ReadFile(fifo) // returns when the program has written
				cancel(errors.New("the task was cancelled"))
				done <- err
			}()
			want(t, s.do(ctx), experiment.OutcomeCancelled, phase, "the task was cancelled")
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestLogTail(t *testing.T) {
	s := newStand(t)
	s.file("run.sh", "seq 10000; echo last words >&2; exit 1")
	f := s.do(t.Context()).Failure
	if f == nil || len(f.LogTail) > tailSize || !strings.HasSuffix(f.LogTail, "10000\nlast words") {
		t.Errorf("failure is %+v", f)
	}
	if f.ExitCode == nil || *f.ExitCode != 1 {
		t.Errorf("exit code is %v", f.ExitCode)
	}
	log, err := os.ReadFile(filepath.Join(s.logs, "run-stdout"))
	if err != nil || !strings.HasPrefix(string(log), "1\n2\n") {
		t.Errorf("log is %.20q (%v)", log, err)
	}
}

// unproven is the real runner on a machine where one program's death cannot be
// proven: what the kernel would have to do for it cannot be asked for in a test.
type unproven struct {
	*process.Runner
	program string
}

func (u unproven) Run(ctx context.Context, s process.Spec) (process.Exit, error) {
	exit, err := u.Runner.Run(ctx, s)
	if err == nil && strings.Contains(strings.Join(s.Argv, " "), u.program) {
		err = fmt.Errorf("%w: run %s", process.ErrNotProvenDead, s.Tag)
	}
	return exit, err
}

func TestUnprovenDeath(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(s *stand)
		outcome experiment.Outcome
	}{
		"after success": {func(*stand) {}, experiment.OutcomeInfraError},
		"after failure": {func(s *stand) { s.file("run.sh", "exit 1") }, experiment.OutcomeInfraError},
		"after time-out": {func(s *stand) { s.ungated(); s.file("run.sh", "sleep 100"); s.budget = 500 * time.Millisecond },
			experiment.OutcomeTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			c.change(s)
			staged, res := New(unproven{process.New(process.Config{}), "run.sh"}, s.options).Stage(t.Context(), s.job())
			if res != nil {
				t.Fatal(res.Failure)
			}
			defer func() { _ = staged.Close() }()
			got := staged.Run(t.Context(), s.devices, s.budget, false)
			if got.Outcome != c.outcome || !got.Unproven || got.Measurement != nil {
				t.Errorf("result is %+v", got)
			}
		})
	}
}

func TestSecrets(t *testing.T) {
	s := newStand(t)
	const secret = "s3cr3t-value"
	s.options.Secret = func(name string) (string, error) {
		if name != "hub" {
			return "", errors.New("unknown")
		}
		return secret, nil
	}
	s.command.Env.Secrets = map[string]string{"TOKEN": "hub"}
	// Nobody who follows the logs sees the secret before it is masked.
	s.file("run.sh", `[ ${#TOKEN} = 12 ] || exit 7; echo "out $TOKEN"; echo "err $TOKEN" >&2
grep -rq "$TOKEN" `+s.logs+` && exit 8; exit 1`)
	f := s.do(t.Context()).Failure
	if *f.ExitCode != 1 || f.LogTail != "out ************\nerr ************" {
		t.Errorf("exit code %d, log tail %q", *f.ExitCode, f.LogTail)
	}
	s.file("run.sh", strings.ReplaceAll(run, "true", `true,"error":"cannot log in with '$TOKEN'"`))
	if f = s.do(t.Context()).Failure; f.Phase != "result" || !strings.Contains(f.Message, "cannot log in with ****") {
		t.Errorf("failure is %+v", f)
	}
	logs, err := filepath.Glob(filepath.Join(s.logs, "*"))
	if err != nil || len(logs) < 6 {
		t.Fatalf("logs %v (%v)", logs, err)
	}
	for _, log := range logs {
		text, err := os.ReadFile(log)
		if err != nil || strings.Contains(string(text), secret) {
			t.Errorf("%s holds the secret (%v)", log, err)
		}
	}
}

// A program sees what the task names, and nothing else of the worker's
// environment.
func TestEnvironment(t *testing.T) {
	s := newStand(t)
	s.options.Environ = []string{"PATH=" + os.Getenv("PATH"), "LICENSE=here", "HIDDEN=1", "CUDA_VISIBLE_DEVICES=7"}
	s.command.Env = task.Env{Pass: []string{"LICENSE", "ABSENT"}, Set: map[string]string{
		"SCALE": "{{scale}}", "RESULT": "{{EXP_RESULT_PATH}}", "EXP_SEED": "0", "WHERE": "{{EXP_DIR}}/x"}}
	s.devices = []node.Device{{ID: "GPU-a", Index: 3, Vendor: "nvidia"}, {ID: "GPU-b", Index: 1, Vendor: "nvidia"}}
	s.file("run.sh", "env > "+filepath.Join(s.logs, "env")+"\n"+run)
	s.command.Build = step("sh", "-c", "env > "+filepath.Join(s.logs, "build-env"))
	want(t, s.do(t.Context()), experiment.OutcomeSuccess, "", "")
	got := environ(t, filepath.Join(s.logs, "env"))
	for name, value := range map[string]string{"LICENSE": "here", "SCALE": "2", "CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b",
		"EXP_DEVICES": "GPU-a,GPU-b", "RESULT": got["EXP_RESULT_PATH"], "WHERE": s.dir + "/candidate/work/x",
		"HOME": s.dir + "/candidate/home", "EXP_REPEATS": "3", "ROCR_VISIBLE_DEVICES": "-1"} {
		if got[name] != value {
			t.Errorf("%s is %q, want %q", name, got[name], value)
		}
	}
	for _, name := range []string{"HIDDEN", "ABSENT", "EXP_REFERENCE_DIR"} {
		if value, ok := got[name]; ok {
			t.Errorf("%s is %q", name, value)
		}
	}
	if got["EXP_SEED"] == "0" {
		t.Error("the task overrides EXP_SEED")
	}
	build := environ(t, filepath.Join(s.logs, "build-env"))
	if v, ok := build["CUDA_VISIBLE_DEVICES"]; !ok || v != "" {
		t.Errorf("the build sees devices %q (%v)", v, ok)
	}
	if _, ok := build["RESULT"]; ok {
		t.Error("a variable made of what a build does not have is set")
	}
}

func environ(t *testing.T, path string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		env[name] = value
	}
	return env
}

func TestAMDDevicesAreShownOnce(t *testing.T) {
	env := device.Visible([]node.Device{{ID: "0x1", Index: 2, Vendor: "amd"}})
	if _, hip := env["HIP_VISIBLE_DEVICES"]; hip || env["ROCR_VISIBLE_DEVICES"] != "2" || env["CUDA_VISIBLE_DEVICES"] != "" {
		t.Errorf("environment is %v", env)
	}
}

// A value that looks like a placeholder stays what it is.
func TestValueIsNotRenderedAgain(t *testing.T) {
	s := newStand(t)
	s.point["text"] = "{{scale}}"
	s.command.Run.Argv = append(s.command.Run.Argv, "{{text}}")
	s.file("run.sh", run+"\n[ \"$1\" = '{{scale}}' ] || exit 5")
	want(t, s.do(t.Context()), experiment.OutcomeSuccess, "", "")
}
