package keeper_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/postgres/pgtest"
	"github.com/fleetune/fleetune/manager/records"
	"github.com/fleetune/fleetune/manager/records/keeper"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

const canary = "hunter2-canary"

// ended stores a task of three points that ended: a success, a failure of the
// configuration and one of its place. Variables, logs and messages hold a
// secret.
func ended(t *testing.T, db *store.Store, known bool) store.Task {
	t.Helper()
	ctx := t.Context()
	spec := &task.Task{
		Name: "leaky", Space: space.Space{Parameters: []space.Parameter{{Name: "i", Type: space.Integer, Low: 1, High: 3}}},
		Optimization: task.Optimization{Strategy: "grid_search", MaxIterations: 3, Repeats: 1, Timeout: task.Duration(time.Hour),
			Objectives: []task.Objective{{Metric: "time", Direction: task.Minimize}}},
		Command: &task.Command{Run: task.Step{Argv: []string{"./bench", "{{i}}"}}, Measure: task.MeasureResultFile,
			Env: task.Env{Set: map[string]string{"TOKEN": canary}, Secrets: map[string]string{"KEY": "api-key"}}},
		Priority: task.Normal,
	}
	row, err := db.CreateTask(ctx, store.NewTask{Spec: spec, Source: canary, Planned: 3})
	require.NoError(t, err)
	lead, err := db.AcquireLeader(ctx, uuid.New(), "", time.Hour)
	require.NoError(t, err)
	session := uuid.New()
	if known {
		meet(t, db, session)
	}
	for i, outcome := range []experiment.Outcome{experiment.OutcomeSuccess, experiment.OutcomeIncorrect, experiment.OutcomeInfraError} {
		id := uuid.New()
		require.NoError(t, db.InsertExperiments(ctx, lead.Term, row.ID, []store.NewExperiment{
			{ID: id, Number: i + 1, Purpose: experiment.Search, Parameters: space.Point{"i": int64(i + 1)}}}))
		granted, err := db.Claim(ctx, []store.Claim{{ID: uuid.New(), Experiment: id, Worker: "w1", Session: session, Devices: []string{"gpu-0"}}})
		require.NoError(t, err)
		for _, g := range granted {
			r := store.Result{Report: wire.Report{Worker: "w1", Experiment: id, Task: row.ID, Epoch: g.Epoch, Attempt: 1, Devices: []string{"gpu-0"},
				StartedAt: time.Now(), FinishedAt: time.Now(), Outcome: outcome}}
			if outcome == experiment.OutcomeSuccess {
				r.Scores = []float64{4}
				r.Measurement = &experiment.Measurement{Metrics: map[string]experiment.Metric{"time": {Unit: "ms", Median: 4, Samples: []float64{4}}}}
			} else {
				r.Failure = &experiment.Failure{Phase: "run", Message: canary, LogTail: canary}
			}
			_, err := db.CommitResults(ctx, []store.Result{r}, 0)
			require.NoError(t, err)
		}
	}
	best := 1
	require.NoError(t, db.FinishTask(ctx, row.ID, store.TaskCompleted, "", &best, nil))
	return row
}

func meet(t *testing.T, db *store.Store, session uuid.UUID) {
	t.Helper()
	require.NoError(t, db.SaveWorkers(t.Context(), []store.Worker{{Name: "w1", Session: session, State: store.WorkerOnline, LastBeatAt: time.Now(),
		Node: node.Advertisement{Worker: "w1", Host: "host-canary", Devices: []node.Device{
			{ID: "gpu-0", Vendor: "nvidia", Model: "A100", Driver: "535.1", Memory: 80 << 30}}}}}))
}

func TestMeasurementsBecomeRecords(t *testing.T) {
	db := pgtest.Store(t)
	ended(t, db, true)
	for range 2 {
		require.NoError(t, keeper.Once(t.Context(), db, zerolog.Nop()))
	}
	list, err := db.Records(t.Context(), store.RecordFilter{Operation: "leaky", Limit: 10})
	require.NoError(t, err)
	require.Len(t, list, 2, "what failed for reasons of its place is no record")
	require.Equal(t, records.Facts{"device": "A100", "vendor": "nvidia", "driver": "535.1", "devices": int64(1), "memory_mib": int64(81920)},
		list[0].Key.Environment)
	require.True(t, list[0].Confirmed)
	require.Equal(t, []float64{4}, list[0].Scores)
	require.Equal(t, experiment.OutcomeIncorrect, list[1].Outcome)
	require.Empty(t, list[1].Scores)

	var file bytes.Buffer
	require.NoError(t, records.Write(&file, []records.Record{list[0].Record, list[1].Record}))
	for _, secret := range []string{canary, "api-key", "host-canary", "w1"} {
		require.NotContains(t, file.String(), secret)
	}
}

// A task that ends before its worker is known waits for that.
func TestWorkersAreWaitedFor(t *testing.T) {
	db := pgtest.Store(t)
	row := ended(t, db, false)
	require.NoError(t, keeper.Once(t.Context(), db, zerolog.Nop()))
	list, err := db.UnrecordedTasks(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, list, 1)
	measured, err := db.MeasuredExperiments(t.Context(), row.ID, 0, 10)
	require.NoError(t, err)
	require.Nil(t, measured[0].Node)
}

func TestRunEndsWithItsContext(t *testing.T) {
	db := pgtest.Store(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	keeper.Run(ctx, db, zerolog.Nop())
}
