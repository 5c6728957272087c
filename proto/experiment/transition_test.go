package experiment

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const (
	final   State = "ErrFinal"
	illegal State = "ErrIllegal"
)

// Every (state, event) pair, one line a state.
func TestNext(t *testing.T) {
	columns := []Event{Claim(), HandBack(), Lose(), Cancel(), Retry(), Sweep()}
	for _, row := range []struct {
		from State
		to   []State
	}{
		//          claim    hand back lose     cancel     retry    sweep
		{Queued, []State{Running, illegal, illegal, Cancelled, illegal, Queued}},
		{Running, []State{illegal, Queued, Queued, Running, Queued, Running}},
		{Success, []State{final, final, final, final, final, Success}},
		{Failed, []State{final, final, final, final, Queued, Failed}},
		{Cancelled, []State{final, final, final, final, final, Cancelled}},
	} {
		for i, e := range columns {
			requireNext(t, row.from, e, row.to[i])
		}
	}

	states := States()
	for _, row := range []struct {
		outcome Outcome
		to      []State
	}{
		//                  queued     running    success failed cancelled
		{OutcomeSuccess, []State{illegal, Success, final, final, final}},
		{OutcomeIncorrect, []State{illegal, Failed, final, final, final}},
		{OutcomeNoMetric, []State{illegal, Failed, final, final, final}},
		{OutcomeFailed, []State{illegal, Failed, final, final, final}},
		{OutcomeOutOfMemory, []State{illegal, Failed, final, final, final}},
		{OutcomeInfeasible, []State{illegal, Failed, final, final, final}},
		{OutcomeTimeout, []State{illegal, Failed, final, final, final}},
		{OutcomeTotal, []State{illegal, Failed, final, final, final}},
		{OutcomeNotStarted, []State{Cancelled, Cancelled, final, final, final}},
		{OutcomeRenderError, []State{illegal, Failed, final, final, final}},
		{OutcomeInfraError, []State{illegal, Failed, final, final, final}},
		{OutcomeLost, []State{illegal, Failed, final, final, final}},
		{OutcomeStoppedEarly, []State{illegal, Cancelled, final, final, final}},
		{OutcomeCancelled, []State{Cancelled, Cancelled, final, final, final}},
	} {
		for i, from := range states {
			requireNext(t, from, Report(row.outcome), row.to[i])
		}
	}
	require.Len(t, Events(), len(columns)+len(Outcomes()), "an event without its column")
}

func requireNext(t *testing.T, from State, e Event, want State) {
	t.Helper()
	got, err := Next(from, e)
	switch want {
	case final:
		require.ErrorIs(t, err, ErrFinal, "%s, %s", from, e)
		require.Equal(t, from, got)
	case illegal:
		require.ErrorIs(t, err, ErrIllegal, "%s, %s", from, e)
		require.Equal(t, from, got)
	default:
		require.NoError(t, err, "%s, %s", from, e)
		require.Equal(t, want, got, "%s, %s", from, e)
	}
}

func TestNextRefusesTheUnknown(t *testing.T) {
	_, err := Next("waiting", Claim())
	require.EqualError(t, err, `illegal transition: "waiting" is no state`)
	_, err = Next(Running, Report("fine"))
	require.EqualError(t, err, `illegal transition: "fine" is no outcome`)
	_, err = Next(Running, Event{})
	require.ErrorIs(t, err, ErrIllegal)
	_, err = Next(Success, Report(OutcomeFailed))
	require.EqualError(t, err, `the experiment has ended: success, so it cannot report failed`)
}

// However events fall, an experiment that succeeded stays so, and a claim is
// granted only while it is queued: at most one attempt at a time.
func TestNextOverRandomLives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		state := Queued
		for _, e := range rapid.SliceOf(rapid.SampledFrom(Events())).Draw(t, "events") {
			next, err := Next(state, e)
			if err != nil && next != state {
				t.Fatalf("%s: %s changed the state to %s although %v", state, e, next, err)
			}
			if e == Claim() && err == nil && state != Queued {
				t.Fatalf("claimed while %s", state)
			}
			if state == Success && next != Success {
				t.Fatalf("%s led out of success to %s", e, next)
			}
			state = next
		}
	})
}
