package dispatch_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/records/keeper"
	"github.com/fleetune/fleetune/manager/records/reuse"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

// record makes records of what has ended, as a manager does by itself.
func (s *stand) record() {
	s.t.Helper()
	require.NoError(s.t, keeper.Once(s.t.Context(), s.store, zerolog.Nop()))
}

// ask submits a task whose file asks for records, as the API does.
func (s *stand) ask(t *task.Task, r task.Records) store.Task {
	s.t.Helper()
	t.Records = &r
	served, frozen, err := reuse.Freeze(s.t.Context(), s.store, t)
	require.NoError(s.t, err)
	row, err := s.store.CreateTask(s.t.Context(), store.NewTask{Spec: t, Source: "test", Planned: t.Optimization.MaxIterations, Served: served, Frozen: frozen})
	require.NoError(s.t, err)
	return row
}

// The second task of an operation measures nothing twice but its baseline;
// what it did not ask for, and what runs another program, is measured.
func TestRecordsAnswerTheSameMeasurement(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	s.worker("w1", 2)
	exact := task.Records{Operation: "op", Reuse: task.ReuseExact}
	first := s.script("first", 6, began)
	first.Records = &task.Records{Operation: "op"}
	s.submit(first)
	row := s.complete("first")
	s.until("the worker is known", func() bool { return s.isOnline("w1") })
	s.record()
	s.record()
	list, err := s.store.Records(t.Context(), store.RecordFilter{Operation: "op", Limit: 100})
	require.NoError(t, err)
	require.Len(t, list, 6)
	best, err := s.store.Experiment(t.Context(), row.ID, *row.Best)
	require.NoError(t, err)
	for _, r := range list {
		require.Equal(t, r.ID == best.ID, r.Confirmed)
		require.Equal(t, "test slot", r.Key.Environment["device"])
	}
	require.Len(t, s.trace("began"), 6)

	row = s.ask(s.script("second", 8, began), exact)
	require.Equal(t, &store.Served{Answers: 6}, row.Records)
	row = s.complete("second")
	require.Equal(t, []string{"1"}, s.trace("began")[6:7], "the baseline is measured here and now")
	require.ElementsMatch(t, []string{"1", "2", "3", "4", "5", "6", "1", "7", "8"}, s.trace("began"), "the baseline and what is new")
	for i, e := range s.experiments(row) {
		require.Equal(t, i+1, e.Number)
		answered := e.Number > 1 && e.Number < 7
		require.Equal(t, answered, e.Record != nil, e.Number)
		require.Equal(t, experiment.OutcomeSuccess, *e.Outcome)
		require.NotEmpty(t, e.Scores)
		require.Equal(t, !answered, e.Attempts > 0)
	}
	s.record()
	list, err = s.store.Records(t.Context(), store.RecordFilter{Operation: "op", Limit: 100})
	require.NoError(t, err)
	require.Len(t, list, 9, "an answer is no new measurement")

	require.Nil(t, s.ask(s.script("unasked", 2, began), task.Records{Operation: "op"}).Records)
	other := s.ask(s.script("changed", 2, "true; "+began), exact)
	require.Equal(t, "no record has the same key", other.Records.Note)
	policy := s.script("policy", 2, began)
	policy.Optimization.Repeats = 3
	require.Zero(t, s.ask(policy, exact).Records.Answers)
	s.complete("unasked")
	s.complete("changed")
}

// Where the fleet's workers differ, nobody knows which of them will measure.
func TestNoAnswersForAnUnknownPlace(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	exact := task.Records{Operation: "op", Reuse: task.ReuseExact}
	require.Contains(t, s.ask(s.script("nobody", 2, ""), exact).Records.Note, "no worker")
	s.worker("w1", 1)
	s.complete("nobody")
	s.until("the worker is known", func() bool { return s.isOnline("w1") })
	s.record()
	labelled := exact
	labelled.Labels = []string{"cuda"}
	require.Contains(t, s.ask(s.script("unlabelled", 2, ""), labelled).Records.Note, "not fully known")
	s.worker("w2", 1, func(c *setup) { c.devices[0].Model = "another slot" })
	s.until("both are known", func() bool { return s.isOnline("w1") && s.isOnline("w2") })
	require.Contains(t, s.ask(s.script("either", 2, ""), exact).Records.Note, "2 different environments")
	at := s.script("placed", 2, "")
	at.Resources.Accelerator = "test slot"
	require.Equal(t, 2, s.ask(at, exact).Records.Answers)
}

// A search starts at the best points of a similar task, and the records that
// were there when it was handed in decide, not those that come later.
func TestSimilarTasksStartTheSearch(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	s.worker("w1", 2)
	const quick = `echo "$1" >> "$STAND/order"; `
	source := s.script("source", 40, "")
	source.Records = &task.Records{Operation: "op"}
	s.submit(source)
	s.complete("source")
	s.until("the worker is known", func() bool { return s.isOnline("w1") })
	s.record()
	target := s.script("target", 40, quick)
	target.Optimization.Strategy, target.Optimization.MaxParallel = "bayesian", 1
	row := s.ask(target, task.Records{Operation: "op", Transfer: task.TransferRelated})
	require.Equal(t, 5, row.Records.Starts)
	require.Equal(t, []string{"source"}, row.Records.Sources)
	frozen, err := s.store.Frozen(t.Context(), row.ID)
	require.NoError(t, err)
	s.complete("target")
	var measured []space.Point
	for _, e := range s.experiments(row)[1:] {
		if len(measured) < 4 {
			measured = append(measured, e.Parameters)
		}
	}
	require.Subset(t, frozen.Starts, measured)
	s.requireOnce(row)
}

// A manager that is killed and started again answers the same experiments from
// the same records and chooses the same points, though other records came in
// meanwhile.
func TestRecordsThatServeATaskAreFrozen(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	s.worker("w1", 1)
	hill := func(name, strategy string, n int) *task.Task {
		spec := s.script(name, 200, `set -- $(( ($1 - 117) * ($1 - 117) + 5 ))`)
		spec.Optimization.Strategy, spec.Optimization.MaxIterations, spec.Optimization.MaxParallel = strategy, n, 1
		return spec
	}
	source := hill("source", "quasi_random", 30)
	source.Records = &task.Records{Operation: "op"}
	s.submit(source)
	s.complete("source")
	s.until("the worker is known", func() bool { return s.isOnline("w1") })
	s.record()

	asked := task.Records{Operation: "op", Reuse: task.ReuseExact, Transfer: task.TransferRelated}
	choices := func(row store.Task) (list []string) {
		for _, e := range s.experiments(row) {
			record := int64(0)
			if e.Record != nil {
				record = *e.Record
			}
			list = append(list, fmt.Sprintf("%d %v record %d", e.Number, e.Parameters["i"], record))
		}
		return list
	}
	undisturbed := s.ask(hill("undisturbed", "bayesian", 24), asked)
	require.Equal(t, 3, undisturbed.Records.Starts)
	s.complete("undisturbed")
	row := s.ask(hill("killed", "bayesian", 24), asked) // before the other's measurements are records
	s.record()
	for n := 6; n < 24; n += 6 {
		s.until("experiments end", func() bool {
			counts, err := s.store.Counts(t.Context(), []uuid.UUID{row.ID})
			require.NoError(t, err)
			return counts[row.ID].Success >= n
		})
		s.stop()
		s.dispatch()
	}
	s.complete("killed")
	require.Equal(t, choices(undisturbed), choices(row))
	answered := 0
	for _, e := range s.experiments(row)[1:] {
		if e.Record != nil {
			answered++
		}
	}
	require.GreaterOrEqual(t, answered, 3, "the starts were measured before")
}
