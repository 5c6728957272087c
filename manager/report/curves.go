package report

import (
	"fmt"
	"maps"
	"slices"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/shared/chart"
	"github.com/fleetune/fleetune/shared/terminal"
)

// curves draw what the engine does as the concurrency grows: a plot for every
// metric and scenario, a line for every configuration that was chosen, and the
// SLO as a line across.
func curves(in Input) []chart.Plot {
	numbers := slices.Sorted(maps.Keys(in.Servings))
	metrics := []string{"mean_ttft", "mean_tpot", "mean_e2e_latency", "mean_total_throughput"}
	for _, p := range in.SLO {
		if !slices.Contains(metrics, p.Metric) {
			metrics = append(metrics, p.Metric)
		}
	}
	var plots []chart.Plot
	for _, scenario := range scenarios(in, numbers) {
		for _, metric := range metrics {
			if p, ok := curve(in, numbers, scenario, metric); ok {
				p.ID = fmt.Sprintf("curve-%d", len(plots)+1)
				plots = append(plots, p)
			}
		}
	}
	return plots
}

func scenarios(in Input, numbers []int) []string {
	var list []string
	for _, n := range numbers {
		for _, c := range in.Servings[n].Cells {
			if !slices.Contains(list, c.Scenario) {
				list = append(list, c.Scenario)
			}
		}
	}
	return list
}

func curve(in Input, numbers []int, scenario, metric string) (chart.Plot, bool) {
	p := chart.Plot{Title: metric + ", " + scenario, XLabel: "concurrency", YLabel: metric}
	steps := concurrencies(in, numbers, scenario)
	for _, n := range steps {
		p.Categories = append(p.Categories, fmt.Sprint(n))
	}
	drawn := false
	for i, n := range numbers {
		s := chart.Series{Name: fmt.Sprintf("#%d", n), Class: fmt.Sprintf("line%d", i%6+1), Line: "straight"}
		switch {
		case in.Task.Best != nil && in.Task.Best.Number == n:
			s.Name, s.Class = s.Name+" best", "best"
		case in.Task.Baseline != nil && in.Task.Baseline.Number == n:
			s.Name, s.Class = s.Name+" baseline", "baseline"
		}
		for _, c := range in.Servings[n].Cells {
			m, ok := c.Metrics[metric]
			if c.Scenario != scenario || !ok || !finite(m.Median) {
				continue
			}
			p.YLabel = label(metric, m.Unit)
			s.Dots = append(s.Dots, chart.Dot{X: float64(slices.Index(steps, c.Concurrency)), Y: m.Median,
				Label: fmt.Sprintf("#%d at %d: %s", n, c.Concurrency, terminal.Quantity(m.Median, m.Unit))})
		}
		slices.SortFunc(s.Dots, func(a, b chart.Dot) int { return int(a.X - b.X) })
		if len(s.Dots) > 0 {
			p.Series = append(p.Series, s)
			drawn = true
		}
	}
	for _, term := range in.SLO {
		if term.Metric == metric {
			p.Rules = append(p.Rules, chart.Rule{Y: term.Threshold, Label: "SLO " + terminal.Seconds(term.Threshold), Class: "slo"})
		}
	}
	return p, drawn
}

func concurrencies(in Input, numbers []int, scenario string) []int {
	var list []int
	for _, n := range numbers {
		for _, c := range in.Servings[n].Cells {
			if c.Scenario == scenario && !slices.Contains(list, c.Concurrency) {
				list = append(list, c.Concurrency)
			}
		}
	}
	slices.Sort(list)
	return list
}

// Leaders are the numbers of the experiments whose cells a report draws: the
// baseline, the best, and the best of the others, at most n in all.
func Leaders(t v1.Task, list []v1.Experiment, n int) []int {
	var numbers []int
	add := func(number int) {
		if len(numbers) < n && !slices.Contains(numbers, number) {
			numbers = append(numbers, number)
		}
	}
	if t.Best != nil {
		add(t.Best.Number)
	}
	if t.Baseline != nil {
		add(t.Baseline.Number)
	}
	order := scored(list)
	slices.SortStableFunc(order, func(a, b v1.Experiment) int {
		switch {
		case better(t, *a.Score, *b.Score):
			return -1
		case better(t, *b.Score, *a.Score):
			return 1
		}
		return 0
	})
	for _, e := range order {
		add(e.Number)
	}
	return numbers
}
