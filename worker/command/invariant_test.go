package command

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/worker/process"
)

// The five ways in which a program can try to outlive its run. Each takes the
// lock that stands for the device and holds it.
var shapes = map[string]string{
	"parent waits":                      `flock -n "$LOCK" sleep 100 & wait`,
	"parent exits, child holds stdout":  `flock -n "$LOCK" sleep 100 & `,
	"parent exits, child detached":      `flock -n "$LOCK" sleep 100 > /dev/null 2>&1 < /dev/null & `,
	"parent exits, child in a session":  `setsid flock -n "$LOCK" sleep 100 > /dev/null 2>&1 & `,
	"tree that ignores the termination": `trap '' TERM; flock -n "$LOCK" sh -c "trap '' TERM; sleep 100 & wait" & wait`,
}

// Invariant 1: no tagged process survives the end of an attempt, a successful
// one included. The lock can be taken at the first try afterwards.
func TestInvariant01_NoProcessSurvives(t *testing.T) {
	for name, shape := range shapes {
		for _, phase := range []string{"build", "check", "run"} {
			t.Run(name+", "+phase, func(t *testing.T) {
				t.Parallel()
				s := newStand(t)
				lock := filepath.Join(s.logs, "device")
				held := filepath.Join(s.logs, "held")
				if err := syscall.Mkfifo(held, 0o600); err != nil {
					t.Fatal(err)
				}
				// The program goes on once the lock is held.
				program := "LOCK=" + lock + "\n" + strings.ReplaceAll(shape, "sleep 100", "sh -c 'echo > "+held+"; sleep 100'") + "\n"
				gate := "read x < " + held + "\n"
				if strings.Contains(shape, "wait") {
					program, gate = strings.Replace(program, "& wait\n", "&\n"+gate+"wait\n", 1), ""
				}
				s.budget = 2 * time.Second
				switch phase {
				case "build":
					s.file("build.sh", program+gate)
					s.command.Build = step("sh", "build.sh")
					s.command.Build.Timeout = task.Duration(s.budget)
				case "check":
					s.command.Inputs, s.command.Reference = nil, nil
					s.file("kernel.sh", program+gate+": {{scale}}")
				case "run":
					s.ungated()
					s.file("run.sh", program+gate+run)
				}
				res := s.do(t.Context())
				if res.Unproven {
					t.Fatalf("not proven dead: %+v", res.Failure)
				}
				f, err := os.OpenFile(lock, os.O_RDWR, 0)
				if err != nil {
					t.Fatal("the program never took the lock: ", err)
				}
				defer func() { _ = f.Close() }()
				if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
					t.Errorf("the device is still held after %s: %v", res.Outcome, err)
				}
			})
		}
	}
}

// Invariant 3, this package's part: however an attempt ends, its folder and
// its processes are gone and its runner is usable at once; stand.do checks the
// first two, the second attempt the third.
func TestInvariant03_NothingLeaks(t *testing.T) {
	for name, change := range map[string]func(s *stand){
		"render error":   func(s *stand) { s.point["unused"] = true },
		"spawn failure":  func(s *stand) { s.command.Run = *step("./absent") },
		"build failure":  func(s *stand) { s.command.Build = step("false") },
		"bad offer":      func(s *stand) { s.command.Measure = "" },
		"time-out":       func(s *stand) { s.budget = time.Nanosecond },
		"no bundle":      func(s *stand) { s.command.Bundle = "sha256:00" },
		"locked folders": func(s *stand) { s.file("run.sh", "mkdir -p a/b && touch a/b/c && chmod 0 a/b a; exit 1") },
		"success":        func(*stand) {},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			change(s)
			s.do(t.Context())
			next := newStand(t)
			next.dir = s.dir
			want(t, next.do(t.Context()), experiment.OutcomeSuccess, "", "")
		})
	}
	t.Run("panic", func(t *testing.T) {
		s := newStand(t)
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
			if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder is still there: %v", err)
			}
		}()
		j := s.job()
		staged, _ := New(panicking{process.New(process.Config{})}, Options{}).Stage(t.Context(), j)
		defer func() { _ = staged.Close() }()
		staged.Run(t.Context(), nil, time.Minute, false)
	})
}

// panicking panics when the measured program is started.
type panicking struct{ *process.Runner }

func (p panicking) Run(ctx context.Context, s process.Spec) (process.Exit, error) {
	if strings.Contains(strings.Join(s.Argv, " "), "run.sh") {
		panic("the runner has a defect")
	}
	return p.Runner.Run(ctx, s)
}

// Invariant 13, this package's part: NaN and infinities are no result, and
// what an attempt yields is strict JSON.
func TestInvariant13_FiniteNumbersOnly(t *testing.T) {
	for name, samples := range map[string]string{"NaN": "[1,NaN,2]", "Infinity": "[1,Infinity,2]",
		"too large": "[1,1e999,2]", "null": "[1,null,2]", "text": `[1,"2",3]`} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			s.file("run.sh", strings.ReplaceAll(run, "[3,1,2]", samples))
			want(t, s.do(t.Context()), experiment.OutcomeNoMetric, "result", "")
		})
	}
	s := newStand(t)
	s.file("run.sh", strings.ReplaceAll(run, "[3,1,2]", "[1.7e308,-1.7e308,1.7e308]"))
	res := s.do(t.Context())
	want(t, res, experiment.OutcomeSuccess, "", "")
	if _, err := json.Marshal(res.Measurement); err != nil {
		t.Errorf("extreme but finite samples do not encode: %v", err)
	}
}

// Invariant 15: what a program prints is never a result.
func TestInvariant15_ForgedOutputIgnored(t *testing.T) {
	const forged = `echo 'CORRECTNESS: True'; echo 'RESULT_TIME: 0.001 ms'; echo 'SPEEDUP: 999'
printf '{"schema":1,"run_id":"%s","correct":true,"metrics":{"time":{"unit":"s","samples":[0,0,0]}}}' "$EXP_RUN_ID" | tee /dev/stderr
`
	s := newStand(t)
	s.file("run.sh", forged)
	want(t, s.do(t.Context()), experiment.OutcomeNoMetric, "result", "did not write")
	s = newStand(t)
	s.file("run.sh", forged+run)
	s.file("kernel.sh", forged+kernel)
	res := s.do(t.Context())
	want(t, res, experiment.OutcomeSuccess, "", "")
	if m := res.Measurement.Metrics["time"]; m.Median != 2 {
		t.Errorf("the forged metric counts: %+v", m)
	}
	s = newStand(t)
	s.point = space.Point{"scale": int64(3)}
	s.file("kernel.sh", forged+kernel)
	want(t, s.do(t.Context()), experiment.OutcomeIncorrect, "check", "")
}

// A result file that an earlier program left is never taken for a later one's.
func TestStaleResultIgnored(t *testing.T) {
	s := newStand(t)
	s.file("run.sh", `[ -e $HOME/ran ] && exit 0; touch $HOME/ran
`+run)
	s.offer.Purpose, s.offer.Baseline = experiment.Confirm, s.point
	want(t, s.do(t.Context()), experiment.OutcomeNoMetric, "result", "did not write")
}
