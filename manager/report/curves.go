package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/shared/chart"
	"github.com/fleetune/fleetune/shared/terminal"
)

// curves draw what the engine does as the concurrency grows: for every scenario
// throughput against what one user gets, then a plot for every metric, with a
// line for every configuration that was chosen and the SLO as a line across.
func curves(in Input) []chart.Plot {
	numbers := drawingOrder(in)
	metrics := []string{"mean_ttft", "mean_tpot", "mean_e2e_latency", "mean_output_throughput"}
	for _, p := range in.SLO {
		if !slices.Contains(metrics, p.Metric) {
			metrics = append(metrics, p.Metric)
		}
	}
	var plots []chart.Plot
	add := func(p chart.Plot, ok bool) {
		if ok {
			p.ID = fmt.Sprintf("curve-%d", len(plots)+1)
			plots = append(plots, p)
		}
	}
	for _, scenario := range scenarios(in, numbers) {
		add(tradeoff(in, numbers, scenario))
		for _, metric := range metrics {
			add(curve(in, numbers, scenario, metric))
		}
	}
	return plots
}

// drawingOrder puts the others first and the best last, on top.
func drawingOrder(in Input) []int {
	rank := func(n int) int {
		switch {
		case in.Task.Best != nil && in.Task.Best.Number == n:
			return 2
		case in.Task.Baseline != nil && in.Task.Baseline.Number == n:
			return 1
		}
		return 0
	}
	numbers := slices.Sorted(maps.Keys(in.Servings))
	slices.SortStableFunc(numbers, func(a, b int) int { return rank(a) - rank(b) })
	return numbers
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

// lineOf is the empty line of the i-th configuration.
func lineOf(in Input, i, n int) chart.Series {
	s := chart.Series{Name: fmt.Sprintf("#%d", n), Class: fmt.Sprintf("line%d faint", i%6+1), Line: "straight"}
	switch {
	case in.Task.Best != nil && in.Task.Best.Number == n:
		s.Name, s.Class = s.Name+" best", "best"
	case in.Task.Baseline != nil && in.Task.Baseline.Number == n:
		s.Name, s.Class = s.Name+" baseline", "baseline"
	}
	return s
}

// tradeoff draws what the devices give in all against what one user sees, from
// the least concurrency to the greatest.
func tradeoff(in Input, numbers []int, scenario string) (chart.Plot, bool) {
	p := chart.Plot{Title: "Throughput against interactivity, " + scenario, XLabel: "interactivity: 1 / time per output token (tokens/s per user)",
		YLabel: "output (tokens/s per device)", Ground: true, Note: "A dot for every concurrency. Further up and further right is better."}
	for i, n := range numbers {
		s := lineOf(in, i, n)
		cells := slices.Clone(in.Servings[n].Cells)
		slices.SortStableFunc(cells, func(a, b v1.Cell) int { return a.Concurrency - b.Concurrency })
		for _, c := range cells {
			token, okX := c.Metrics["mean_tpot"]
			output, okY := c.Metrics["mean_output_throughput"]
			if c.Scenario != scenario || !okX || !okY || !(token.Median > 1/huge) || !finite(output.Median) {
				continue
			}
			x, y := 1/token.Median, output.Median/float64(max(in.Servings[n].WorldSize, 1))
			s.Dots = append(s.Dots, chart.Dot{X: x, Y: y, Label: fmt.Sprintf("#%d at %d: %s tokens/s per user, %s tokens/s per device", n, c.Concurrency, terminal.Number(x), terminal.Number(y))})
		}
		p.Series = append(p.Series, s)
	}
	p.Series = present(p.Series...)
	return p, len(p.Series) > 0
}

func curve(in Input, numbers []int, scenario, metric string) (chart.Plot, bool) {
	p := chart.Plot{Title: title(metric) + ", " + scenario, XLabel: "concurrency", Ground: true}
	steps := concurrencies(in, numbers, scenario)
	for _, n := range steps {
		p.Categories = append(p.Categories, fmt.Sprint(n))
	}
	var values []float64
	cellUnit := ""
	for _, n := range numbers {
		for _, c := range in.Servings[n].Cells {
			if m, ok := c.Metrics[metric]; ok && c.Scenario == scenario {
				values, cellUnit = append(values, m.Median), m.Unit
			}
		}
	}
	factor, unit := readable(cellUnit, values)
	p.YLabel = cmp.Or(unit, metric)
	for i, n := range numbers {
		s := lineOf(in, i, n)
		for _, c := range in.Servings[n].Cells {
			m, ok := c.Metrics[metric]
			if c.Scenario != scenario || !ok || !finite(m.Median) {
				continue
			}
			s.Dots = append(s.Dots, chart.Dot{X: float64(slices.Index(steps, c.Concurrency)), Y: m.Median * factor,
				Label: fmt.Sprintf("#%d at %d: %s", n, c.Concurrency, terminal.Quantity(m.Median, m.Unit))})
		}
		slices.SortFunc(s.Dots, func(a, b chart.Dot) int { return int(a.X - b.X) })
		p.Series = append(p.Series, s)
	}
	p.Series = present(p.Series...)
	for _, term := range in.SLO {
		if term.Metric == metric {
			p.Rules = append(p.Rules, chart.Rule{Y: term.Threshold * factor, Label: "SLO " + terminal.Seconds(term.Threshold), Class: "slo"})
		}
	}
	return p, len(p.Series) > 0
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
