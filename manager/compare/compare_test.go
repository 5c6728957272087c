package compare_test

import (
	"fmt"
	"testing"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/compare"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/cells"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// serving is a side that measured two cells, its times slow times a second.
func serving(t require.TestingT, slow float64, lines string) compare.Side {
	source := fmt.Sprintf(`task_name: t
base_runtime: vllm
model: org/model
parameters: {max-num-seqs: [16, 64]}
%s
benchmark: {traffic_scenarios: ["D(100,100)"], num_concurrency: [1, 8]}
`, lines)
	spec, problems := task.Decode("task.yaml", []byte(source))
	require.NotNil(t, spec, "%v", problems)
	s := &experiment.Serving{WorldSize: 1, Version: "0.10.0"}
	if spec.Serving.Simulate != nil {
		s.Simulated = spec.Serving.Simulate.GPU
	}
	for i, c := range spec.Serving.Benchmark.Cells() {
		v := slow * float64(i+1)
		s.Cells = append(s.Cells, experiment.Cell{Scenario: c.Scenario, Concurrency: c.Concurrency, Metrics: map[string]experiment.Metric{
			"mean_ttft":       cells.Summarize("s", []float64{v * 0.99, v, v * 1.01}),
			"gpu_utilization": cells.Summarize("%", []float64{50 / slow * 0.99, 50 / slow, 50 / slow * 1.01})}})
	}
	return compare.Side{Of: "t", Task: spec, Number: 1, Point: space.Point{"max-num-seqs": int64(16)}, Serving: s,
		Metrics: cells.Aggregate(s.Cells, 1, 0)}
}

func find(t *testing.T, list []v1.Contrast, name string) v1.Contrast {
	t.Helper()
	for _, c := range list {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no %s", name)
	return v1.Contrast{}
}

func verdicts(c v1.Contrast) (list []string) {
	for _, v := range c.Values {
		list = append(list, v.Verdict)
	}
	return list
}

func TestVerdicts(t *testing.T) {
	base := serving(t, 1, "")
	few := serving(t, 2, "")
	for name, m := range few.Metrics {
		few.Metrics[name] = cells.Summarize(m.Unit, m.Samples[:2])
	}
	d := compare.Sides([]compare.Side{base, serving(t, 0.5, ""), serving(t, 2, ""), serving(t, 1.001, ""), few})
	require.True(t, d.Comparable)
	require.Empty(t, d.Differences)
	ttft := find(t, d.Metrics, "mean_ttft")
	require.Equal(t, []string{"base", "better", "worse", "within_noise", "unproven"}, verdicts(ttft))
	require.Equal(t, "minimize", ttft.Direction)
	require.InDelta(t, 2, *ttft.Values[1].Ratio, 1e-9)
	require.InDelta(t, -0.5, *ttft.Values[1].Change, 1e-9)
	require.Nil(t, ttft.Values[4].Low, "two samples claim nothing")
	// What is neither good nor bad is more or less.
	require.Equal(t, []string{"base", "more", "less", "within_noise", "unproven"}, verdicts(find(t, d.Metrics, "gpu_utilization")))
	require.Len(t, d.Cells, 2)
	require.Equal(t, "better", find(t, d.Cells[1].Metrics, "mean_ttft").Values[1].Verdict)
	require.Equal(t, []string{"mean_ttft", "gpu_utilization"}, []string{d.Metrics[0].Name, d.Metrics[1].Name}, "as the list of metrics has them")
}

// Different sets of cells block what is summed over them; cells that both have
// are compared.
func TestDifferentCellsAreNotComparedInSilence(t *testing.T) {
	a, b := serving(t, 1, ""), serving(t, 0.5, "")
	b.Task.Serving.Benchmark.Concurrency = []int{8, 16}
	b.Serving.Cells[0].Concurrency = 16
	d := compare.Sides([]compare.Side{a, b})
	require.False(t, d.Comparable)
	require.Equal(t, "cells", d.Differences[0].What)
	require.True(t, d.Differences[0].Blocks)
	require.Equal(t, []string{"base", "incomparable"}, verdicts(find(t, d.Metrics, "mean_ttft")))
	require.Nil(t, find(t, d.Metrics, "mean_ttft").Values[1].Ratio)
	require.Len(t, d.Cells, 3)
	require.Equal(t, []string{"", "not among its cells"}, d.Cells[0].Missing)
	require.Equal(t, []string{"base", "better"}, verdicts(find(t, d.Cells[1].Metrics, "mean_ttft")))
	// The order of a set is none of the work.
	b = serving(t, 0.5, "")
	b.Task.Serving.Benchmark.Concurrency = []int{8, 1}
	require.True(t, compare.Sides([]compare.Side{a, b}).Comparable)
}

func TestWhatBlocks(t *testing.T) {
	base := serving(t, 1, "")
	level := 0.5
	for what, change := range map[string]func(*compare.Side){
		"simulated": func(s *compare.Side) { s.Serving.Simulated = "h100-sxm" },
		"benchmark": func(s *compare.Side) { s.Task.Serving.Benchmark.CellRequests++ },
		"fidelity":  func(s *compare.Side) { s.Fidelity = &level },
		"kind":      func(s *compare.Side) { s.Task.Serving, s.Task.Command = nil, &task.Command{} },
	} {
		other := serving(t, 0.5, "")
		change(&other)
		d := compare.Sides([]compare.Side{base, other})
		require.False(t, d.Comparable, what)
		require.Contains(t, whats(d, true), what)
		require.Equal(t, "incomparable", find(t, d.Metrics, "mean_ttft").Values[1].Verdict, what)
		if len(d.Cells) > 0 {
			require.Equal(t, "incomparable", find(t, d.Cells[0].Metrics, "mean_ttft").Values[1].Verdict, what)
		}
	}
	for what, change := range map[string]func(*compare.Side){
		"model":      func(s *compare.Side) { s.Task.Serving.Models[0].ID = "org/other" },
		"version":    func(s *compare.Side) { s.Serving.Version = "0.11.0" },
		"image":      func(s *compare.Side) { s.Serving.ImageDigest = "sha256:1" },
		"world_size": func(s *compare.Side) { s.Serving.WorldSize = 2 },
		"devices":    func(s *compare.Side) { s.Devices = "1 × Other" },
		"worker":     func(s *compare.Side) { s.Worker = "node-b" },
		"engine":     func(s *compare.Side) { s.Task.Serving.Engine = "sglang" },
	} {
		other := serving(t, 0.5, "")
		change(&other)
		d := compare.Sides([]compare.Side{base, other})
		require.True(t, d.Comparable, what)
		require.Equal(t, []string{what}, whats(d, false))
	}
}

func whats(d v1.Comparison, blocking bool) (list []string) {
	for _, difference := range d.Differences {
		if difference.Blocks == blocking {
			list = append(list, difference.What)
		}
	}
	return list
}

func TestParametersAreAligned(t *testing.T) {
	a, b := serving(t, 1, ""), serving(t, 1, "")
	b.Point = space.Point{"max-num-seqs": int64(64), "extra": "x"}
	d := compare.Sides([]compare.Side{a, b})
	require.Equal(t, []v1.Aligned{{Name: "max-num-seqs", Values: []any{int64(16), int64(64)}}, {Name: "extra", Values: []any{nil, "x"}}}, d.Parameters)
}

// Whatever is measured, what is better one way is worse the other way, and
// nothing is better than itself.
func TestComparingBackwardsTurnsTheVerdict(t *testing.T) {
	turned := map[string]string{"better": "worse", "worse": "better", "more": "less", "less": "more", "within_noise": "within_noise", "unproven": "unproven"}
	rapid.Check(t, func(t *rapid.T) {
		a := serving(t, rapid.Float64Range(0.1, 10).Draw(t, "a"), "")
		b := serving(t, rapid.Float64Range(0.1, 10).Draw(t, "b"), "")
		there, back := compare.Sides([]compare.Side{a, b}), compare.Sides([]compare.Side{b, a})
		for i, m := range there.Metrics {
			if got, want := back.Metrics[i].Values[1].Verdict, turned[m.Values[1].Verdict]; got != want {
				t.Fatalf("%s: %s there, %s back", m.Name, m.Values[1].Verdict, got)
			}
		}
		for _, m := range compare.Sides([]compare.Side{a, a}).Metrics {
			if v := m.Values[1].Verdict; v != "within_noise" {
				t.Fatalf("%s of itself: %s", m.Name, v)
			}
		}
	})
}
