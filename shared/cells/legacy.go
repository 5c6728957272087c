package cells

import (
	"slices"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
)

// Legacy aggregates as LLM Autotuner does, for scoring: legacy. Cells that are
// missing, or that miss an SLO hard, are dropped, unless none would be left;
// the least and the most latency are those of the cells' means. The second
// result is the number of cells that were kept.
//
// Configurations are then judged on different work, which is why it is only
// done where a task asks for it.
func Legacy(cells []experiment.Cell, slo *task.SLO, worldSize int, costPerDeviceHour float64) (map[string]experiment.Metric, int) {
	measured := slices.DeleteFunc(slices.Clone(cells), func(c experiment.Cell) bool { return c.Missing != "" })
	kept := slices.DeleteFunc(slices.Clone(measured), func(c experiment.Cell) bool { return FailsHard(c.Metrics, slo) })
	if len(kept) == 0 {
		kept = measured
	}
	metrics := Aggregate(kept, worldSize, costPerDeviceHour)
	for _, bound := range []string{"min", "max"} {
		var means []float64
		unit := ""
		for _, c := range kept {
			if m, ok := c.Metrics["mean_e2e_latency"]; ok {
				means, unit = append(means, m.Median), m.Unit
			}
		}
		if len(means) == 0 {
			continue
		}
		value := slices.Min(means)
		if bound == "max" {
			value = slices.Max(means)
		}
		metrics[bound+"_e2e_latency"] = Summarize(unit, []float64{value})
	}
	return metrics, len(kept)
}

// FailsHard says whether metrics break the hard limit of an SLO: more than
// FailRatio beyond the threshold. A metric that is absent breaks none.
func FailsHard(metrics map[string]experiment.Metric, slo *task.SLO) bool {
	if slo == nil {
		return false
	}
	return slices.ContainsFunc(slo.Terms, func(t task.SLOTerm) bool {
		m, ok := metrics[t.Metric]
		return ok && t.HardFail && t.Threshold > 0 && (m.Median-t.Threshold)/t.Threshold > t.FailRatio
	})
}
