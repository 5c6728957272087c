package report

import (
	"fmt"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/shared/chart"
	"github.com/fleetune/fleetune/shared/terminal"
)

// SLO is how the best, and the baseline beside it, keep what is promised.
type SLO struct {
	// Terms are the columns.
	Terms []Term `json:"terms"`
	Rows  []Kept `json:"rows"`
}

// A Term is a metric with its bound.
type Term struct {
	Metric string `json:"metric"`
	Title  string `json:"title"`
	Bound  string `json:"bound"`
}

// Kept is one configuration in one cell: a mark for every term.
type Kept struct {
	Cell  string `json:"cell"`
	Of    string `json:"of"`
	Marks []Mark `json:"marks"`
}

// A Mark is what was measured beside its bound. Used is its share of the bound.
type Mark struct {
	Actual   string  `json:"actual"`
	Margin   string  `json:"margin"`
	Severity string  `json:"severity"`
	Used     float64 `json:"used"`
}

// boundAt is where the bound stands in a bar of barWidth.
const barWidth, boundAt = 100.0, 75.0

// Width is how far the bar of a mark reaches.
func (m Mark) Width() string { return chart.Px(min(max(m.Used, 0)*boundAt, barWidth)) }

// slo is nil where nothing is promised.
func slo(in Input) *SLO {
	best := serving(in)
	if best == nil {
		return nil
	}
	s := &SLO{}
	for _, c := range best.Cells {
		for _, p := range c.Promises {
			if !s.has(p.Metric) {
				s.Terms = append(s.Terms, Term{p.Metric, title(p.Metric), "≤ " + terminal.Seconds(p.Threshold)})
			}
		}
	}
	if len(s.Terms) == 0 {
		return nil
	}
	var base []v1.Cell
	if b := in.Task.Baseline; b != nil && b.Number != in.Task.Best.Number && in.Servings[b.Number] != nil {
		base = in.Servings[b.Number].Cells
	}
	for _, c := range best.Cells {
		s.Rows = append(s.Rows, s.kept(c, "best"))
		for _, other := range base {
			if other.Scenario == c.Scenario && other.Concurrency == c.Concurrency {
				s.Rows = append(s.Rows, s.kept(other, "baseline"))
			}
		}
	}
	return s
}

func (s *SLO) has(metric string) bool {
	for _, t := range s.Terms {
		if t.Metric == metric {
			return true
		}
	}
	return false
}

func (s *SLO) kept(c v1.Cell, of string) Kept {
	row := Kept{Cell: fmt.Sprintf("%s × %d", c.Scenario, c.Concurrency), Of: of}
	for _, t := range s.Terms {
		mark := Mark{Actual: "–", Margin: c.Missing}
		for _, p := range c.Promises {
			if p.Metric == t.Metric {
				mark = Mark{terminal.Seconds(p.Actual), fmt.Sprintf("%+.1f %%", 100*p.Margin), p.Severity, max(1+p.Margin, 0)}
			}
		}
		row.Marks = append(row.Marks, mark)
	}
	return row
}
