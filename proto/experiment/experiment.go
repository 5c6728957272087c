// Package experiment defines the life of an experiment: its states and legal
// transitions, the outcomes it can end with, and the measurement it yields.
package experiment

import "time"

// State is where an experiment stands.
type State string

// The states. Success, failed and cancelled are final.
const (
	Queued    State = "queued"
	Running   State = "running"
	Success   State = "success"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// Outcome says how an experiment ended. Every configuration gets exactly one.
type Outcome string

// The outcomes. Only OutcomeSuccess carries a whole measurement.
const (
	OutcomeSuccess     Outcome = "success"
	OutcomeIncorrect   Outcome = "incorrect"     // the correctness gate failed
	OutcomeNoMetric    Outcome = "no_metric"     // ran, but no valid result file
	OutcomeFailed      Outcome = "failed"        // build, check or run exited non-zero
	OutcomeOutOfMemory Outcome = "out_of_memory" // killed or failed for memory
	OutcomeInfeasible  Outcome = "infeasible"    // cannot fit the devices, or breaks a hard limit; metrics are kept
	OutcomeTimeout     Outcome = "combo_timeout" // the experiment's own time-out
	OutcomeTotal       Outcome = "total_timeout" // the task's time-out, while running
	OutcomeNotStarted  Outcome = "not_started"   // the task's time-out, before it ran
	OutcomeRenderError Outcome = "render_error"  // a placeholder is unknown or unused
	OutcomeInfraError  Outcome = "infra_error"   // the worker's fault; retried once
	OutcomeLost        Outcome = "lost"          // its worker was lost too often
	OutcomeCancelled   Outcome = "cancelled"
	// OutcomeStoppedEarly carries the samples so far, which said that the
	// experiment is surely worse than the incumbent. Samplers may learn from
	// them; the experiment itself counts as cancelled.
	OutcomeStoppedEarly Outcome = "stopped_early"
)

// State returns the final state that the outcome leads to.
func (o Outcome) State() State {
	switch o {
	case OutcomeSuccess:
		return Success
	case OutcomeCancelled, OutcomeNotStarted, OutcomeStoppedEarly:
		return Cancelled
	default:
		return Failed
	}
}

// Transient says whether another attempt may end differently: the place
// failed, not the configuration.
func (o Outcome) Transient() bool { return o == OutcomeInfraError || o == OutcomeLost }

// Purpose says why an experiment is measured.
type Purpose string

// The purposes. A confirmation measures a finalist beside the baseline again.
const (
	Baseline Purpose = "baseline"
	Search   Purpose = "search"
	Confirm  Purpose = "confirm"
)

// A Measurement is what one attempt measured.
type Measurement struct {
	Metrics map[string]Metric `json:"metrics"`
	// Reference holds the baseline's metrics, measured in alternation with
	// the candidate in the same attempt; confirmations only.
	Reference map[string]Metric `json:"reference,omitempty"`
	Checks    []Check           `json:"checks,omitempty"`
	// Serving holds what a serving experiment measured, cell by cell.
	Serving *Serving `json:"serving,omitempty"`
}

// MarginMetric stands before the name of a term of the SLO in the metric that
// tells how far it is missed in the worst cell, as a share of the threshold.
const MarginMetric = "slo_margin/"

// A Metric is one measured quantity.
type Metric struct {
	Unit string `json:"unit"`
	// Samples in the order they were taken, warm-ups left out.
	Samples []float64 `json:"samples"`
	// Median of the samples, and their spread as the interquartile range.
	Median float64 `json:"median"`
	Spread float64 `json:"spread"`
}

// A Check is one comparison of the correctness gate.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}

// A Failure keeps the evidence of an attempt that did not succeed.
type Failure struct {
	// Phase is render, build, inputs, reference, check, run, result or lease;
	// of a serving experiment plan, download, load, benchmark or stop.
	Phase string `json:"phase"`
	// Cause names what an engine died of, such as bad_flag or oom_at_load.
	Cause   string `json:"cause,omitempty"`
	Message string `json:"message"`
	// Hint says what to do next.
	Hint     string `json:"hint,omitempty"`
	ExitCode *int   `json:"exit_code,omitempty"`
	Signal   string `json:"signal,omitempty"`
	// Timeout names the limit that was hit: build, inputs, reference, check,
	// experiment or task.
	Timeout string        `json:"timeout,omitempty"`
	Limit   time.Duration `json:"limit_ns,omitempty"`
	// LogTail is the end of the failing program's output.
	LogTail string `json:"log_tail,omitempty"`
}

func (f *Failure) Error() string { return f.Phase + ": " + f.Message }
