package store_test

import (
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestOnlyRunningTasksTakeExperiments(t *testing.T) {
	g := newGround(t)
	one := func(n int) []store.NewExperiment {
		return []store.NewExperiment{{ID: uuid.New(), Number: n, Purpose: experiment.Search, Parameters: space.Point{}}}
	}
	row := g.create(spec("t", 1))
	require.NoError(t, g.InsertExperiments(t.Context(), g.term, row.ID, one(1)))
	require.Error(t, g.InsertExperiments(t.Context(), g.term, row.ID, one(1)), "the number is taken")
	require.NoError(t, g.Pause(t.Context(), row.ID))
	require.ErrorIs(t, g.InsertExperiments(t.Context(), g.term, row.ID, one(2)), store.ErrState)
	require.NoError(t, g.CancelTask(t.Context(), row.ID, ""))
	require.ErrorIs(t, g.InsertExperiments(t.Context(), g.term, row.ID, one(2)), store.ErrState)
	list, err := g.Experiments(t.Context(), row.ID, 0, 10)
	require.NoError(t, err)
	require.Len(t, list, 1)
}

func TestTimeOverGivesEveryConfigurationItsRow(t *testing.T) {
	g := newGround(t)
	row := g.create(spec("t", 1))
	ids := g.queue(row, 3)
	g.claim(ids[0])
	expired, err := g.ExpireQueued(t.Context(), row.ID)
	require.NoError(t, err)
	require.ElementsMatch(t, ids[1:], expired)
	g.stands(ids[0], experiment.Running, "")
	g.stands(ids[1], experiment.Cancelled, experiment.OutcomeNotStarted)
	never := store.NewExperiment{ID: uuid.New(), Number: 4, Purpose: experiment.Search, Parameters: space.Point{}}
	require.NoError(t, g.InsertNotStarted(t.Context(), row.ID, []store.NewExperiment{never}))
	g.stands(never.ID, experiment.Cancelled, experiment.OutcomeNotStarted)
	g.refuses(never.ID)
	require.Error(t, g.InsertNotStarted(t.Context(), row.ID, []store.NewExperiment{{ID: uuid.New(), Number: 4, Purpose: experiment.Search, Parameters: space.Point{}}}),
		"once only")
}

func TestQueuedNowComparesTheRoadWithTheTruth(t *testing.T) {
	g := newGround(t)
	row := g.create(spec("t", 1))
	ids := g.queue(row, 5)
	g.exec(`UPDATE experiments SET queued_at = now() - interval '1 minute'`)
	running := ids[0]
	g.claim(running)
	settling := g.queue(row, 1)[0] // queued just now: its offer may be on its way
	paused := g.create(spec("paused", 1))
	held := g.queue(paused, 1)
	g.exec(`UPDATE experiments SET queued_at = now() - interval '1 minute' WHERE task_id = $1`, paused.ID)
	require.NoError(t, g.Pause(t.Context(), paused.ID))

	stranger := uuid.New()
	got, err := g.QueuedNow(t.Context(), []uuid.UUID{running, ids[1], held[0], stranger}, 30*time.Second)
	require.NoError(t, err)
	require.Equal(t, map[uuid.UUID]bool{ids[1]: true}, got.Offered, "what else is offered may be claimed by nobody")
	missing := make([]uuid.UUID, 0, 3)
	for _, m := range got.Missing {
		require.Equal(t, row.ID, m.Task)
		missing = append(missing, m.ID)
	}
	require.ElementsMatch(t, ids[2:], missing)
	require.NotContains(t, missing, settling)
}

func TestStarvingAreLargeRequestsThatWaitUnlessMoreUrgentWorkDoes(t *testing.T) {
	g := newGround(t)
	names := func() []string {
		list, err := g.Starving(t.Context(), 30*time.Second)
		require.NoError(t, err)
		var names []string
		for _, s := range list {
			names = append(names, s.Task.Name)
		}
		return names
	}
	age := func() { g.exec(`UPDATE experiments SET queued_at = now() - interval '1 minute'`) }
	g.queue(g.create(spec("small", 1)), 1)
	large := g.create(spec("large", 2))
	id := g.queue(large, 1)[0]
	require.Empty(t, names(), "it has not waited for long")
	age()
	require.Equal(t, []string{"large"}, names())
	urgent := spec("urgent", 1)
	urgent.Priority = task.High
	first := g.queue(g.create(urgent), 1)[0]
	require.Empty(t, names(), "work of a higher priority waits as well")
	g.claim(first)
	require.Equal(t, []string{"large"}, names())
	g.claim(id)
	require.Empty(t, names(), "it runs")
}
