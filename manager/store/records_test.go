package store_test

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/records"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// measured is a record of operation gemm on a device with a layout.
func measured(layout bool, tile int64, score float64) records.Record {
	r := records.Record{
		ID: uuid.New(), Point: space.Point{"tile": tile}, Outcome: experiment.OutcomeSuccess, Scores: []float64{score},
		Metrics: map[string]records.Metric{"time": {Unit: "ms", Median: score, Count: 5}}, Task: "gemm-1",
		MeasuredAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	r.Key.Operation = records.Operation{Name: "gemm", Runner: "command:1", Extras: records.Facts{"use_8x4_sf_layout": layout}}
	r.Key.Workload = records.Facts{"m": int64(1024)}
	r.Key.Environment = records.Facts{records.FactDevice: "A100", records.FactDriver: "535.1"}
	r.Key.Measurement = records.Facts{records.FactObjectives: []any{"minimize_time"}}
	return r
}

func (g *ground) append(list ...records.Record) store.Appended {
	g.t.Helper()
	a, err := g.AppendRecords(g.t.Context(), list, false)
	require.NoError(g.t, err)
	return a
}

func (g *ground) winner(layout bool) store.Winner {
	g.t.Helper()
	list, err := g.Winners(g.t.Context(), "gemm")
	require.NoError(g.t, err)
	digest := measured(layout, 1, 1).Key.Digest()
	for _, w := range list {
		if w.Digest == digest {
			return w
		}
	}
	require.Fail(g.t, "the key has no winner")
	return store.Winner{}
}

func (g *ground) tile(number int64) any {
	g.t.Helper()
	r, err := g.Record(g.t.Context(), number)
	require.NoError(g.t, err)
	return r.Point["tile"]
}

// Two runs that differ in one extra alone once shared an entry elsewhere, and a
// tactic that fits one layout was loaded for the other.
func TestExtrasKeepRecordsApart(t *testing.T) {
	g := newGround(t)
	g.append(measured(true, 8, 1), measured(false, 16, 2))
	require.Equal(t, int64(8), g.tile(g.winner(true).Number))
	require.Equal(t, int64(16), g.tile(g.winner(false).Number))
	list, err := g.WinnersFor(t.Context(), "gemm", measured(true, 1, 1).Key.Operation.Extras, records.Facts{"m": 1024.0})
	require.NoError(t, err)
	require.Len(t, list, 1, "numbers compare by value")
	list, err = g.WinnersFor(t.Context(), "gemm", nil, records.Facts{"m": int64(1024)})
	require.NoError(t, err)
	require.Empty(t, list)
	answers, err := g.RecordAnswers(t.Context(), measured(true, 1, 1).Key.Digest(), 10)
	require.NoError(t, err)
	require.Len(t, answers, 1)
	require.Equal(t, space.Point{"tile": int64(8)}, answers[0].Point)
}

func TestRecordsAreAppendedOnce(t *testing.T) {
	g := newGround(t)
	r := measured(true, 8, 3)
	require.Equal(t, store.Appended{Added: 1}, g.append(r))
	require.Equal(t, store.Appended{Known: 1}, g.append(r))
	other := r
	other.Scores = []float64{1}
	require.Equal(t, store.Appended{Conflicts: []uuid.UUID{r.ID}}, g.append(other))
	require.Equal(t, 3.0, g.winner(true).Score, "what was there stays")

	bad := r
	bad.ID, bad.Key.Environment = uuid.New(), records.Facts{}
	_, err := g.AppendRecords(t.Context(), []records.Record{bad}, true)
	require.ErrorIs(t, err, records.ErrInvalid, "a record from nowhere")
}

// The median of a point's measurements decides, and what a task has confirmed
// goes before a lucky sample.
func TestWinnersAreDerived(t *testing.T) {
	g := newGround(t)
	g.append(measured(true, 8, 5), measured(true, 8, 1), measured(true, 8, 5), measured(true, 16, 4))
	w := g.winner(true)
	require.Equal(t, int64(16), g.tile(w.Number))
	require.Equal(t, 4.0, w.Score)
	require.Equal(t, 2, w.Points)
	require.False(t, w.Confirmed)

	confirmed := measured(true, 32, 4.5)
	confirmed.Confirmed = true
	g.append(confirmed)
	require.Equal(t, int64(32), g.tile(g.winner(true).Number))
	require.True(t, g.winner(true).Confirmed)

	failed := measured(true, 32, 0)
	failed.Scores, failed.Outcome, failed.Metrics = nil, experiment.OutcomeIncorrect, nil
	g.append(failed)
	require.Equal(t, int64(32), g.tile(g.winner(true).Number))
	answers, err := g.RecordAnswers(t.Context(), failed.Key.Digest(), 10)
	require.NoError(t, err)
	require.Len(t, answers, 2, "a point that failed at last is measured again")
}

func TestWritersOfOneKeyLoseNothing(t *testing.T) {
	g := newGround(t)
	g.append(measured(true, 100, 100), measured(false, 100, 100))
	const rounds, writers = 20, 4
	for round := range rounds {
		var group sync.WaitGroup
		errs := make([]error, writers)
		for i := range errs {
			tile := int64(round*writers + i)
			group.Go(func() {
				_, errs[i] = g.AppendRecords(t.Context(), []records.Record{measured(false, tile, 1), measured(true, tile, float64(99-tile))}, false)
			})
		}
		group.Wait()
		for _, err := range errs {
			require.NoError(t, err)
		}
		require.Equal(t, (round+1)*writers+1, g.winner(true).Points)
		require.Equal(t, float64(99-(round+1)*writers+1), g.winner(true).Score)
	}
}

func TestPinsGoBeforeWinners(t *testing.T) {
	g := newGround(t)
	g.append(measured(true, 8, 1), measured(true, 16, 2))
	list, err := g.Records(t.Context(), store.RecordFilter{Operation: "gemm", Limit: 10})
	require.NoError(t, err)
	require.Len(t, list, 2)
	slow := list[1].Number
	require.NoError(t, g.PinRecord(t.Context(), slow, "safer"))
	w := g.winner(true)
	require.True(t, w.Pinned)
	require.Equal(t, slow, w.Number)
	require.Equal(t, 2.0, w.Score)
	require.NoError(t, g.UnpinRecord(t.Context(), slow))
	require.ErrorIs(t, g.UnpinRecord(t.Context(), slow), store.ErrNotFound)
	require.Equal(t, list[0].Number, g.winner(true).Number)
	require.ErrorIs(t, g.PinRecord(t.Context(), 999, ""), store.ErrNotFound)
}

// A key that was changed by hand does not give its digest any more: one miss,
// the others intact.
func TestAChangedKeyIsPassedOver(t *testing.T) {
	g := newGround(t)
	g.append(measured(true, 8, 1), measured(false, 8, 1))
	_, err := g.pool.Exec(t.Context(), `UPDATE record_keys SET key = jsonb_set(key, '{environment,device}', '"H100"') WHERE digest = $1`,
		measured(true, 8, 1).Key.Digest())
	require.NoError(t, err)
	list, err := g.Winners(t.Context(), "gemm")
	require.NoError(t, err)
	require.Len(t, list, 1)
}

func TestAnsweredExperimentsAreOver(t *testing.T) {
	g := newGround(t)
	row, err := g.CreateTask(t.Context(), store.NewTask{Spec: spec("served", 1), Planned: 2, Served: &store.Served{Answers: 1},
		Frozen: store.Frozen{Answers: []store.Answer{{Record: 7, Point: space.Point{"i": int64(2)}, Scores: []float64{4}}}}})
	require.NoError(t, err)
	require.Equal(t, &store.Served{Answers: 1}, row.Records)
	frozen, err := g.Frozen(t.Context(), row.ID)
	require.NoError(t, err)
	require.Len(t, frozen.Answers, 1)
	frozen.Answers[0].Metrics = map[string]store.Summary{"time": {Unit: "ms", Median: 4, Count: 3}}
	list := []store.NewExperiment{
		{ID: uuid.New(), Number: 1, Purpose: experiment.Search, Parameters: space.Point{"i": int64(1)}},
		{ID: uuid.New(), Number: 2, Purpose: experiment.Search, Parameters: space.Point{"i": int64(2)}, Answer: &frozen.Answers[0]},
	}
	require.NoError(t, g.InsertExperiments(t.Context(), g.term, row.ID, list))
	queued, answered := g.get(list[0].ID), g.get(list[1].ID)
	require.Equal(t, experiment.Queued, queued.State)
	require.Nil(t, queued.Record)
	require.Equal(t, experiment.Success, answered.State)
	require.Equal(t, []float64{4}, answered.Scores)
	require.Equal(t, 4.0, answered.Metrics["time"].Median)
	require.Equal(t, int64(7), *answered.Record)
	require.Zero(t, answered.Attempts)
	g.refuses(list[1].ID)

	plain, err := g.Frozen(t.Context(), g.create(spec("plain", 1)).ID)
	require.NoError(t, err)
	require.Empty(t, plain)
}

// Where an experiment ran is told by its session, not by what the worker is
// like by now.
func TestSessionsKeepTheirNode(t *testing.T) {
	g := newGround(t)
	session := uuid.Max
	save := func(driver string, session uuid.UUID) {
		require.NoError(t, g.SaveWorkers(t.Context(), []store.Worker{{Name: "w1", Session: session, State: store.WorkerOnline, LastBeatAt: time.Now(),
			Node: node.Advertisement{Worker: "w1", Devices: []node.Device{{ID: "gpu-0", Model: "A100", Driver: driver}}}}}))
	}
	save("535.1", session)
	row := g.create(spec("where", 1))
	ids := g.queue(row, 2)
	granted := g.claim(ids[0])
	_, err := g.CommitResults(t.Context(), []store.Result{resultOf(granted, experiment.OutcomeSuccess)}, 1)
	require.NoError(t, err)
	save("550.2", uuid.New())
	list, err := g.MeasuredExperiments(t.Context(), row.ID, 0, 10)
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, "535.1", list[0].Node.Devices[0].Driver)
	require.Nil(t, list[1].Node)
}

func TestRecordsSurviveTheirJSON(t *testing.T) {
	g := newGround(t)
	r := measured(true, 8, 1.25)
	r.Key.Workload = records.Facts{"shape": []any{int64(64), 0.5, "x"}, "scale": 1e-7, "big": int64(1) << 60, "n": int64(4096)}
	g.append(r)
	stored, err := g.Records(t.Context(), store.RecordFilter{Limit: 1})
	require.NoError(t, err)
	require.True(t, stored[0].Same(r))
	a, _ := json.Marshal(r)
	b, _ := json.Marshal(stored[0].Record)
	require.JSONEq(t, string(a), string(b))
	require.Equal(t, r.Key.Digest(), stored[0].Key.Digest())
}
