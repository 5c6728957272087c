package score

import (
	"math"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
)

// This file is the scoring of LLM Autotuner, to its test vectors: steps at the
// thresholds, cells that break a hard limit dropped before the mean is taken,
// a sign that a penalty can flip. Results that were scored by it stay
// comparable; nothing else speaks for it.

// Legacy is the score of a configuration: lower is better, whatever the
// objective. metrics holds means over cells. ±Inf stands for a hard failure or
// an objective without a metric.
func Legacy(o task.Objective, slo *task.SLO, metrics map[string]float64) float64 {
	worst := math.Inf(1)
	base := math.NaN()
	if o.Direction == task.Maximize {
		worst = math.Inf(-1)
		for _, name := range []string{o.Metric, "mean_total_throughput_per_gpu", "mean_total_throughput", "mean_output_throughput", "max_total_throughput"} {
			if v, ok := metrics[name]; ok && v != 0 {
				base = -v
				break
			}
		}
	} else if v, ok := metrics[o.Metric]; ok {
		base = v
	} else if v, ok := metrics["p50_e2e_latency"]; ok && o.Metric == "mean_e2e_latency" {
		base = v
	}
	if math.IsNaN(base) {
		return worst
	}
	if slo == nil {
		return base
	}
	factor := 1.0
	for _, term := range slo.Terms {
		actual, ok := metrics[term.Metric]
		if !ok {
			continue
		}
		v := violation(term, actual)
		if v <= 0 {
			continue
		}
		if broken(term, v) {
			return worst
		}
		factor += term.Weight * math.Exp(v/slo.Steepness)
	}
	return base + (factor-1)*math.Abs(base)
}

// LegacyMetrics is the mean over the cells that break no hard limit, or over
// all when none is left. Cells that were not measured are left out.
func LegacyMetrics(slo *task.SLO, s *experiment.Serving) map[string]float64 {
	var measured, kept []experiment.Cell
	for _, c := range s.Cells {
		if len(c.Metrics) == 0 {
			continue
		}
		measured = append(measured, c)
		if !breaksHardLimit(slo, c) {
			kept = append(kept, c)
		}
	}
	if len(kept) == 0 {
		kept = measured
	}
	sums, counts := map[string]float64{}, map[string]int{}
	for _, c := range kept {
		for name, m := range c.Metrics {
			sums[name] += m.Median
			counts[name]++
		}
	}
	for name := range sums {
		sums[name] /= float64(counts[name])
	}
	return sums
}

func breaksHardLimit(slo *task.SLO, c experiment.Cell) bool {
	if slo == nil {
		return false
	}
	for _, term := range slo.Terms {
		if m, ok := c.Metrics[term.Metric]; ok && broken(term, violation(term, m.Median)) {
			return true
		}
	}
	return false
}

// judgeLegacy stores the legacy score turned the objective's way: negated
// where more is better, as people read it.
func judgeLegacy(t *task.Task, m *experiment.Measurement, v Verdict) Verdict {
	slo := t.Serving.SLO
	metrics := LegacyMetrics(slo, m.Serving)
	v.Scores = nil
	for _, o := range t.Optimization.Objectives {
		s := Legacy(o, slo, metrics)
		if math.IsInf(s, 0) {
			v.Outcome = experiment.OutcomeInfeasible
			v.Failure = &experiment.Failure{Phase: "score", Cause: "hard_slo", Message: "a hard limit is broken in every cell"}
			v.Scores = nil
			return v
		}
		if o.Direction == task.Maximize {
			s = -s
		}
		v.Scores = append(v.Scores, s)
	}
	if slo != nil {
		v.Margins = make([]float64, len(slo.Terms))
		for i, term := range slo.Terms {
			v.Margins[i] = -1
			if actual, ok := metrics[term.Metric]; ok {
				v.Margins[i] = violation(term, actual)
			}
		}
	}
	return v
}
