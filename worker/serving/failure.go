package serving

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/worker/command"
)

// A limit is a time-out that has a name. It is the cause of the context that
// it bounds, so that whoever finds the context ended knows which it was.
type limit struct {
	name string // load, benchmark, experiment or task
	d    time.Duration
}

func (l *limit) Error() string {
	switch l.name {
	case "task": // its budget is what others left of it
		return fmt.Sprintf("the time-out of the task passed; %v of it had been left", l.d.Round(time.Millisecond))
	case "load":
		return fmt.Sprintf("the engine did not serve within %v", l.d)
	default:
		return fmt.Sprintf("the time-out of the %s (%v) passed", l.name, l.d)
	}
}

// hint says what to do about the time-out.
func (l *limit) hint() string {
	switch l.name {
	case "load":
		return "raise optimization.load_timeout and timeout_per_iteration: large models, and engines that compile, take many minutes"
	case "benchmark":
		return "raise optimization.benchmark_timeout, or ask for fewer cells or requests"
	case "task":
		return "raise optimization.timeout, or ask for fewer experiments"
	default:
		return "raise optimization.timeout_per_iteration if slow configurations are to be kept"
	}
}

// within bounds ctx by a named limit; none where it is not positive.
func within(ctx context.Context, name string, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, d, &limit{name: name, d: d})
}

// ended turns the cause of an ended context into a result.
func ended(phase string, cause error) *command.Result {
	var l *limit
	if !errors.As(cause, &l) {
		return &command.Result{Outcome: experiment.OutcomeCancelled, Failure: &experiment.Failure{Phase: phase,
			Message: fmt.Sprintf("stopped: %v", cause)}}
	}
	outcome := experiment.OutcomeTimeout
	if l.name == "task" {
		outcome = experiment.OutcomeTotal
	}
	return &command.Result{Outcome: outcome, Failure: &experiment.Failure{Phase: phase, Message: l.Error(),
		Timeout: l.name, Limit: l.d, Hint: l.hint()}}
}

// infra is a failure of the place, or of the worker itself.
func infra(ctx context.Context, phase string, err error) *command.Result {
	if cause := context.Cause(ctx); cause != nil {
		return ended(phase, cause)
	}
	return &command.Result{Outcome: experiment.OutcomeInfraError,
		Failure: &experiment.Failure{Phase: phase, Message: err.Error()}}
}

// failed is a failure of the configuration.
func failed(o experiment.Outcome, phase, hint, message string) *command.Result {
	return &command.Result{Outcome: o, Failure: &experiment.Failure{Phase: phase, Message: message, Hint: hint}}
}

// invalid is a point that is no configuration of the engine.
func invalid(err error) *command.Result {
	return failed(experiment.OutcomeInfeasible, "plan", "a constraint can leave its like out", err.Error())
}

// tailSize is how much of a failing engine's output a failure keeps, in bytes.
const tailSize = 4 << 10

// tailOf is the end of a log.
func tailOf(log string) string {
	log = strings.TrimSpace(strings.ReplaceAll(log, "\x00", ""))
	if len(log) <= tailSize {
		return log
	}
	return strings.ToValidUTF8(log[len(log)-tailSize:], "")
}

// trim takes the line's end off a secret that stands in a file.
func trim(value string) string { return strings.TrimRight(value, "\r\n") }
