package dispatch

import (
	"math"
	"testing"

	"github.com/fleetune/fleetune/manager/score"
	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// racing is a run with one live experiment at a level, and what has ended.
func racing(level float64, history ...search.Observation) (*run, wire.Progress) {
	id := uuid.New()
	spec := &task.Task{Optimization: task.Optimization{
		Objectives: []task.Objective{{Metric: "time", Direction: task.Minimize}, {Metric: "rate", Direction: task.Maximize}},
		Racing:     &task.Racing{Confidence: 0.99, MinSamples: 3},
	}}
	r := &run{task: store.Task{Spec: spec}, estimates: map[int][]score.Estimate{},
		live: map[uuid.UUID]*entry{id: {id: id, number: 99, purpose: experiment.Search, fidelity: level}}}
	for i, o := range history {
		o.Number = i + 1
		if o.Outcome == "" {
			o.Outcome = experiment.OutcomeSuccess
		}
		for _, v := range o.Values {
			r.estimates[o.Number] = append(r.estimates[o.Number], score.Estimate{Median: v, Spread: 0.1, Count: 10})
		}
		r.history = append(r.history, o)
	}
	return r, wire.Progress{Experiment: id, Samples: map[string][]float64{"time": {20, 20.2, 19.9, 20.1}, "rate": {5, 5.1, 4.9, 5}}}
}

func values(v ...float64) search.Observation { return search.Observation{Values: v} }

func TestOnlyWhatIsWorseInEverythingIsOutrun(t *testing.T) {
	for name, c := range map[string]struct {
		level   float64
		history []search.Observation
		outrun  bool
	}{
		"nothing has ended":           {0, nil, false},
		"better in both":              {0, []search.Observation{values(10, 10)}, true},
		"better in one":               {0, []search.Observation{values(10, 2)}, false},
		"two, each better in another": {0, []search.Observation{values(10, 2), values(40, 10)}, false},
		"one of two is better":        {0, []search.Observation{values(10, 2), values(12, 9)}, true},
		"it failed":                   {0, []search.Observation{{Outcome: experiment.OutcomeFailed}}, false},
		"stopped early itself":        {0, []search.Observation{{Values: []float64{10, 10}, Outcome: experiment.OutcomeStoppedEarly}}, false},
		"it misses an SLO":            {0, []search.Observation{{Values: []float64{10, 10}, Constraints: []float64{-1, 0.2}}}, false},
		"its SLO is not known":        {0, []search.Observation{{Values: []float64{10, 10}, Constraints: []float64{math.NaN()}}}, false},
		"it keeps its SLO":            {0, []search.Observation{{Values: []float64{10, 10}, Constraints: []float64{-1, 0}}}, true},
		"another level":               {30, []search.Observation{values(10, 10)}, false},
		"the same level":              {30, []search.Observation{{Values: []float64{10, 10}, Fidelity: 30}}, true},
	} {
		r, progress := racing(c.level, c.history...)
		if got := r.outrun(progress); (got != "") != c.outrun {
			t.Errorf("%s: %q", name, got)
		}
	}
	r, progress := racing(0, values(10, 10))
	for _, purpose := range []experiment.Purpose{experiment.Baseline, experiment.Confirm} {
		r.live[progress.Experiment].purpose = purpose
		require.Empty(t, r.outrun(progress), "%s has all its samples", purpose)
	}
	r, progress = racing(0, values(10, 10))
	r.task.Spec.Optimization.Racing = nil
	require.Empty(t, r.outrun(progress), "nothing races unless asked to")
	r, progress = racing(0, values(10, 10))
	progress.Experiment = uuid.New()
	require.Empty(t, r.outrun(progress), "what has ended meanwhile")
}

// What a worker tells in another's name, of a stale epoch or of what it does
// not hold is not heard.
func TestProgressMustBeOfAHeldAttempt(t *testing.T) {
	f := newFleet(1, 1)
	id := uuid.New()
	f.leases[id] = lease{worker: "w1", epoch: 3}
	require.True(t, f.holds("w1", id, 3))
	require.False(t, f.holds("w2", id, 3))
	require.False(t, f.holds("w1", id, 2))
	require.False(t, f.holds("w1", uuid.New(), 3))
}

// A plateau counts from the last improvement, at each level for itself, and
// never takes back an improvement for what comes later.
func TestPlateauCounts(t *testing.T) {
	one := []task.Objective{{Metric: "time", Direction: task.Minimize}}
	most := []task.Objective{{Metric: "rate", Direction: task.Maximize}}
	both := append(append([]task.Objective{}, one...), most...)
	ended := func(level float64, v ...float64) search.Observation {
		return search.Observation{Outcome: experiment.OutcomeSuccess, Fidelity: level, Values: v}
	}
	failed := search.Observation{Outcome: experiment.OutcomeFailed}
	for name, c := range map[string]struct {
		objectives []task.Objective
		history    []search.Observation
		since      int
	}{
		"nothing":                     {one, nil, 0},
		"only failures":               {one, []search.Observation{failed, failed}, 2},
		"the first counts":            {one, []search.Observation{failed, ended(0, 10)}, 0},
		"better, by less than asked":  {one, []search.Observation{ended(0, 10), ended(0, 9.95), ended(0, 9.93)}, 2},
		"small steps":                 {one, []search.Observation{ended(0, 10), ended(0, 9.95), ended(0, 9.91), ended(0, 9.87)}, 0},
		"better":                      {one, []search.Observation{ended(0, 10), failed, ended(0, 9)}, 0},
		"more is better":              {most, []search.Observation{ended(0, 10), ended(0, 9), ended(0, 11)}, 0},
		"below zero":                  {one, []search.Observation{ended(0, -10), ended(0, -12), ended(0, -12.05)}, 1},
		"another level for itself":    {one, []search.Observation{ended(10, 5), ended(0, 9), ended(10, 6)}, 1},
		"a new end of the front":      {both, []search.Observation{ended(0, 10, 1), ended(0, 20, 5)}, 0},
		"dominated":                   {both, []search.Observation{ended(0, 10, 5), ended(0, 20, 1)}, 1},
		"not a number":                {one, []search.Observation{ended(0, 10), ended(0, math.NaN())}, 1},
		"stopped early is no success": {one, []search.Observation{ended(0, 10), {Outcome: experiment.OutcomeStoppedEarly, Values: []float64{1}}}, 1},
	} {
		for i := range c.history {
			c.history[i].Number = i + 1
		}
		if got := sinceImprovement(c.history, scoresOf(c.history), c.objectives, 0.01); got != c.since {
			t.Errorf("%s: %d", name, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		var history []search.Observation
		last := 0
		for i, v := range rapid.SliceOf(rapid.Float64Range(1, 100)).Draw(t, "values") {
			o := ended(0, v)
			o.Number = i + 1
			history = append(history, o)
			since := sinceImprovement(history, scoresOf(history), one, 0.05)
			if since != 0 && since != last+1 {
				t.Fatalf("%d after %d", since, last)
			}
			last = since
		}
	})
}

func scoresOf(history []search.Observation) map[int][]float64 {
	scores := map[int][]float64{}
	for _, o := range history {
		if o.Outcome == experiment.OutcomeSuccess {
			scores[o.Number] = o.Values
		}
	}
	return scores
}
