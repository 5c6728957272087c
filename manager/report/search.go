package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/chart"
	"github.com/fleetune/fleetune/shared/terminal"
)

// search draws how the search went, and what several objectives traded.
func search(in Input) []*chart.Plot {
	list := []*chart.Plot{}
	for _, p := range []*chart.Plot{history(in), front(in), volume(in)} {
		if p != nil {
			list = append(list, p)
		}
	}
	return list
}

// missed says that an experiment's score is worse than what was measured, for
// promises it missed.
func missed(in Input, e v1.Experiment) bool {
	m, ok := e.Metrics[metricName(in.Task)]
	return in.Insight.Penalised && ok && e.Score != nil && v1.Penalised(*e.Score, m)
}

// history draws every score in order, and the incumbent.
func history(in Input) *chart.Plot {
	list := scored(in.Experiments)
	if len(list) == 0 {
		return nil
	}
	metric := metricName(in.Task)
	u := unit(list, metric)
	kept := chart.Series{Name: "experiments", Class: "other"}
	late := chart.Series{Name: "misses the SLO", Class: "missed"}
	incumbent := chart.Series{Name: "incumbent", Class: "best", Line: "step"}
	least, most := math.Inf(1), math.Inf(-1)
	for _, e := range list {
		dot := chart.Dot{X: float64(e.Number), Y: *e.Score, Label: fmt.Sprintf("#%d: %s", e.Number, terminal.Quantity(*e.Score, u))}
		if missed(in, e) {
			dot.Label += ", measured " + terminal.Quantity(e.Metrics[metric].Median, u)
			late.Dots = append(late.Dots, dot)
		} else {
			kept.Dots = append(kept.Dots, dot)
		}
		least, most = min(least, *e.Score), max(most, *e.Score)
		if n := len(incumbent.Dots); n == 0 || better(in.Task, *e.Score, incumbent.Dots[n-1].Y) {
			incumbent.Dots = append(incumbent.Dots, dot)
		}
	}
	if last := incumbent.Dots[len(incumbent.Dots)-1]; last.X < float64(list[len(list)-1].Number) {
		// The line goes on to the end; there is nothing to point at.
		incumbent.Dots = append(incumbent.Dots, chart.Dot{X: float64(list[len(list)-1].Number), Y: last.Y})
	}
	p := &chart.Plot{ID: "history", Title: "Score by experiment", XLabel: "experiment", YLabel: label(axisName(in, metric), u),
		LogY: least > 1/huge && most > steep*least, Series: present(kept, late, incumbent)}
	if b := in.Task.Baseline; b != nil && b.Score != nil && finite(*b.Score) && (!p.LogY || *b.Score > 0) {
		p.Rules = append(p.Rules, chart.Rule{Y: *b.Score, Label: "baseline", Class: "baseline"})
	}
	failed := chart.Series{Name: "failed", Class: "failed"}
	for _, e := range in.Experiments {
		if e.Status == experiment.Failed && e.Purpose != experiment.Confirm {
			failed.Dots = append(failed.Dots, chart.Dot{X: float64(e.Number), Y: least, Label: fmt.Sprintf("#%d: %s", e.Number, e.Outcome)})
		}
	}
	if len(failed.Dots) > 0 {
		p.Series = append(p.Series, failed)
		p.Note = "Failed experiments stand at the least score, for want of one."
	}
	if len(late.Dots) > 0 {
		p.Note = "Where the SLO is missed the score is worse than what was measured. " + p.Note
	}
	return p
}

// present are the series that have dots.
func present(list ...chart.Series) []chart.Series {
	return slices.DeleteFunc(list, func(s chart.Series) bool { return len(s.Dots) == 0 })
}

func label(metric, unit string) string {
	if unit == "" {
		return metric
	}
	return metric + " (" + unit + ")"
}

// front draws two objectives against each other: the task's first two, or
// throughput and latency of an engine.
func front(in Input) *chart.Plot {
	list := scored(in.Experiments)
	o := in.Task.Objectives
	x, y := "mean_e2e_latency", "mean_total_throughput_per_gpu"
	dx, dy := task.Minimize, task.Maximize
	if len(o) > 1 {
		x, y, dx, dy = o[0].Metric, o[1].Metric, o[0].Direction, o[1].Direction
	} else if in.Servings == nil {
		return nil
	}
	kept := chart.Series{Name: "experiments", Class: "other"}
	late := chart.Series{Name: "misses the SLO", Class: "missed"}
	base := chart.Series{Name: "baseline", Class: "baseline large"}
	best := chart.Series{Name: "best", Class: "best large"}
	scaleX, unitX := readable(unit(list, x), medians(list, x))
	for _, e := range list {
		mx, okX := e.Metrics[x]
		my, okY := e.Metrics[y]
		if !okX || !okY || !finite(mx.Median*scaleX) || !finite(my.Median) {
			continue
		}
		dot := chart.Dot{X: mx.Median * scaleX, Y: my.Median, Label: fmt.Sprintf("#%d: %s, %s", e.Number,
			terminal.Quantity(mx.Median, mx.Unit), terminal.Quantity(my.Median, my.Unit))}
		into := &kept
		if missed(in, e) {
			into = &late
		}
		into.Dots = append(into.Dots, dot)
		switch {
		case in.Task.Best != nil && in.Task.Best.Number == e.Number:
			best.Dots = append(best.Dots, dot)
		case in.Task.Baseline != nil && in.Task.Baseline.Number == e.Number:
			base.Dots = append(base.Dots, dot)
		}
	}
	all := append(slices.Clone(kept.Dots), late.Dots...)
	if len(all) < 2 {
		return nil
	}
	heading := "The front: none beats these in both"
	if len(late.Dots) > 0 && len(kept.Dots) > 0 {
		heading, all = "The front: none that keeps the SLO beats these in both", kept.Dots
	}
	edge := chart.Series{Name: "front", Class: "front", Line: "step", Dots: undominated(all, dx, dy)}
	return &chart.Plot{ID: "front", Title: heading, XLabel: label(title(x), unitX), YLabel: label(title(y), unit(list, y)),
		Note:   fmt.Sprintf("Of %s %s, of %s %s.", x, direct(dx), y, direct(dy)),
		Series: present(kept, late, edge, base, best)}
}

func medians(list []v1.Experiment, metric string) []float64 {
	var values []float64
	for _, e := range list {
		if m, ok := e.Metrics[metric]; ok {
			values = append(values, m.Median)
		}
	}
	return values
}

// readable is the factor and the unit in which figures are drawn: times below
// a second stand in milliseconds.
func readable(unit string, values []float64) (float64, string) {
	if unit != "s" || len(values) == 0 || slices.ContainsFunc(values, func(v float64) bool { return math.Abs(v) >= 2 }) {
		return 1, unit
	}
	return 1000, "ms"
}

// undominated are the dots that no other beats in both, the best by x first.
func undominated(dots []chart.Dot, dx, dy task.Direction) []chart.Dot {
	sign := func(d task.Direction) float64 {
		if d == task.Maximize {
			return -1
		}
		return 1
	}
	sx, sy := sign(dx), sign(dy)
	order := slices.Clone(dots)
	slices.SortStableFunc(order, func(a, b chart.Dot) int {
		return cmp.Or(cmp.Compare(sx*a.X, sx*b.X), cmp.Compare(sy*a.Y, sy*b.Y))
	})
	var out []chart.Dot
	for _, d := range order {
		if len(out) == 0 || sy*d.Y < sy*out[len(out)-1].Y {
			out = append(out, d)
		}
	}
	return out
}

// volume draws how the front grew; nil with a single objective.
func volume(in Input) *chart.Plot {
	s := chart.Series{Name: "hypervolume", Class: "best", Line: "step"}
	for _, p := range in.Insight.Progress {
		if p.Hypervolume != nil && finite(*p.Hypervolume) {
			s.Dots = append(s.Dots, chart.Dot{X: float64(p.Number), Y: *p.Hypervolume, Label: fmt.Sprintf("#%d: %s", p.Number, chart.Number(*p.Hypervolume))})
		}
	}
	if len(s.Dots) < 2 {
		return nil
	}
	slices.SortFunc(s.Dots, func(a, b chart.Dot) int { return cmp.Compare(a.X, b.X) })
	return &chart.Plot{ID: "volume", Title: "How the front grew", XLabel: "experiment", YLabel: "hypervolume", Ground: true, Series: []chart.Series{s},
		Note: "Measured between the front and the worst value of each objective."}
}
