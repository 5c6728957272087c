package store_test

import (
	"testing"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/stretchr/testify/require"
)

func (g *ground) names(tasks []store.Task) []string {
	var names []string
	for _, t := range tasks {
		names = append(names, t.Name)
	}
	return names
}

func TestTasksAreNumbered(t *testing.T) {
	g := newGround(t)
	first, second := g.create(spec("a", 1)), g.create(spec("b", 1))
	require.Less(t, first.Number, second.Number)
	found, err := g.TaskNumbered(t.Context(), second.Number)
	require.NoError(t, err)
	require.Equal(t, second, found)
	_, err = g.TaskNumbered(t.Context(), second.Number+1)
	require.ErrorIs(t, err, store.ErrNotFound)
}

// Tasks of earlier versions get their numbers in the order in which they were
// handed in, and those that follow go on from there.
func TestTasksOfEarlierVersionsAreNumbered(t *testing.T) {
	g := newGround(t)
	for _, name := range []string{"a", "b", "c"} {
		g.create(spec(name, 1))
	}
	require.NoError(t, g.MigrateDown(t.Context(), 5))
	g.exec(`UPDATE tasks SET cause = 'moved behind the others' WHERE name = 'a'`) // the order on disk is another now
	require.NoError(t, g.Migrate(t.Context()))
	g.create(spec("d", 1))
	for i, name := range []string{"a", "b", "c", "d"} {
		found, err := g.TaskNumbered(t.Context(), int64(i+1))
		require.NoError(t, err)
		require.Equal(t, name, found.Name)
	}
}

// A task that is handed in paused starts when it is resumed, unless it has to
// wait for another anyway.
func TestTaskIsHandedInPaused(t *testing.T) {
	g := newGround(t)
	row, err := g.CreateTask(t.Context(), store.NewTask{Spec: spec("held", 1), Paused: true})
	require.NoError(t, err)
	require.Equal(t, store.TaskPaused, row.State)
	require.NotEmpty(t, row.Cause)
	require.NotNil(t, row.PausedAt)
	require.NoError(t, g.Resume(t.Context(), row.ID))
	row, err = g.Task(t.Context(), "held")
	require.NoError(t, err)
	require.Equal(t, store.TaskRunning, row.State)
	require.Empty(t, row.Cause)
	require.Nil(t, row.PausedAt)

	_, err = g.CreateTask(t.Context(), store.NewTask{Spec: spec("after", 1, "held"), Paused: true})
	require.NoError(t, err)
	require.Equal(t, store.TaskWaiting, g.state("after"))
	g.finish(row, store.TaskCompleted)
	require.Equal(t, store.TaskRunning, g.state("after"))
}

func TestListingsSkip(t *testing.T) {
	g := newGround(t)
	a, b := g.create(spec("a", 1)), g.create(spec("b", 1))
	g.create(spec("c", 1))
	g.queue(a, 2)
	g.queue(b, 1)
	require.NoError(t, g.Pause(t.Context(), b.ID))
	for _, c := range []struct {
		states      []store.TaskState
		skip, limit int
		want        []string
	}{
		{nil, 0, 10, []string{"c", "b", "a"}},
		{nil, 1, 1, []string{"b"}},
		{nil, 3, 10, nil},
		{[]store.TaskState{store.TaskRunning}, 0, 10, []string{"c", "a"}},
		{[]store.TaskState{store.TaskPaused, store.TaskWaiting}, 0, 10, []string{"b"}},
	} {
		tasks, err := g.SkipTasks(t.Context(), c.states, c.skip, c.limit)
		require.NoError(t, err)
		require.Equal(t, c.want, g.names(tasks))
	}
	all, err := g.SkipExperiments(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Len(t, all, 3)
	require.Equal(t, b.ID, all[0].TaskID)
	some, err := g.SkipExperiments(t.Context(), 1, 1)
	require.NoError(t, err)
	require.Equal(t, all[1:2], some)
}
