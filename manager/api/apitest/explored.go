package apitest

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/proto/wire"
)

// Explored stores a task named name whose first n points of twelve are
// measured. Its time halves with each tile and falls by a tenth with each
// unroll.
func (s *Stand) Explored(t testing.TB, name string, n int) store.Task {
	t.Helper()
	return s.explore(t, Source(name), n)
}

// Traded is Explored with a second objective, memory, that doubles with each
// tile and is better when it is less.
func (s *Stand) Traded(t testing.TB, name string, n int) store.Task {
	t.Helper()
	return s.explore(t, strings.Replace(Source(name), "objective: minimize_time_ms",
		"objectives: [minimize_time_ms, minimize_memory_mib]", 1), n)
}

func (s *Stand) explore(t testing.TB, source string, n int) store.Task {
	t.Helper()
	ctx := context.Background()
	spec, problems := task.Decode("task.yaml", []byte(source))
	if spec == nil {
		t.Fatal(problems)
	}
	created, err := s.Store.CreateTask(ctx, store.NewTask{Spec: spec, Source: source, Planned: 12})
	if err != nil {
		t.Fatal(err)
	}
	var points []space.Point
	for _, tile := range []int64{8, 16, 32, 64} {
		for _, unroll := range []int64{1, 2, 4} {
			points = append(points, Point(tile, unroll))
		}
	}
	for _, e := range s.Queue(t, created, 1, points[:n]...) {
		s.explored(t, created, e)
	}
	s.Date(t, created)
	return s.reread(t, created)
}

// explored claims and reports one experiment.
func (s *Stand) explored(t testing.TB, of store.Task, e store.NewExperiment) {
	t.Helper()
	tile, unroll := float64(e.Parameters["tile"].(int64)), float64(e.Parameters["unroll"].(int64))
	values := map[string]experiment.Metric{
		"time_ms":    single("ms", 800/tile*math.Pow(0.9, math.Log2(unroll))),
		"memory_mib": single("MiB", tile*16),
	}
	g := s.Claim(t, e.ID, "node-a", "cpu-0")
	result := store.Result{
		Report: wire.Report{
			Version: wire.Version, Worker: "node-a", Experiment: g.Experiment, Task: g.Task, Epoch: g.Epoch, Attempt: g.Attempt,
			Devices: []string{"cpu-0"}, StartedAt: At(1), FinishedAt: At(2), Outcome: experiment.OutcomeSuccess,
			Measurement: &experiment.Measurement{Metrics: values},
		},
	}
	for _, o := range of.Spec.Optimization.Objectives {
		result.Scores = append(result.Scores, values[o.Metric].Median)
	}
	if _, err := s.Store.CommitResults(context.Background(), []store.Result{result}, 1); err != nil {
		t.Fatal(err)
	}
}

func single(unit string, v float64) experiment.Metric {
	return experiment.Metric{Unit: unit, Samples: []float64{v}, Median: v}
}
