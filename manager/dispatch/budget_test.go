package dispatch

import (
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Time-outs nest: whatever a task allows one experiment (Tc), and however much
// of its own time (Tt) is left, an attempt is granted no more than either, and
// the cause is the task's as soon as it is what ends first.
func TestKernelInvariant08_TimeoutsNest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seconds := func(name string, least int64) time.Duration {
			return time.Duration(rapid.Int64Range(least, int64(24*time.Hour)).Draw(t, name))
		}
		one, total := seconds("Tc", int64(time.Millisecond)), seconds("Tt", int64(time.Millisecond))
		left := total - time.Duration(rapid.Int64Range(0, int64(2*total)).Draw(t, "elapsed"))
		id := uuid.New()
		spec := &task.Task{Optimization: task.Optimization{IterationTimeout: task.Duration(one), Timeout: task.Duration(total)}}
		tm := &term{specs: specs{known: map[uuid.UUID]*task.Task{id: spec}}}

		g := tm.describe(t.Context(), store.Granted{Task: id, Left: &left})
		require.Positive(t, g.Budget)
		require.LessOrEqual(t, g.Budget, max(one, time.Millisecond))
		require.LessOrEqual(t, g.Budget, max(left, time.Millisecond))
		require.Equal(t, left <= one, g.Total)
		if !g.Total {
			require.Equal(t, one, g.Budget)
		}
		free := tm.describe(t.Context(), store.Granted{Task: id})
		require.Equal(t, one, free.Budget)
		require.False(t, free.Total)
	})
	// The manager's own: a beat and two tries of a beat fit into a lease with
	// room to spare.
	c := Config{}.withDefaults()
	require.Less(t, 3*c.Beat, c.Lease)
}

// A confirmation has the time that its measurements have by themselves: with
// less it takes too few samples to prove anything.
func TestAConfirmationHasTimeForBothSides(t *testing.T) {
	id := uuid.New()
	spec := &task.Task{Optimization: task.Optimization{IterationTimeout: task.Duration(time.Minute), Repeats: 1}}
	tm := &term{specs: specs{known: map[uuid.UUID]*task.Task{id: spec}}}
	confirm := store.Granted{Task: id, Purpose: experiment.Confirm}
	require.Equal(t, 2*time.Minute, tm.describe(t.Context(), confirm).Budget)
	spec.Serving = &task.Serving{}
	require.Equal(t, 6*time.Minute, tm.describe(t.Context(), confirm).Budget)
	spec.Optimization.Repeats = 5
	require.Equal(t, 10*time.Minute, tm.describe(t.Context(), confirm).Budget)
	confirm.Purpose = experiment.Search
	require.Equal(t, time.Minute, tm.describe(t.Context(), confirm).Budget)
	left := 3 * time.Minute
	confirm.Purpose, confirm.Left = experiment.Confirm, &left
	g := tm.describe(t.Context(), confirm)
	require.Equal(t, left, g.Budget)
	require.True(t, g.Total)
}
