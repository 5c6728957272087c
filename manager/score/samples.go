package score

import (
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
)

// Samples are what one side of a confirmation is compared by: the samples of the
// first objective, each with the penalty for the promises that were missed while
// it was taken. Without promises, and where the scoring is legacy, they are the
// measured ones.
func Samples(t *task.Task, metrics map[string]experiment.Metric, cells []experiment.Cell) []float64 {
	o := t.Optimization.Objectives[0]
	measured := metrics[o.Metric].Samples
	if t.Serving == nil || t.Serving.SLO == nil || t.Serving.Scoring == task.ScoringLegacy {
		return measured
	}
	scored := make([]float64, len(measured))
	for i, value := range measured {
		scored[i] = worsen(o.Direction, value, penalty(t.Serving.SLO, Margins(t.Serving.SLO, at(cells, i))))
	}
	return scored
}

// at are the cells as one pass over them measured them.
func at(cells []experiment.Cell, pass int) []experiment.Cell {
	out := make([]experiment.Cell, len(cells))
	for i, c := range cells {
		out[i] = c
		out[i].Metrics = make(map[string]experiment.Metric, len(c.Metrics))
		for name, m := range c.Metrics {
			if pass < len(m.Samples) {
				m.Median = m.Samples[pass]
			}
			out[i].Metrics[name] = m
		}
	}
	return out
}
