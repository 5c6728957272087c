package task

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A level changes the benchmark of one experiment, never that of the task.
func TestServingAtALevel(t *testing.T) {
	of := func(name string, levels ...float64) *Task {
		return &Task{Serving: &Serving{Benchmark: Benchmark{Scenarios: []string{"D(1,1)"}, Concurrency: []int{1, 2, 4, 8, 16},
			CellRequests: 500, CellTime: Duration(time.Minute)}}, Optimization: Optimization{Fidelity: &Fidelity{Name: name, Levels: levels, Eta: 3}}}
	}
	requests := of(FidelityRequests, 50, 500)
	require.Equal(t, 50, requests.ServingAt(50).Benchmark.CellRequests)
	require.Equal(t, 500, requests.ServingAt(0).Benchmark.CellRequests)
	require.Equal(t, 500, requests.Serving.Benchmark.CellRequests)
	require.Equal(t, 2500*time.Millisecond, of(FidelityDuration, 2.5, 60).ServingAt(2.5).Benchmark.CellTime.D())
	concurrency := of(FidelityConcurrency, 1, 2, 3, 5)
	for level, want := range map[float64][]int{1: {16}, 2: {1, 16}, 3: {1, 4, 16}, 5: {1, 2, 4, 8, 16}} {
		require.Equal(t, want, concurrency.ServingAt(level).Benchmark.Concurrency)
	}
	require.Len(t, concurrency.Serving.Benchmark.Concurrency, 5)
	requests.Optimization.Fidelity = nil
	require.Same(t, requests.Serving, requests.ServingAt(50))
}

// A command's point carries the level under its name, the full one unless it
// is measured at another; nothing else does.
func TestPointsAtALevel(t *testing.T) {
	p := map[string]any{"tile": int64(8)}
	c := &Task{Command: &Command{}, Optimization: Optimization{Fidelity: &Fidelity{Name: "size", Levels: []float64{0.5, 64}}}}
	require.Equal(t, int64(64), c.At(p, 0)["size"])
	require.Equal(t, 0.5, c.At(p, 0.5)["size"])
	require.Len(t, p, 1)
	require.Nil(t, c.At(nil, 0))
	require.Len(t, (&Task{Serving: &Serving{}, Optimization: c.Optimization}).At(p, 0.5), 1)
	require.Len(t, (&Task{Command: &Command{}}).At(p, 0), 1)
}
