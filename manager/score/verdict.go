package score

import (
	"fmt"
	"math"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
)

// A Verdict is what a task makes of a measurement.
type Verdict struct {
	// Outcome is success, infeasible (a hard limit is broken) or no_metric.
	Outcome experiment.Outcome
	// Scores, one for every objective, with the penalties for missed SLOs; nil
	// unless the outcome is success.
	Scores []float64
	// Values are the scores without penalties. They are there for an
	// infeasible configuration too.
	Values []float64
	// Margins, one for every term of the SLO: how far the worst cell lies above
	// the threshold, as a share of it; negative where the promise is kept.
	Margins []float64
	// Failure says what a verdict other than success is for.
	Failure *experiment.Failure
}

// MarginMetric names the metric that keeps the margin of a term.
func MarginMetric(term task.SLOTerm) string { return experiment.MarginMetric + term.Metric }

// Judge scores the measurement of an experiment that ended well. The margins
// are kept in it as metrics of their own, from which samplers learn where the
// promises hold.
func Judge(t *task.Task, m *experiment.Measurement) Verdict {
	v := judge(t, m)
	for i, margin := range v.Margins {
		m.Metrics[MarginMetric(t.Serving.SLO.Terms[i])] = experiment.Metric{Samples: []float64{margin}, Median: margin}
	}
	return v
}

func judge(t *task.Task, m *experiment.Measurement) Verdict {
	values, ok := Scores(t.Optimization.Objectives, m)
	if !ok {
		return Verdict{Outcome: experiment.OutcomeNoMetric, Failure: &experiment.Failure{
			Phase: "result", Message: "the metric of an objective is missing or not finite"}}
	}
	v := Verdict{Outcome: experiment.OutcomeSuccess, Scores: values, Values: values}
	if t.Serving == nil || m.Serving == nil {
		return v
	}
	if t.Serving.Scoring == task.ScoringLegacy {
		return judgeLegacy(t, m, v)
	}
	slo := t.Serving.SLO
	if slo == nil {
		return v
	}
	v.Margins = Margins(slo, m.Serving.Cells)
	for i, term := range slo.Terms {
		if broken(term, v.Margins[i]) {
			v.Outcome, v.Scores = experiment.OutcomeInfeasible, nil
			v.Failure = &experiment.Failure{Phase: "score", Cause: "hard_slo", Message: missed(term, m.Serving.Cells)}
			return v
		}
	}
	v.Scores = make([]float64, len(values))
	factor := penalty(slo, v.Margins)
	for i, o := range t.Optimization.Objectives {
		v.Scores[i] = worsen(o.Direction, values[i], factor)
	}
	return v
}

// Margins compares every term with the cell where it fares worst: a promise
// holds at every load that the task names. A metric that no cell has keeps its
// promise.
func Margins(slo *task.SLO, cells []experiment.Cell) []float64 {
	margins := make([]float64, len(slo.Terms))
	for i, term := range slo.Terms {
		worst, _ := worstCell(term, cells)
		margins[i] = worst
	}
	return margins
}

func worstCell(term task.SLOTerm, cells []experiment.Cell) (margin float64, cell int) {
	margin, cell = -1, -1
	for i := range cells {
		metric, ok := cells[i].Metrics[term.Metric]
		if !ok || math.IsNaN(metric.Median) || math.IsInf(metric.Median, 0) {
			continue
		}
		if v := violation(term, metric.Median); cell < 0 || v > margin {
			margin, cell = v, i
		}
	}
	return margin, cell
}

// violation is v of LLM Autotuner: the excess over the threshold, relative to it.
func violation(term task.SLOTerm, actual float64) float64 {
	return (actual - term.Threshold) / term.Threshold
}

// broken says that a hard limit is exceeded by more than its fail ratio.
func broken(term task.SLOTerm, margin float64) bool {
	return term.HardFail && margin > term.FailRatio
}

func missed(term task.SLOTerm, cells []experiment.Cell) string {
	_, i := worstCell(term, cells)
	c := cells[i]
	return fmt.Sprintf("%s is %.4g s in cell %s × %d, more than %.4g s and %.0f %% beyond, which is a hard limit",
		term.Metric, c.Metrics[term.Metric].Median, c.Scenario, c.Concurrency, term.Threshold, 100*term.FailRatio)
}

// penalty is M = 1 + Σ weight·g(v/steepness). g is exp(x)-1 up to 1 and goes on
// as a straight line of the same slope: nothing at the threshold, steep behind
// it, and finite however bad the configuration is.
func penalty(slo *task.SLO, margins []float64) float64 {
	factor := 1.0
	for i, term := range slo.Terms {
		if x := margins[i] / slo.Steepness; x > 0 {
			factor += term.Weight * (math.Expm1(min(x, 1)) + math.E*max(x-1, 0))
		}
	}
	return factor
}

// worsen makes a value worse by a factor of at least 1 without changing its
// sign.
func worsen(d task.Direction, value, factor float64) float64 {
	if (d == task.Minimize) == (value >= 0) {
		return value * factor
	}
	return value / factor
}
