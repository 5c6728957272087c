package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/chart"
	"github.com/fleetune/fleetune/shared/terminal"
)

// steep is how many times the least score the greatest is, from which on an
// axis is logarithmic.
const steep = 50

// scored lists the full measurements of the search that have a score, by
// number.
func scored(list []v1.Experiment) []v1.Experiment {
	var out []v1.Experiment
	for _, e := range list {
		if e.Score != nil && finite(*e.Score) && e.Status == experiment.Success && e.Purpose != experiment.Confirm && e.Fidelity == nil {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b v1.Experiment) int { return a.Number - b.Number })
	return out
}

// better says whether a beats b by the first objective.
func better(t v1.Task, a, b float64) bool {
	if len(t.Objectives) > 0 && t.Objectives[0].Direction == task.Maximize {
		return a > b
	}
	return a < b
}

// unit is that of a metric in any of the experiments.
func unit(list []v1.Experiment, metric string) string {
	for _, e := range list {
		if m, ok := e.Metrics[metric]; ok && m.Unit != "" {
			return m.Unit
		}
	}
	return ""
}

// history draws every score in order, and the incumbent.
func history(in Input) *chart.Plot {
	list := scored(in.Experiments)
	if len(list) == 0 {
		return nil
	}
	metric := metricName(in.Task)
	u := unit(list, metric)
	all := chart.Series{Name: "experiments", Class: "other"}
	incumbent := chart.Series{Name: "incumbent", Class: "best", Line: "step"}
	least, most := math.Inf(1), math.Inf(-1)
	for _, e := range list {
		dot := chart.Dot{X: float64(e.Number), Y: *e.Score, Label: fmt.Sprintf("#%d: %s", e.Number, terminal.Quantity(*e.Score, u))}
		all.Dots = append(all.Dots, dot)
		least, most = min(least, *e.Score), max(most, *e.Score)
		if n := len(incumbent.Dots); n == 0 || better(in.Task, *e.Score, incumbent.Dots[n-1].Y) {
			incumbent.Dots = append(incumbent.Dots, dot)
		}
	}
	if last := incumbent.Dots[len(incumbent.Dots)-1]; last.X < float64(list[len(list)-1].Number) {
		incumbent.Dots = append(incumbent.Dots, chart.Dot{X: float64(list[len(list)-1].Number), Y: last.Y})
	}
	p := &chart.Plot{ID: "history", Title: "How the search went", XLabel: "experiment", YLabel: label(axisName(in, metric), u),
		LogY: least > 1/huge && most > steep*least, Series: []chart.Series{all, incumbent}}
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
		p.Note = strings.TrimSpace(p.Note + " Failed experiments stand at the least score, for want of one.")
	}
	return p
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
	var dots []chart.Dot
	for _, e := range list {
		mx, okX := e.Metrics[x]
		my, okY := e.Metrics[y]
		if okX && okY && finite(mx.Median) && finite(my.Median) {
			dots = append(dots, chart.Dot{X: mx.Median, Y: my.Median, Label: fmt.Sprintf("#%d: %s, %s", e.Number,
				terminal.Quantity(mx.Median, mx.Unit), terminal.Quantity(my.Median, my.Unit))})
		}
	}
	if len(dots) < 2 {
		return nil
	}
	best := undominated(dots, dx, dy)
	return &chart.Plot{ID: "front", Title: "The front: none beats these in both", XLabel: label(x, unit(list, x)), YLabel: label(y, unit(list, y)),
		Note:   fmt.Sprintf("Of %s %s, of %s %s.", x, direct(dx), y, direct(dy)),
		Series: []chart.Series{{Name: "experiments", Class: "other", Dots: dots}, {Name: "front", Class: "front", Line: "straight", Dots: best}}}
}

func direct(d task.Direction) string {
	if d == task.Maximize {
		return "more is better"
	}
	return "less is better"
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

// most lines and axes of a parallel chart that one can read.
const (
	mostLines = 300
	mostAxes  = 9
)

// parallel draws every configuration as a line across its parameters.
func parallel(in Input) *Parallel {
	list := scored(in.Experiments)
	if len(list) < 2 {
		return nil
	}
	order := slices.Clone(list)
	slices.SortStableFunc(order, func(a, b v1.Experiment) int {
		switch {
		case better(in.Task, *a.Score, *b.Score):
			return -1
		case better(in.Task, *b.Score, *a.Score):
			return 1
		}
		return a.Number - b.Number
	})
	p := &Parallel{}
	if len(order) > mostLines {
		p.Note = fmt.Sprintf("The best %d of %d experiments.", mostLines, len(order))
		order = order[:mostLines]
	}
	names := varying(in.Task.Parameters, order)
	if len(names) > mostAxes && len(in.Insight.Parameters) > 0 {
		names = nil
		for _, i := range in.Insight.Parameters[:min(mostAxes, len(in.Insight.Parameters))] {
			names = append(names, i.Name)
		}
		p.Note += " The parameters that matter most."
	}
	names = names[:min(len(names), mostAxes)]
	for i, e := range order {
		l := Line{Number: e.Number, Class: "other", Label: fmt.Sprintf("#%d: %s", e.Number, terminal.Number(*e.Score))}
		if i < len(order)/10 {
			l.Class = "good"
		}
		if b := in.Task.Baseline; b != nil && b.Number == e.Number {
			l.Class = "baseline"
		}
		if b := in.Task.Best; b != nil && b.Number == e.Number {
			l.Class = "best"
		}
		p.Lines = append(p.Lines, l)
	}
	axis := func(name string, of func(v1.Experiment) any) {
		values := make([]any, len(order))
		for i, e := range order {
			values[i] = of(e)
		}
		a, at := axisOf(name, values)
		p.Axes = append(p.Axes, a)
		for i := range p.Lines {
			p.Lines[i].At = append(p.Lines[i].At, at[i])
		}
	}
	for _, name := range names {
		axis(name, func(e v1.Experiment) any { return e.Parameters[name] })
	}
	axis(axisName(in, metricName(in.Task)), func(e v1.Experiment) any { return *e.Score })
	slices.Reverse(p.Lines) // the best are drawn last, on top
	return p
}

// varying leaves out parameters that have one value in all of the experiments.
func varying(names []string, list []v1.Experiment) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		first := terminal.Value(list[0].Parameters[name])
		return !slices.ContainsFunc(list, func(e v1.Experiment) bool { return terminal.Value(e.Parameters[name]) != first })
	})
}

// axisName is what an axis of scores is called: the objective's metric, or the
// score where missed promises make it another number.
func axisName(in Input, metric string) string {
	if in.Insight.Penalised {
		return "score"
	}
	return metric
}

// effects draw what each parameter does, as predicted.
func effects(in Input) []Effect {
	list := []Effect{}
	for i, p := range in.Insight.Parameters {
		e := Effect{Name: p.Name, Importance: p.Importance}
		if i < mostAxes {
			plot := &chart.Plot{ID: fmt.Sprintf("effect-%d", i+1), Title: p.Name, XLabel: p.Name, YLabel: label(axisName(in, in.Insight.Objective), in.Insight.Unit)}
			s := chart.Series{Name: "predicted " + in.Insight.Objective, Class: "best", Line: "straight"}
			for k, l := range p.Effect {
				plot.Categories = append(plot.Categories, terminal.Value(l.Value))
				if !finite(l.Mean) {
					continue
				}
				s.Dots = append(s.Dots, chart.Dot{X: float64(k), Y: l.Mean, Label: fmt.Sprintf("%s: %s, %d measured",
					terminal.Value(l.Value), terminal.Quantity(l.Mean, in.Insight.Unit), l.Measured)})
			}
			plot.Series = []chart.Series{s}
			e.Plot = plot
		}
		list = append(list, e)
	}
	return list
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
