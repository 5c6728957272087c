package store_test

import (
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// What the dashboards show of a task with two successes, a failure, one that
// runs and one that waits.
func TestViewsTellTheStory(t *testing.T) {
	g := newGround(t)
	most := spec("t", 1)
	most.Optimization.Objectives[0].Direction = task.Maximize
	row := g.create(most)
	ids := g.queue(row, 5)
	low, high := resultOf(g.claim(ids[0]), experiment.OutcomeSuccess), resultOf(g.claim(ids[1]), experiment.OutcomeSuccess)
	high.Scores = []float64{7}
	require.Equal(t, 3, g.commit(low, high, resultOf(g.claim(ids[2]), experiment.OutcomeOutOfMemory)))
	g.claim(ids[3])
	require.NoError(t, g.SaveWorkers(t.Context(), []store.Worker{{
		Name: "w1", Session: uuid.New(), State: store.WorkerOnline, LastBeatAt: time.Now(),
		Node: node.Advertisement{Worker: "w1", Devices: []node.Device{{ID: "gpu-0"}, {ID: "gpu-1"}}},
	}}))

	for view, want := range map[string][]string{
		`SELECT concat_ws(' ', name, total, queued, running, success, failed, cancelled, confirmations) FROM task_progress`: {"t 5 1 1 2 1 0 0"},
		`SELECT concat_ws(' ', rank, number, score) FROM leaderboard ORDER BY rank`:                                         {"1 2 7", "2 1 5"},
		`SELECT concat_ws(' ', worker, devices, attempts, success, busy_seconds, device_seconds) FROM worker_utilisation`:   {"w1 2 3 2 180 180"},
		`SELECT concat_ws(' ', worker, device, attempts, busy_seconds) FROM device_utilisation`:                             {"w1 gpu-0 3 180"},
		`SELECT concat_ws(' ', task, outcome, phase, experiments, first_number, example) FROM failure_causes`:               {"t out_of_memory run 1 3 it out_of_memory"},
		`SELECT concat_ws(' ', task, priority, experiments, waiting) FROM queue_wait`:                                       {"t normal 5 1"},
	} {
		require.Equal(t, want, g.lines(view), view)
	}

	counts, err := g.Counts(t.Context(), []uuid.UUID{row.ID})
	require.NoError(t, err)
	require.Equal(t, store.Counts{Total: 5, Queued: 1, Running: 1, Success: 2, Failed: 1}, counts[row.ID])
	marks, err := g.Landmarks(t.Context(), []store.Task{row})
	require.NoError(t, err)
	require.Equal(t, 2, marks[row.ID].Best.Number)
}

// What a task was found to be best by confirmations leads its leaderboard, even
// where another point had a luckier score.
func TestTheConfirmedBestLeadsTheLeaderboard(t *testing.T) {
	g := newGround(t)
	row := g.create(spec("t", 1))
	ids := g.queue(row, 3)
	scores := []float64{5, 3, 4}
	for i, id := range ids {
		r := resultOf(g.claim(id), experiment.OutcomeSuccess)
		r.Scores = scores[i : i+1]
		require.Equal(t, 1, g.commit(r))
	}
	const ranks = `SELECT concat_ws(' ', rank, number) FROM leaderboard ORDER BY rank`
	require.Equal(t, []string{"1 2", "2 3", "3 1"}, g.lines(ranks), "nothing is confirmed yet")
	best := 3
	require.NoError(t, g.FinishTask(t.Context(), row.ID, store.TaskCompleted, "", &best, nil))
	require.Equal(t, []string{"1 3", "2 2", "3 1"}, g.lines(ranks))
}
