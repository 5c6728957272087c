package store_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// The first reason stands, whoever comes later with another, and is announced
// once.
func TestSearchStopsOnce(t *testing.T) {
	g := newGround(t)
	row := g.create(spec("t", 1))
	require.Nil(t, row.Stopped)
	plateau := store.Stopped{Rule: "plateau", Message: "no improvement in 40 experiments"}
	for _, why := range []store.Stopped{plateau, {Rule: "cost", Message: "5 of 4 spent"}} {
		holds, err := g.StopSearch(t.Context(), row.ID, why)
		require.NoError(t, err)
		require.Equal(t, plateau, holds)
	}
	again, err := g.Task(t.Context(), "t")
	require.NoError(t, err)
	require.Equal(t, &plateau, again.Stopped)
	require.Equal(t, store.TaskRunning, again.State)
	require.Equal(t, []string{"1"}, g.lines(`SELECT count(*)::text FROM events WHERE payload -> 'stopped' ->> 'rule' = 'plateau'`))
	require.Equal(t, []string{"0"}, g.lines(`SELECT count(*)::text FROM events WHERE payload -> 'stopped' ->> 'rule' = 'cost'`))

	over := g.create(spec("over", 1))
	require.NoError(t, g.CancelTask(t.Context(), over.ID, "enough"))
	holds, err := g.StopSearch(t.Context(), over.ID, plateau)
	require.NoError(t, err)
	require.Zero(t, holds, "a task that has ended")
}

// Every attempt counts, with its devices and the price of its worker.
func TestUsage(t *testing.T) {
	g := newGround(t)
	row := g.create(spec("t", 1))
	used := func(price float64) store.Usage {
		u, err := g.Usage(t.Context(), row.ID, price)
		require.NoError(t, err)
		return u
	}
	require.Equal(t, store.Usage{}, used(3), "nothing yet")

	for worker, label := range map[string]string{"w1": "", "w2": "10", "w3": "a lot"} {
		w := store.Worker{Name: worker, Session: uuid.New(), State: store.WorkerOnline, LastBeatAt: time.Now(), Node: node.Advertisement{Worker: worker}}
		if label != "" {
			w.Node.Labels = map[string]string{"cost_per_device_hour": label}
		}
		require.NoError(t, g.SaveWorkers(t.Context(), []store.Worker{w}))
	}
	end := func(worker string, outcome experiment.Outcome, devices ...string) {
		r := resultOf(g.claim(g.queue(row, 1)[0]), outcome)
		r.Worker, r.Devices = worker, devices
		r.Timings = map[string]time.Duration{"staging": time.Hour, "running": 30 * time.Minute}
		require.Equal(t, 1, g.commit(r))
	}
	end("w1", experiment.OutcomeSuccess, "a", "b")
	require.Equal(t, store.Usage{DeviceHours: 1, Cost: 3}, used(3))
	end("w2", experiment.OutcomeFailed, "a", "b")
	require.Equal(t, store.Usage{DeviceHours: 2, Cost: 13}, used(3))
	end("w3", experiment.OutcomeStoppedEarly, "a", "b")
	require.Equal(t, store.Usage{DeviceHours: 3, Cost: 16}, used(3), "a label that is no price")
	end("w1", experiment.OutcomeFailed)
	require.Equal(t, store.Usage{DeviceHours: 3, Cost: 16}, used(3), "it had no devices")
	require.Equal(t, store.Usage{DeviceHours: 3, Cost: 10}, used(0))
}

// What is less than a full measurement is kept with its level, and is neither
// the best nor part of what scores are compared with.
func TestPartialMeasurementsAreApart(t *testing.T) {
	g := newGround(t)
	row := g.create(spec("t", 1))
	level := 10.0
	rough := store.NewExperiment{ID: uuid.New(), Number: 1, Purpose: experiment.Search, Parameters: space.Point{}, Fidelity: &level}
	full := store.NewExperiment{ID: uuid.New(), Number: 2, Purpose: experiment.Search, Parameters: space.Point{}}
	require.NoError(t, g.InsertExperiments(t.Context(), g.term, row.ID, []store.NewExperiment{rough, full}))
	best := func() *store.Experiment {
		marks, err := g.Landmarks(t.Context(), []store.Task{row})
		require.NoError(t, err)
		return marks[row.ID].Best
	}
	require.Equal(t, 1, g.commit(resultOf(g.claim(rough.ID), experiment.OutcomeSuccess)))
	require.Nil(t, best())
	worse := resultOf(g.claim(full.ID), experiment.OutcomeSuccess)
	worse.Scores = []float64{7}
	require.Equal(t, 1, g.commit(worse))
	require.Equal(t, 2, best().Number)
	require.Nil(t, best().Fidelity)
	require.Equal(t, &level, g.get(rough.ID).Fidelity)
	values, err := g.Values(t.Context(), row.ID, 10)
	require.NoError(t, err)
	require.Len(t, values, 1)
	require.Equal(t, []string{"2"}, g.lines(`SELECT number::text FROM leaderboard`))
}

func TestStoppedEarlyKeepsWhatItMeasured(t *testing.T) {
	g := newGround(t)
	row := g.create(spec("t", 1))
	id := g.queue(row, 1)[0]
	r := resultOf(g.claim(id), experiment.OutcomeStoppedEarly)
	r.Scores = []float64{9}
	r.Measurement = &experiment.Measurement{Metrics: map[string]experiment.Metric{"time": {Unit: "ms", Samples: []float64{9}, Median: 9}}}
	require.Equal(t, 1, g.commit(r))
	g.stands(id, experiment.Cancelled, experiment.OutcomeStoppedEarly)
	e := g.get(id)
	require.Equal(t, []float64{9}, e.Scores)
	require.Equal(t, 1, e.Metrics["time"].Count)
	marks, err := g.Landmarks(t.Context(), []store.Task{row})
	require.NoError(t, err)
	require.Nil(t, marks[row.ID].Best, "it is not a candidate")
	counts, err := g.Counts(t.Context(), []uuid.UUID{row.ID})
	require.NoError(t, err)
	data, err := json.Marshal(counts[row.ID])
	require.NoError(t, err)
	require.Contains(t, string(data), `"cancelled":1`)
}
