package score

import (
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
)

// Severity says how badly a promise is missed.
type Severity string

// The severities: kept, missed by at most a fifth, by more, and beyond a hard
// limit.
const (
	Kept   Severity = "kept"
	Minor  Severity = "minor"
	Severe Severity = "severe"
	Broken Severity = "broken"
)

// severeAbove is the share of the threshold above which a miss is severe.
const severeAbove = 0.2

// A Promise is one term of the SLO in one cell.
type Promise struct {
	Scenario    string  `json:"scenario"`
	Concurrency int     `json:"concurrency"`
	Metric      string  `json:"metric"`
	Threshold   float64 `json:"threshold"`
	// Actual value, in the threshold's unit: seconds.
	Actual float64 `json:"actual"`
	// Margin above the threshold as a share of it; negative where it is kept.
	Margin   float64  `json:"margin"`
	Severity Severity `json:"severity"`
}

// Compliance compares every cell with every promise; cells and metrics that
// were not measured are left out.
func Compliance(slo *task.SLO, cells []experiment.Cell) []Promise {
	if slo == nil {
		return nil
	}
	var list []Promise
	for _, c := range cells {
		for _, term := range slo.Terms {
			m, ok := c.Metrics[term.Metric]
			if !ok {
				continue
			}
			p := Promise{Scenario: c.Scenario, Concurrency: c.Concurrency, Metric: term.Metric, Threshold: term.Threshold,
				Actual: m.Median, Margin: violation(term, m.Median), Severity: Kept}
			switch {
			case broken(term, p.Margin):
				p.Severity = Broken
			case p.Margin > severeAbove:
				p.Severity = Severe
			case p.Margin > 0:
				p.Severity = Minor
			}
			list = append(list, p)
		}
	}
	return list
}
