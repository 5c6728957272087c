package store_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// left counts the rows of a table that belong to a task.
func (g *ground) left(table string, id uuid.UUID) (n int) {
	g.t.Helper()
	require.NoError(g.t, g.pool.QueryRow(g.t.Context(), `SELECT count(*) FROM `+table+` WHERE task_id = $1`, id).Scan(&n))
	return n
}

// measured stores a task that has ended, with n experiments that succeeded.
func (g *ground) measured(name string, n int) (store.Task, []store.Granted) {
	g.t.Helper()
	row := g.create(spec(name, 1))
	var grants []store.Granted
	for _, id := range g.queue(row, n) {
		grants = append(grants, g.claim(id))
		require.Equal(g.t, 1, g.commit(resultOf(grants[len(grants)-1], experiment.OutcomeSuccess)))
	}
	g.finish(row, store.TaskCompleted)
	require.NoError(g.t, g.MarkRecorded(g.t.Context(), row.ID))
	return row, grants
}

// A task takes with it what is its own and nothing else; an event tells of it.
func TestDeletedTaskTakesItsOwnAlong(t *testing.T) {
	g := newGround(t)
	row, grants := g.measured("gone", 3)
	other, _ := g.measured("other", 2)
	want, err := g.Deletable(t.Context(), row.ID)
	require.NoError(t, err)
	require.Equal(t, 3, g.left("experiments", row.ID), "looking deletes nothing")
	d, err := g.DeleteTask(t.Context(), row.ID, "by its user")
	require.NoError(t, err)
	require.Equal(t, "by its user", d.Cause)
	d.Cause = ""
	require.Equal(t, want, d)
	require.Equal(t, []any{"gone", row.Number, store.TaskCompleted, 3, 3, 0}, []any{d.Name, d.Number, d.State, d.Experiments, d.Attempts, d.Records})

	_, err = g.Task(t.Context(), "gone")
	require.ErrorIs(t, err, store.ErrNotFound)
	for table, rest := range map[string]int{"experiments": 0, "attempts": 0, "events": 1} {
		require.Equal(t, rest, g.left(table, row.ID), table)
	}
	require.Equal(t, 2, g.left("experiments", other.ID))
	require.Equal(t, 2, g.left("attempts", other.ID))
	for _, ref := range []string{"gone", row.ID.String()} {
		left, err := g.Deleted(t.Context(), ref)
		require.NoError(t, err)
		require.Equal(t, row.ID, left.Task)
		require.Equal(t, "by its user", left.Cause)
	}
	_, err = g.Deleted(t.Context(), "other")
	require.ErrorIs(t, err, store.ErrNotFound)
	_, err = g.DeleteTask(t.Context(), row.ID, "once more")
	require.ErrorIs(t, err, store.ErrNotFound)

	// What still comes for it is dropped, beside what counts elsewhere.
	live := g.create(spec("live", 1))
	granted := g.claim(g.queue(live, 1)[0])
	late := resultOf(grants[0], experiment.OutcomeFailed)
	late.Epoch++
	require.Equal(t, 1, g.commit(late, resultOf(granted, experiment.OutcomeSuccess)))
	require.Zero(t, g.left("attempts", row.ID))
	require.Equal(t, 1, g.left("attempts", live.ID))
	require.NoError(t, g.AnnounceProgress(t.Context(), map[uuid.UUID][]int{row.ID: {1}, live.ID: {1}}))
	require.Equal(t, 1, g.left("events", row.ID))
	require.NoError(t, g.InsertNotStarted(t.Context(), row.ID, []store.NewExperiment{{ID: uuid.New(), Number: 4, Purpose: experiment.Search}}))
	require.Zero(t, g.left("experiments", row.ID))
	again := g.create(spec("gone", 1))
	require.Greater(t, again.Number, row.Number, "the name is free, the number is not given twice")
}

// Only tasks that have ended, of which nothing runs and all is recorded.
func TestTasksThatAreNotDeleted(t *testing.T) {
	g := newGround(t)
	refused := func(id uuid.UUID, want error) {
		t.Helper()
		_, err := g.Deletable(t.Context(), id)
		require.ErrorIs(t, err, want)
		_, err = g.DeleteTask(t.Context(), id, "")
		require.ErrorIs(t, err, want)
	}
	row := g.create(spec("t", 1))
	waits := g.create(spec("waits", 1, "t"))
	granted := g.claim(g.queue(row, 2)[0])
	refused(row.ID, store.ErrNotEnded)
	refused(waits.ID, store.ErrNotEnded)
	require.NoError(t, g.Pause(t.Context(), row.ID))
	refused(row.ID, store.ErrNotEnded)
	require.NoError(t, g.CancelTask(t.Context(), row.ID, ""))
	refused(row.ID, store.ErrStopping)
	require.Equal(t, 1, g.commit(resultOf(granted, experiment.OutcomeCancelled)))
	refused(row.ID, store.ErrUnrecorded)
	require.NoError(t, g.MarkRecorded(t.Context(), row.ID))
	_, err := g.DeleteTask(t.Context(), row.ID, "")
	require.NoError(t, err)
	refused(row.ID, store.ErrNotFound)
}

// A task that waits for two others goes on waiting for the one that is left.
func TestDependentsOutliveADeletedTask(t *testing.T) {
	g := newGround(t)
	first, _ := g.measured("first", 1)
	second := g.create(spec("second", 1))
	g.create(spec("both", 1, "first", "second"))
	_, err := g.DeleteTask(t.Context(), first.ID, "")
	require.NoError(t, err)
	require.Equal(t, store.TaskWaiting, g.state("both"))
	g.finish(second, store.TaskCompleted)
	require.Equal(t, store.TaskRunning, g.state("both"))
}

func (g *ground) bundled(name string) (store.Task, error) {
	with := spec(name, 1)
	with.Command = &task.Command{Bundle: "digest"}
	return g.CreateTask(g.t.Context(), store.NewTask{Spec: with, Bundle: []byte("contents")})
}

func (g *ground) over(row store.Task) {
	g.t.Helper()
	require.NoError(g.t, g.CancelTask(g.t.Context(), row.ID, ""))
	require.NoError(g.t, g.MarkRecorded(g.t.Context(), row.ID))
}

// File contents stay as long as a task refers to them.
func TestBundleGoesWithItsLastTask(t *testing.T) {
	g := newGround(t)
	var rows []store.Task
	for _, name := range []string{"a", "b"} {
		row, err := g.bundled(name)
		require.NoError(t, err)
		g.over(row)
		rows = append(rows, row)
	}
	_, err := g.pool.Exec(t.Context(), `DELETE FROM bundles`)
	require.Error(t, err, "the database itself keeps what is referred to")
	_, err = g.DeleteTask(t.Context(), rows[0].ID, "")
	require.NoError(t, err)
	_, _, err = g.Bundle(t.Context(), "digest", 0, 10)
	require.NoError(t, err)
	_, err = g.DeleteTask(t.Context(), rows[1].ID, "")
	require.NoError(t, err)
	_, _, err = g.Bundle(t.Context(), "digest", 0, 10)
	require.ErrorIs(t, err, store.ErrNotFound)
	with := spec("without", 1)
	with.Command = &task.Command{Bundle: "digest"}
	_, err = g.CreateTask(t.Context(), store.NewTask{Spec: with})
	require.ErrorIs(t, err, store.ErrNotFound, "a task whose files are gone")
}

// Tasks with the same files come and go at the same time: none is refused, and
// none is without its files.
func TestBundleIsKeptForATaskThatComes(t *testing.T) {
	g := newGround(t)
	before, err := g.bundled("t0")
	require.NoError(t, err)
	for i := range 20 {
		g.over(before)
		var deleted, stored error
		var next store.Task
		var both sync.WaitGroup
		both.Go(func() { _, deleted = g.DeleteTask(t.Context(), before.ID, "") })
		both.Go(func() { next, stored = g.bundled(fmt.Sprintf("t%d", i+1)) })
		both.Wait()
		require.NoError(t, deleted)
		require.NoError(t, stored)
		_, _, err := g.Bundle(t.Context(), "digest", 0, 10)
		require.NoError(t, err)
		before = next
	}
}

// A task that takes another's place has its number and its dependents.
func TestTaskIsReplaced(t *testing.T) {
	g := newGround(t)
	held, err := g.CreateTask(t.Context(), store.NewTask{Spec: spec("held", 1), Source: "old", Paused: true})
	require.NoError(t, err)
	g.create(spec("waits", 1, "held"))
	next, err := g.ReplaceTask(t.Context(), held.ID, store.NewTask{Spec: spec("held", 2), Source: "new", Paused: true}, true)
	require.NoError(t, err)
	require.NotEqual(t, held.ID, next.ID, "whoever remembers the other finds it gone")
	require.Equal(t, held.Number, next.Number)
	require.Equal(t, 2, next.Spec.Resources.Devices)
	require.NoError(t, g.Resume(t.Context(), next.ID))
	_, err = g.ReplaceTask(t.Context(), next.ID, store.NewTask{Spec: spec("held", 1)}, true)
	require.ErrorIs(t, err, store.ErrBegun)
	_, err = g.ReplaceTask(t.Context(), next.ID, store.NewTask{Spec: spec("held", 1)}, false)
	require.ErrorIs(t, err, store.ErrNotEnded)
	g.queue(next, 1)
	require.NoError(t, g.Pause(t.Context(), next.ID))
	_, err = g.ReplaceTask(t.Context(), next.ID, store.NewTask{Spec: spec("held", 1)}, true)
	require.ErrorIs(t, err, store.ErrBegun, "paused, but begun")
	require.NoError(t, g.Resume(t.Context(), next.ID))
	g.finish(next, store.TaskCompleted)
	require.Equal(t, store.TaskRunning, g.state("waits"), "it waited for the one that took the place")

	_, err = g.ReplaceTask(t.Context(), next.ID, store.NewTask{Spec: spec("held", 1)}, false)
	require.ErrorIs(t, err, store.ErrUnrecorded)
	require.NoError(t, g.MarkRecorded(t.Context(), next.ID))
	_, err = g.ReplaceTask(t.Context(), next.ID, store.NewTask{Spec: spec("waits", 1)}, false)
	require.ErrorIs(t, err, store.ErrTaskExists)
	require.Equal(t, 1, g.left("experiments", next.ID), "what is refused changes nothing")
	again, err := g.ReplaceTask(t.Context(), next.ID, store.NewTask{Spec: spec("held", 1)}, false)
	require.NoError(t, err)
	require.Equal(t, store.TaskRunning, again.State)
	require.Zero(t, g.left("experiments", next.ID))
	_, err = g.ReplaceTask(t.Context(), next.ID, store.NewTask{Spec: spec("held", 1)}, false)
	require.ErrorIs(t, err, store.ErrNotFound)
	require.Greater(t, g.create(spec("d", 1)).Number, again.Number)
}

func TestTasksThatEndedLongAgo(t *testing.T) {
	g := newGround(t)
	var rows []store.Task
	for i := range 4 {
		row := g.create(spec(fmt.Sprintf("t%d", i), 1))
		if i < 3 {
			g.over(row)
			g.exec(`UPDATE tasks SET finished_at = now() - $2 * interval '1 hour' WHERE id = $1`, row.ID, 3-i)
		}
		rows = append(rows, row)
	}
	list, err := g.EndedTasks(t.Context(), 90*time.Minute, 10)
	require.NoError(t, err)
	require.Equal(t, []uuid.UUID{rows[0].ID, rows[1].ID}, list)
	list, err = g.EndedTasks(t.Context(), time.Minute, 1)
	require.NoError(t, err)
	require.Equal(t, []uuid.UUID{rows[0].ID}, list)
}
