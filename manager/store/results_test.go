package store_test

import (
	"testing"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestResultIsAcceptedOnce(t *testing.T) {
	g := newGround(t)
	id := g.queue(g.create(spec("t", 1)), 1)[0]
	granted := g.claim(id)
	success := resultOf(granted, experiment.OutcomeSuccess)
	require.Equal(t, 1, g.commit(success, success), "twice in one batch")
	require.Zero(t, g.commit(success), "and again")
	require.Zero(t, g.commit(resultOf(granted, experiment.OutcomeFailed)), "and otherwise")
	require.Zero(t, g.commit(handedBack(granted)), "and handed back")
	g.stands(id, experiment.Success, experiment.OutcomeSuccess)
	require.Equal(t, []string{"1 success accepted"}, g.attempts(id))
	e := g.get(id)
	require.Equal(t, []float64{5}, e.Scores)
	require.Equal(t, map[string]store.Summary{"time": {Unit: "ms", Median: 5, Spread: 1, Count: 3}}, e.Metrics)
	list, err := g.Attempts(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, success.Measurement, list[0].Measurement)
	require.Equal(t, success.Timings, list[0].Timings)
	g.refuses(id)
}

func TestFailureKeepsItsEvidence(t *testing.T) {
	g := newGround(t)
	row := g.create(spec("t", 1))
	for _, outcome := range experiment.Outcomes() {
		if outcome == experiment.OutcomeSuccess || outcome.Transient() {
			continue
		}
		id := g.queue(row, 1)[0]
		r := resultOf(g.claim(id), outcome)
		require.Equal(t, 1, g.commit(r), outcome)
		g.stands(id, outcome.State(), outcome)
		require.Equal(t, r.Failure, g.get(id).Failure)
		require.Nil(t, g.get(id).Scores, "a failure has no score")
	}
}

func TestStaleEpochChangesNothing(t *testing.T) {
	g := newGround(t)
	id := g.queue(g.create(spec("t", 1)), 1)[0]
	old := g.claim(id)
	g.lose(old)
	current := g.claim(id)
	require.Zero(t, g.commit(resultOf(old, experiment.OutcomeSuccess)))
	g.stands(id, experiment.Running, "")
	require.Equal(t, int64(2), g.get(id).Epoch)
	require.Equal(t, []string{"1 success"}, g.attempts(id), "kept beside the experiment")
	require.Zero(t, g.commit(handedBack(old)))
	g.stands(id, experiment.Running, "")
	require.Equal(t, 1, g.commit(resultOf(current, experiment.OutcomeFailed)))
	require.Equal(t, []string{"1 success", "2 failed accepted"}, g.attempts(id))

	ahead := current
	ahead.Epoch = 9
	require.Zero(t, g.commit(resultOf(ahead, experiment.OutcomeSuccess)), "an epoch that was never granted")
	g.stands(id, experiment.Failed, experiment.OutcomeFailed)
}

// The lease ran out, nobody else has claimed it yet, and the result arrives:
// measuring again would be waste.
func TestLateResultOfTheSameEpochIsAcceptedFromQueued(t *testing.T) {
	g := newGround(t)
	id := g.queue(g.create(spec("t", 1)), 1)[0]
	granted := g.claim(id)
	g.lose(granted)
	g.stands(id, experiment.Queued, "")
	require.Equal(t, []string{"1 lost"}, g.attempts(id))
	require.Equal(t, 1, g.commit(resultOf(granted, experiment.OutcomeSuccess)))
	g.stands(id, experiment.Success, experiment.OutcomeSuccess)
	require.Equal(t, []string{"1 success accepted"}, g.attempts(id))
	require.Zero(t, g.commit(resultOf(granted, experiment.OutcomeSuccess)))
	g.refuses(id)
}

func TestHandedBackIsQueuedAgainAndDoesNotCount(t *testing.T) {
	g := newGround(t)
	id := g.queue(g.create(spec("t", 1)), 1)[0]
	granted := g.claim(id)
	require.Equal(t, 1, g.commit(handedBack(granted)))
	require.Zero(t, g.commit(handedBack(granted)), "a repeat gives nothing back")
	g.stands(id, experiment.Queued, "")
	require.Zero(t, g.get(id).Attempts)
	require.Equal(t, []string{"1 handed_back"}, g.attempts(id))
	require.Zero(t, g.commit(resultOf(granted, experiment.OutcomeSuccess)), "what was given up is over")
	g.stands(id, experiment.Queued, "")
	again := g.claim(id)
	require.Equal(t, 1, again.Attempt)
	require.Equal(t, 1, g.commit(resultOf(again, experiment.OutcomeSuccess)))
}

func TestTransientFailureIsRepeatedOnce(t *testing.T) {
	g := newGround(t)
	id := g.queue(g.create(spec("t", 1)), 1)[0]
	first := g.claim(id)
	require.Equal(t, 1, g.commit(resultOf(first, experiment.OutcomeInfraError)))
	g.stands(id, experiment.Queued, "")
	require.Zero(t, g.commit(resultOf(first, experiment.OutcomeInfraError)), "the repeat of a report is no second failure")
	g.stands(id, experiment.Queued, "")
	second := g.claim(id)
	require.Equal(t, 2, second.Attempt)
	require.Equal(t, 1, g.commit(resultOf(second, experiment.OutcomeInfraError)))
	g.stands(id, experiment.Failed, experiment.OutcomeInfraError)
	require.Equal(t, []string{"1 infra_error", "2 infra_error accepted"}, g.attempts(id))
}

func TestResultsOfACancelledTask(t *testing.T) {
	g := newGround(t)
	row := g.create(spec("t", 1))
	ids := g.queue(row, 6)
	running := make([]store.Granted, 5)
	for i := range running {
		running[i] = g.claim(ids[i])
	}
	g.lose(running[4]) // queued again when the task ends
	require.NoError(t, g.CancelTask(t.Context(), row.ID, "enough"))
	g.stands(ids[5], experiment.Cancelled, experiment.OutcomeCancelled)
	g.stands(ids[0], experiment.Running, "")

	g.commit(resultOf(running[0], experiment.OutcomeCancelled))
	g.stands(ids[0], experiment.Cancelled, experiment.OutcomeCancelled)
	g.commit(resultOf(running[1], experiment.OutcomeSuccess)) // it was quicker
	g.stands(ids[1], experiment.Success, experiment.OutcomeSuccess)
	g.commit(resultOf(running[2], experiment.OutcomeInfraError)) // nobody repeats it
	g.stands(ids[2], experiment.Cancelled, experiment.OutcomeCancelled)
	require.Equal(t, "cancelled", g.lose(running[3])[0].State)
	g.stands(ids[3], experiment.Cancelled, experiment.OutcomeCancelled)
	require.Zero(t, g.commit(resultOf(running[4], experiment.OutcomeSuccess)))
	g.stands(ids[4], experiment.Cancelled, experiment.OutcomeCancelled)
}

func TestBatchOfResultsIsJudgedOneByOne(t *testing.T) {
	g := newGround(t)
	row := g.create(spec("t", 1))
	ids := g.queue(row, 4)
	grants := []store.Granted{g.claim(ids[0]), g.claim(ids[1]), g.claim(ids[2]), g.claim(ids[3])}
	stale := grants[3]
	stale.Epoch = 0
	unknown := store.Granted{Experiment: uuid.New(), Task: row.ID, Epoch: 1, Attempt: 1}
	committed, err := g.CommitResults(t.Context(), []store.Result{
		resultOf(grants[0], experiment.OutcomeSuccess), resultOf(grants[1], experiment.OutcomeFailed), handedBack(grants[2]),
		resultOf(stale, experiment.OutcomeSuccess), resultOf(unknown, experiment.OutcomeSuccess),
	}, 1)
	require.NoError(t, err)
	states := map[uuid.UUID]experiment.State{}
	for _, c := range committed {
		states[c.Experiment] = c.State
		require.Equal(t, row.ID, c.Task)
		require.Equal(t, c.State == experiment.Queued, c.Outcome == nil)
	}
	require.Equal(t, map[uuid.UUID]experiment.State{
		ids[0]: experiment.Success, ids[1]: experiment.Failed, ids[2]: experiment.Queued,
	}, states)
	g.stands(ids[3], experiment.Running, "")
}
