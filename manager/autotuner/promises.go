package autotuner

import (
	"strings"

	"github.com/fleetune/fleetune/proto/task"
)

// A promise is one bound of an slo section.
type promise struct {
	Threshold float64 `json:"threshold"`
	Weight    float64 `json:"weight"`
	HardFail  bool    `json:"hard_fail"`
	FailRatio float64 `json:"fail_ratio"`
}

// promises writes a task's bounds as its file's slo section, every default
// filled in; nil without bounds.
func promises(slo *task.SLO) map[string]any {
	if slo == nil {
		return nil
	}
	section := map[string]any{"steepness": slo.Steepness}
	latency := map[string]promise{}
	for _, term := range slo.Terms {
		p := promise{Threshold: term.Threshold, Weight: term.Weight, HardFail: term.HardFail, FailRatio: term.FailRatio}
		if percentile, ok := strings.CutSuffix(term.Metric, "_e2e_latency"); ok {
			latency[percentile] = p
		} else {
			section[strings.TrimPrefix(term.Metric, "mean_")] = p
		}
	}
	if len(latency) > 0 {
		section["latency"] = latency
	}
	return section
}
