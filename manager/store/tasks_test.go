package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func (g *ground) state(name string) store.TaskState {
	g.t.Helper()
	row, err := g.Task(g.t.Context(), name)
	require.NoError(g.t, err)
	return row.State
}

func (g *ground) finish(row store.Task, state store.TaskState) {
	g.t.Helper()
	require.NoError(g.t, g.FinishTask(g.t.Context(), row.ID, state, "done", nil, nil))
}

func TestTaskIsKeptAsItWasSubmitted(t *testing.T) {
	g := newGround(t)
	want := spec("t", 2)
	want.Resources.Labels = map[string]string{"rack": "a"}
	row := g.create(want)
	require.Equal(t, want, row.Spec)
	byID, err := g.Task(t.Context(), row.ID.String())
	require.NoError(t, err)
	require.Equal(t, row, byID)
	source, err := g.TaskSource(t.Context(), row.ID)
	require.NoError(t, err)
	require.Equal(t, "source of t", source)
	_, err = g.Task(t.Context(), "absent")
	require.ErrorIs(t, err, store.ErrNotFound)
	_, err = g.CreateTask(t.Context(), store.NewTask{Spec: spec("t", 1)})
	require.ErrorIs(t, err, store.ErrTaskExists)
}

func TestBundleIsReadInParts(t *testing.T) {
	g := newGround(t)
	with := spec("t", 1)
	with.Command = &task.Command{Bundle: "digest"}
	_, err := g.CreateTask(t.Context(), store.NewTask{Spec: with, Bundle: []byte("0123456789")})
	require.NoError(t, err)
	var got []byte
	for {
		part, size, err := g.Bundle(t.Context(), "digest", int64(len(got)), 4)
		require.NoError(t, err)
		require.Equal(t, int64(10), size)
		if got = append(got, part...); len(got) == 10 {
			break
		}
	}
	require.Equal(t, "0123456789", string(got))
	_, _, err = g.Bundle(t.Context(), "absent", 0, 4)
	require.ErrorIs(t, err, store.ErrNotFound)
}

func TestDependentWaitsForAll(t *testing.T) {
	g := newGround(t)
	a, b := g.create(spec("a", 1)), g.create(spec("b", 1))
	c := g.create(spec("c", 1, "a", "b"))
	require.Equal(t, store.TaskWaiting, c.State)
	one := []store.NewExperiment{{ID: uuid.New(), Number: 1, Purpose: experiment.Search}}
	require.ErrorIs(t, g.InsertExperiments(t.Context(), g.term, c.ID, one), store.ErrState, "it waits")
	deps, err := g.Dependencies(t.Context(), c.ID)
	require.NoError(t, err)
	require.Equal(t, []store.Dependency{{Name: "a", State: store.TaskRunning}, {Name: "b", State: store.TaskRunning}}, deps)

	g.finish(a, store.TaskCompleted)
	require.Equal(t, store.TaskWaiting, g.state("c"))
	g.finish(b, store.TaskCompleted)
	require.Equal(t, store.TaskRunning, g.state("c"))
	require.NoError(t, g.InsertExperiments(t.Context(), g.term, c.ID, one))
	require.Equal(t, store.TaskRunning, g.create(spec("d", 1, "a")).State, "what it waits for is done")
}

func TestFailureOfADependencyCancelsWhatWaits(t *testing.T) {
	g := newGround(t)
	a := g.create(spec("a", 1))
	g.create(spec("b", 1, "a"))
	g.create(spec("c", 1, "b"))
	g.create(spec("other", 1))
	g.finish(a, store.TaskFailed)
	require.Equal(t, store.TaskCancelled, g.state("b"))
	require.Equal(t, store.TaskCancelled, g.state("c"))
	require.Equal(t, store.TaskRunning, g.state("other"))
	row, err := g.Task(t.Context(), "b")
	require.NoError(t, err)
	require.Equal(t, "a task it depends on has failed", row.Cause)
}

func TestNothingWaitsForWhatCannotComplete(t *testing.T) {
	g := newGround(t)
	for _, state := range []store.TaskState{store.TaskFailed, store.TaskCancelled} {
		name := string(state)
		g.finish(g.create(spec(name, 1)), state)
		_, err := g.CreateTask(t.Context(), store.NewTask{Spec: spec("t", 1, name)})
		require.ErrorIs(t, err, store.ErrNeverStarts)
		require.ErrorContains(t, err, name)
	}
	_, err := g.Task(t.Context(), "t")
	require.ErrorIs(t, err, store.ErrNotFound)
}

// A task may end in the very moment when another is made to depend on it.
func TestDependencyEndsBeforeOrAfterButNeverBetween(t *testing.T) {
	g := newGround(t)
	for i := range 40 {
		first, second := fmt.Sprint("first", i), fmt.Sprint("second", i)
		row := g.create(spec(first, 1))
		ended := make(chan error, 1)
		go func() { ended <- g.FinishTask(t.Context(), row.ID, store.TaskCompleted, "", nil, nil) }()
		g.create(spec(second, 1, first))
		require.NoError(t, <-ended)
		require.Equal(t, store.TaskRunning, g.state(second))
	}
}

func TestUnknownDependencyLeavesNothingBehind(t *testing.T) {
	g := newGround(t)
	_, err := g.CreateTask(t.Context(), store.NewTask{Spec: spec("t", 1, "absent")})
	require.ErrorIs(t, err, store.ErrNotFound)
	_, err = g.CreateTask(t.Context(), store.NewTask{Spec: spec("t", 1, "t")})
	require.ErrorIs(t, err, store.ErrNotFound, "itself")
	_, err = g.Task(t.Context(), "t")
	require.ErrorIs(t, err, store.ErrNotFound)
	last, err := g.LastEvent(t.Context())
	require.NoError(t, err)
	require.Zero(t, last)
}

func TestPausedTimeMovesTheDeadline(t *testing.T) {
	g := newGround(t)
	row := g.create(spec("t", 1))
	require.ErrorIs(t, g.Resume(t.Context(), row.ID), store.ErrState, "it is not paused")
	before := *g.claim(g.queue(row, 1)[0]).Deadline
	require.NoError(t, g.Pause(t.Context(), row.ID))
	require.ErrorIs(t, g.Pause(t.Context(), row.ID), store.ErrState, "it is paused already")
	g.exec(`UPDATE tasks SET paused_at = paused_at - interval '10 minutes'`)
	require.NoError(t, g.Resume(t.Context(), row.ID))
	after, err := g.Task(t.Context(), "t")
	require.NoError(t, err)
	moved := after.DeadlineAt.Sub(before)
	require.GreaterOrEqual(t, moved, 10*time.Minute)
	require.Less(t, moved, 15*time.Minute)
	require.Nil(t, after.PausedAt)
	g.finish(row, store.TaskCompleted)
	require.ErrorIs(t, g.Pause(t.Context(), row.ID), store.ErrState, "it has ended")
}

func TestTaskEndsOnce(t *testing.T) {
	g := newGround(t)
	row := g.create(spec("t", 1))
	g.queue(row, 1)
	best := 1
	require.NoError(t, g.FinishTask(t.Context(), row.ID, store.TaskCompleted, "done", &best, []byte(`{"ratio": 2}`)))
	other := 2
	require.ErrorIs(t, g.FinishTask(t.Context(), row.ID, store.TaskFailed, "no", &other, nil), store.ErrState)
	require.ErrorIs(t, g.CancelTask(t.Context(), row.ID, "no"), store.ErrState)
	got, err := g.Task(t.Context(), "t")
	require.NoError(t, err)
	require.Equal(t, store.TaskCompleted, got.State)
	require.Equal(t, 1, *got.Best)
	require.JSONEq(t, `{"ratio": 2}`, string(got.Speedup))
	live, err := g.LiveTasks(t.Context())
	require.NoError(t, err)
	require.Empty(t, live)
}

func TestDrainWishIsTheOperatorsUntilTheSessionEnds(t *testing.T) {
	g := newGround(t)
	require.ErrorIs(t, g.SetDrain(t.Context(), "w", true), store.ErrNotFound)
	w := store.Worker{Name: "w", Session: uuid.New(), State: store.WorkerOnline, LastBeatAt: time.Now()}
	require.NoError(t, g.SaveWorkers(t.Context(), []store.Worker{w}))
	require.NoError(t, g.SetDrain(t.Context(), "w", true))
	drains := func() bool {
		list, err := g.Workers(t.Context())
		require.NoError(t, err)
		require.Len(t, list, 1)
		return list[0].Drain
	}
	require.True(t, drains())
	require.NoError(t, g.SaveWorkers(t.Context(), []store.Worker{w}))
	require.True(t, drains(), "a beat does not take it back")
	w.Session = uuid.New()
	require.NoError(t, g.SaveWorkers(t.Context(), []store.Worker{w}))
	require.False(t, drains(), "a new session starts without")
}
