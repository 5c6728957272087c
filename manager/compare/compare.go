// Package compare puts experiments side by side: parameters and metrics
// aligned, every difference told with what is known of its certainty, cell by
// cell. It never compares in silence what was measured on different work.
package compare

import (
	"maps"
	"reflect"
	"slices"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/score"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// A Side is one experiment with what it measured.
type Side struct {
	// Of is how it was asked for.
	Of      string
	Task    *task.Task
	Number  int
	Purpose experiment.Purpose
	Outcome string
	Score   *float64
	Point   space.Point
	// Metrics with their samples, as far as those are kept.
	Metrics map[string]experiment.Metric
	// Serving is nil for what started no engine, or kept nothing.
	Serving *experiment.Serving
	Worker  string
	// Devices says how many of which model.
	Devices string
	// Fidelity is the level of what is less than a full measurement; nil for
	// what is one.
	Fidelity *float64
}

// simulated is the GPU that a side's figures are simulated for.
func (s *Side) simulated() string {
	switch {
	case s.Serving != nil:
		return s.Serving.Simulated
	case s.Task != nil && s.Task.Serving != nil && s.Task.Serving.Simulate != nil:
		return s.Task.Serving.Simulate.GPU
	}
	return ""
}

// Sides compares two sides or more with the first.
func Sides(sides []Side) v1.Comparison {
	d := v1.Comparison{Sides: []v1.Side{}, Differences: Differences(sides), Parameters: parameters(sides),
		Metrics: []v1.Contrast{}, Cells: []v1.CellContrast{}, Comparable: true}
	for _, s := range sides {
		d.Sides = append(d.Sides, v1.Side{Of: s.Of, Task: s.Task.Name, Number: s.Number, Purpose: string(s.Purpose), Outcome: s.Outcome,
			Simulated: s.simulated(), Score: s.Score, Parameters: s.Point, Worker: s.Worker, Devices: s.Devices})
	}
	cellsToo := true
	for _, difference := range d.Differences {
		if difference.Blocks {
			d.Comparable = false
			// Sets of cells may differ and share some; those are alike.
			cellsToo = cellsToo && difference.What == "cells"
		}
	}
	directions := directions(sides)
	all := make([]map[string]experiment.Metric, len(sides))
	for i, s := range sides {
		all[i] = s.Metrics
	}
	d.Metrics = contrasts(all, directions, order(sides), d.Comparable)
	d.Cells = cells(sides, directions, cellsToo)
	return d
}

// parameters aligns the points, in the order of the task files.
func parameters(sides []Side) []v1.Aligned {
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, s := range sides {
		for _, p := range s.Task.Space.Parameters {
			add(p.Name)
		}
		for _, name := range slices.Sorted(maps.Keys(s.Point)) {
			add(name)
		}
	}
	list := []v1.Aligned{}
	for _, name := range names {
		a := v1.Aligned{Name: name, Same: true}
		for _, s := range sides {
			a.Values = append(a.Values, s.Point[name])
			a.Same = a.Same && reflect.DeepEqual(s.Point[name], sides[0].Point[name])
		}
		list = append(list, a)
	}
	return list
}

// order is how metrics stand: those that any side is judged by first, then an
// engine's as their list has them.
func order(sides []Side) []string {
	var names []string
	for _, s := range sides {
		for _, o := range s.Task.Optimization.Objectives {
			names = append(names, o.Metric)
		}
	}
	for _, m := range task.ServingMetrics() {
		names = append(names, m.Name)
	}
	return names
}

// directions says which way metrics are better; those that are absent have
// none.
func directions(sides []Side) map[string]task.Direction {
	known := map[string]task.Direction{}
	for _, s := range sides {
		if s.Task.Serving != nil {
			for _, m := range task.ServingMetrics() {
				known[m.Name] = m.Direction
			}
		}
	}
	// More use or power is good or bad for a reason that a table cannot know.
	for _, name := range []string{"gpu_utilization", "gpu_memory_used", "mean_power"} {
		delete(known, name)
	}
	for _, s := range sides {
		for _, o := range s.Task.Optimization.Objectives {
			known[o.Metric] = o.Direction
		}
	}
	return known
}

// contrasts aligns metrics, some of them first.
func contrasts(sides []map[string]experiment.Metric, directions map[string]task.Direction, first []string, allowed bool) []v1.Contrast {
	have := map[string]bool{}
	for _, metrics := range sides {
		for name := range metrics {
			have[name] = true
		}
	}
	var names []string
	for _, name := range slices.Concat(first, slices.Sorted(maps.Keys(have))) {
		if have[name] && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	list := []v1.Contrast{}
	for _, name := range names {
		c := v1.Contrast{Name: name, Direction: string(directions[name])}
		base, ok := sides[0][name]
		for i, metrics := range sides {
			m, there := metrics[name]
			if there && c.Unit == "" {
				c.Unit = m.Unit
			}
			v := compared(m, there)
			switch {
			case !there:
			case i == 0:
				v.Verdict = "base"
			case !allowed || ok && m.Unit != base.Unit:
				v.Verdict = "incomparable"
			case ok:
				against(&v, directions[name], m, base)
			}
			c.Values = append(c.Values, v)
		}
		list = append(list, c)
	}
	return list
}

func compared(m experiment.Metric, there bool) v1.Compared {
	if !there {
		return v1.Compared{Verdict: "missing"}
	}
	median := m.Median
	return v1.Compared{Median: &median, Spread: m.Spread, Count: len(m.Samples), Verdict: "unproven"}
}

// leastSamples is how many a side needs for a claim.
const leastSamples = 3

// against tells a value against the first side's.
func against(v *v1.Compared, direction task.Direction, m, base experiment.Metric) {
	if base.Median != 0 {
		change := m.Median/base.Median - 1
		v.Change = &change
	}
	better, worse := "better", "worse"
	if direction == "" {
		direction, better, worse = task.Maximize, "more", "less"
	}
	c, ok := score.Compare(direction, m.Samples, base.Samples)
	if !ok {
		if m.Median == base.Median && len(m.Samples) >= leastSamples && len(base.Samples) >= leastSamples && m.Spread == 0 && base.Spread == 0 {
			v.Verdict = "within_noise"
		}
		return
	}
	v.Ratio = &c.Ratio
	if len(m.Samples) < leastSamples || len(base.Samples) < leastSamples {
		return // resampling so few would claim certainty where there is none
	}
	v.Low, v.High = &c.Low, &c.High
	switch {
	case c.Low > 1:
		v.Verdict = better
	case c.High < 1:
		v.Verdict = worse
	default:
		v.Verdict = "within_noise"
	}
}

// cells aligns what was measured below the sums.
func cells(sides []Side, directions map[string]task.Direction, allowed bool) []v1.CellContrast {
	var places []task.Cell
	by := make([]map[task.Cell]experiment.Cell, len(sides))
	for i, s := range sides {
		by[i] = map[task.Cell]experiment.Cell{}
		if s.Serving == nil {
			continue
		}
		for _, c := range s.Serving.Cells {
			at := task.Cell{Scenario: c.Scenario, Concurrency: c.Concurrency}
			if !slices.Contains(places, at) {
				places = append(places, at)
			}
			by[i][at] = c
		}
	}
	list := []v1.CellContrast{}
	for _, at := range places {
		d := v1.CellContrast{Scenario: at.Scenario, Concurrency: at.Concurrency}
		all := make([]map[string]experiment.Metric, len(sides))
		for i := range sides {
			c, there := by[i][at]
			reason := c.Missing
			if !there {
				reason = "not among its cells"
			}
			d.Missing, all[i] = append(d.Missing, reason), c.Metrics
		}
		d.Metrics = contrasts(all, directions, order(sides), allowed)
		list = append(list, d)
	}
	return list
}
