package report

import (
	"fmt"
	"maps"
	"math"
	"slices"

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
	for _, e := range order {
		l := Line{Number: e.Number, Class: fmt.Sprintf("shade%d", shade(*e.Score, order)), Label: fmt.Sprintf("#%d: %s", e.Number, terminal.Number(*e.Score))}
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
		a, at := axisOf(name, values, len(p.Axes) < len(names))
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
	p.Worst, p.Best = terminal.Number(*order[len(order)-1].Score), terminal.Number(*order[0].Score)
	return p
}

// shades is how many steps the colour of a score has.
const shades = 8

// shade is the step of a score between the worst of an ordered list, 0, and
// the best; by proportion where they are far apart.
func shade(score float64, order []v1.Experiment) int {
	worst, best := *order[len(order)-1].Score, *order[0].Score
	if least := min(worst, best); least > 1/huge && max(worst, best) > steep*least {
		worst, best, score = math.Log(worst), math.Log(best), math.Log(score)
	}
	at := share(score, min(worst, best), max(worst, best))
	if worst > best {
		at = 1 - at
	}
	return min(int(at*shades), shades-1)
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
