package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/worker/process"
	"github.com/fleetune/fleetune/worker/secret"
)

// A limit is a time-out that has a name. It is the cause of the context that
// it bounds, so that whoever finds the context ended knows which it was.
type limit struct {
	name string // build, inputs, reference, check, experiment or task
	d    time.Duration
}

func (l *limit) Error() string {
	if l.name == "task" { // its budget is what others left of it
		return fmt.Sprintf("the time-out of the task passed; %v of it had been left", l.d.Round(time.Millisecond))
	}
	return fmt.Sprintf("the time-out of the %s (%v) passed", l.name, l.d)
}

func (l *limit) outcome() experiment.Outcome {
	if l.name == "task" {
		return experiment.OutcomeTotal
	}
	return experiment.OutcomeTimeout
}

// ended turns the cause of an ended context into a result.
func ended(phase string, cause error) *Result {
	var l *limit
	if errors.As(cause, &l) {
		return &Result{Outcome: l.outcome(), Failure: &experiment.Failure{Phase: phase, Message: l.Error(),
			Timeout: l.name, Limit: l.d, Hint: timeoutHints[l.name]}}
	}
	return &Result{Outcome: experiment.OutcomeCancelled, Failure: &experiment.Failure{Phase: phase,
		Message: fmt.Sprintf("stopped: %v", cause)}}
}

var timeoutHints = map[string]string{
	"build":      "raise command.build.timeout if the build needs longer",
	"inputs":     "raise command.inputs.timeout, or write smaller inputs",
	"reference":  "raise command.reference.timeout, or check a smaller problem",
	"check":      "raise command.check.timeout if slow configurations are to be kept",
	"experiment": "raise optimization.timeout_per_iteration if slow configurations are to be kept",
	"task":       "raise optimization.timeout, or ask for fewer experiments",
}

// infra is a failure of the place, or of the worker itself.
func infra(ctx context.Context, phase string, err error) *Result {
	if cause := context.Cause(ctx); cause != nil {
		return ended(phase, cause)
	}
	return &Result{Outcome: experiment.OutcomeInfraError,
		Failure: &experiment.Failure{Phase: phase, Message: err.Error()}}
}

// failed is a failure of the configuration.
func failed(o experiment.Outcome, phase, hint, format string, args ...any) *Result {
	return &Result{Outcome: o, Failure: &experiment.Failure{Phase: phase,
		Message: fmt.Sprintf(format, args...), Hint: hint}}
}

// judge turns the end of a program into a result; nil means that it succeeded.
func judge(ctx context.Context, phase, program string, exit process.Exit, err error, tail string) *Result {
	res := verdict(ctx, phase, program, exit, err, tail)
	if !errors.Is(err, process.ErrNotProvenDead) {
		return res
	}
	if res == nil || res.Outcome != experiment.OutcomeTimeout && res.Outcome != experiment.OutcomeTotal {
		res = &Result{Outcome: experiment.OutcomeInfraError, Failure: &experiment.Failure{Phase: phase,
			Message: err.Error(), LogTail: tail, Hint: "the devices stay quarantined until someone has looked"}}
	}
	res.Unproven = true
	return res
}

func verdict(ctx context.Context, phase, program string, exit process.Exit, err error, tail string) *Result {
	switch {
	case errors.Is(err, process.ErrStart):
		return notStarted(ctx, phase, program, err)
	case err != nil && !errors.Is(err, process.ErrNotProvenDead):
		return infra(ctx, phase, err)
	case exit.Cause != nil:
		res := ended(phase, exit.Cause)
		res.Failure.LogTail = tail
		return res
	case exit.OK():
		return nil
	}
	f := &experiment.Failure{Phase: phase, LogTail: tail, ExitCode: &exit.Code,
		Message: fmt.Sprintf("%s ended with exit code %d", program, exit.Code)}
	if exit.Signal != 0 {
		f.ExitCode, f.Signal = nil, exit.Signal.String()
		f.Message = fmt.Sprintf("%s was ended by a signal: %s", program, f.Signal)
	}
	if exit.OOM || saysOutOfMemory(tail) {
		f.Message += ", out of memory"
		f.Hint = "this configuration needs more memory than there is; a constraint can leave its like out"
		return &Result{Outcome: experiment.OutcomeOutOfMemory, Failure: f}
	}
	return &Result{Outcome: experiment.OutcomeFailed, Failure: f}
}

// notStarted tells a program that this node lacks from one that the task's own
// build should have made.
func notStarted(ctx context.Context, phase, program string, err error) *Result {
	res := infra(ctx, phase, err)
	if res.Outcome != experiment.OutcomeInfraError {
		return res
	}
	switch {
	case errors.Is(err, exec.ErrNotFound):
		res.Failure.Hint = fmt.Sprintf("install %s on this worker, or bind the task to workers that have it by a label", program)
	case errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission):
		res.Outcome = experiment.OutcomeFailed
		res.Failure.Hint = "a path with a slash starts at the experiment's folder: is it among the files, or made by the build, and executable?"
	}
	return res
}

// outOfMemory matches what allocators and frameworks print when memory is
// short and the program then gives up by itself.
var outOfMemory = regexp.MustCompile(`(?i)out of memory|std::bad_alloc|\bMemoryError\b|cannot allocate memory|` +
	`cudaErrorMemoryAllocation|CUDA_ERROR_OUT_OF_MEMORY|hipErrorOutOfMemory|OutOfMemoryError|` +
	`CUBLAS_STATUS_ALLOC_FAILED|virtual memory exhausted|RESOURCE_EXHAUSTED`)

func saysOutOfMemory(tail string) bool { return outOfMemory.MatchString(tail) }

// tailSize is how much of a failing program's output is kept, in bytes.
const tailSize = 4 << 10

// tailOf reads the end of a program's output: of its errors, and of its
// ordinary output in what room they leave, errors last.
func tailOf(stdout, stderr string) string {
	errs := strings.TrimSpace(end(stderr, tailSize))
	room := tailSize - len(errs) - 1
	if room < 0 || stdout == stderr {
		return errs
	}
	out := strings.TrimSpace(end(stdout, room))
	if out == "" || errs == "" {
		return out + errs
	}
	return out + "\n" + errs
}

// end reads the last n bytes of a file as text; a file that cannot be read has
// none.
func end(path string, n int) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.Size() > int64(n) {
		if _, err := f.Seek(-int64(n), io.SeekEnd); err != nil {
			return ""
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(n)))
	if err != nil {
		return ""
	}
	for i := 0; i < utf8.UTFMax && len(data) > 0 && !utf8.RuneStart(data[0]); i++ {
		data = data[1:] // the cut may have gone through a character
	}
	return strings.ToValidUTF8(strings.ReplaceAll(string(data), "\x00", ""), "\uFFFD")
}

// masked masks the secrets in the texts of a result.
func masked(m secret.Mask, r Result) Result {
	if len(m) == 0 {
		return r
	}
	if f := r.Failure; f != nil {
		clean := *f
		clean.Message, clean.LogTail = m.Text(f.Message), m.Text(f.LogTail)
		r.Failure = &clean
	}
	if r.Measurement != nil {
		checks := r.Measurement.Checks
		for i := range checks {
			checks[i].Name, checks[i].Detail = m.Text(checks[i].Name), m.Text(checks[i].Detail)
		}
	}
	return r
}
