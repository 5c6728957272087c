package engine

import "github.com/fleetune/fleetune/proto/experiment"

// A Phase is where in its life an engine ended.
type Phase string

// The phases: before it served, and after.
const (
	PhaseLoad Phase = "load"
	PhaseRun  Phase = "benchmark"
)

// Ended says how an engine ended.
type Ended struct {
	Phase Phase
	// ExitCode of the process; nil where it was killed by Signal, or lives.
	ExitCode *int
	Signal   string
	// OOMKilled says that the kernel or the container runtime killed it for
	// memory of the host.
	OOMKilled bool
	// Timeout says that it still ran when the wait for it ended.
	Timeout bool
}

// A Cause names what an engine died of.
type Cause string

// The causes.
const (
	CauseOOMAtLoad    Cause = "oom_at_load"
	CauseOOMAtRun     Cause = "oom_at_run"
	CauseHostMemory   Cause = "host_memory"
	CauseBadFlag      Cause = "bad_flag"
	CauseMissingModel Cause = "missing_model"
	CauseGatedModel   Cause = "gated_model"
	CausePortTaken    Cause = "port_taken"
	CauseCUDA         Cause = "cuda_error"
	CauseNCCL         Cause = "nccl_hang"
	CauseUnsupported  Cause = "unsupported"
	CauseTokenizer    Cause = "tokenizer"
	CauseMissing      Cause = "missing_program"
	CauseLoadTimeout  Cause = "load_timeout"
	CauseUnknown      Cause = "unknown"
)

// A Diagnosis says what an engine died of.
type Diagnosis struct {
	Outcome experiment.Outcome
	Cause   Cause
	// Message is the telling line of the log, Hint what to do next.
	Message string
	Hint    string
}

// Diagnose reads the end of an engine's log.
func (e *Engine) Diagnose(log string, ended Ended) Diagnosis {
	return Diagnosis{Outcome: experiment.OutcomeFailed, Cause: CauseUnknown}
}
