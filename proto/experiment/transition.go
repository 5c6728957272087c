package experiment

import (
	"errors"
	"fmt"
	"slices"
)

// ErrFinal says that the experiment has ended: the event came late or twice,
// and leaving it aside is right.
var ErrFinal = errors.New("the experiment has ended")

// ErrIllegal says that the event cannot happen in that state.
var ErrIllegal = errors.New("illegal transition")

// Final says whether nothing but a retry leads out of the state.
func (s State) Final() bool { return s == Success || s == Failed || s == Cancelled }

// States lists every state in the order of an experiment's life.
func States() []State { return []State{Queued, Running, Success, Failed, Cancelled} }

// Outcomes lists every outcome.
func Outcomes() []Outcome {
	return []Outcome{
		OutcomeSuccess, OutcomeIncorrect, OutcomeNoMetric, OutcomeFailed, OutcomeOutOfMemory, OutcomeInfeasible, OutcomeTimeout,
		OutcomeTotal, OutcomeNotStarted, OutcomeRenderError, OutcomeInfraError, OutcomeLost, OutcomeStoppedEarly, OutcomeCancelled,
	}
}

// An Event is what can happen to an experiment. Its zero value is none.
type Event struct {
	name    string
	outcome Outcome
}

func (e Event) String() string {
	if e.outcome != "" {
		return e.name + " " + string(e.outcome)
	}
	return e.name
}

const (
	claim    = "claim"
	report   = "report"
	handBack = "hand back"
	lose     = "lose"
	cancel   = "cancel"
	retry    = "retry"
	sweep    = "sweep"
)

// Claim: a worker is granted the experiment under a new epoch.
func Claim() Event { return Event{name: claim} }

// Report: the result of the current epoch is accepted, or the manager decides
// the outcome itself (lost too often, not started before the task's time-out).
func Report(o Outcome) Event { return Event{name: report, outcome: o} }

// HandBack: the worker gives the attempt up unfinished; it does not count.
func HandBack() Event { return Event{name: handBack} }

// Lose: the lease was not renewed in time.
func Lose() Event { return Event{name: lose} }

// Cancel: the task was cancelled. What runs is stopped by its worker, which
// then reports; only what waits ends at once.
func Cancel() Event { return Event{name: cancel} }

// Retry: a transient failure gets another attempt, at once or because the user
// asks for it later.
func Retry() Event { return Event{name: retry} }

// Sweep: the offers on the bus are made to follow the states; no state changes.
func Sweep() Event { return Event{name: sweep} }

// Events lists every event, a report once for each outcome.
func Events() []Event {
	events := []Event{Claim(), HandBack(), Lose(), Cancel(), Retry(), Sweep()}
	for _, o := range Outcomes() {
		events = append(events, Report(o))
	}
	return events
}

// Next returns the state that an event leads to. Its errors are ErrFinal and
// ErrIllegal; with either the state stays as it was.
//
//	          claim             report success
//	queued ──────────▶ running ────────────────▶ success
//	 │ ▲ ▲               │ │ │   report any other
//	 │ │ │ hand back     │ │ └──────────────────▶ failed
//	 │ │ │ lose, retry   │ │                       │
//	 │ │ └───────────────┘ │ report cancelled,     │ retry
//	 │ └───────────────────┼───────────────────────┘
//	 │ cancel, report      │ not_started
//	 │ not_started         ▼
//	 └────────────────▶ cancelled
func Next(from State, e Event) (State, error) {
	if !slices.Contains(States(), from) {
		return from, fmt.Errorf("%w: %q is no state", ErrIllegal, from)
	}
	if e.name == report && !slices.Contains(Outcomes(), e.outcome) {
		return from, fmt.Errorf("%w: %q is no outcome", ErrIllegal, e.outcome)
	}
	switch {
	case e.name == sweep:
		return from, nil
	case from == Queued && e.name == claim:
		return Running, nil
	case from == Queued && (e.name == cancel || e == Report(OutcomeCancelled) || e == Report(OutcomeNotStarted)):
		return Cancelled, nil
	case from == Running && e.name == report:
		return e.outcome.State(), nil
	case from == Running && (e.name == handBack || e.name == lose || e.name == retry):
		return Queued, nil
	case from == Running && e.name == cancel:
		return Running, nil
	case from == Failed && e.name == retry:
		return Queued, nil
	case from.Final():
		return from, fmt.Errorf("%w: %s, so it cannot %s", ErrFinal, from, e)
	}
	return from, fmt.Errorf("%w: %s cannot %s", ErrIllegal, from, e)
}
