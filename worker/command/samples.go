package command

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/fleetune/fleetune/proto/experiment"
)

var errUnits = errors.New("units differ")

// samples gathers one side's metrics.
type samples struct {
	realm   *realm
	file    string // of the result that is awaited
	metrics map[string]experiment.Metric
	checks  []experiment.Check
}

func (s *samples) add(name, unit string, values ...float64) error {
	if s.metrics == nil {
		s.metrics = map[string]experiment.Metric{}
	}
	m, ok := s.metrics[name]
	if ok && m.Unit != unit {
		return fmt.Errorf("metric %q: %w, %q and %q", name, errUnits, m.Unit, unit)
	}
	m.Unit = unit
	m.Samples = append(m.Samples, values...)
	s.metrics[name] = m
	return nil
}

// merge adds what one run reported. A metric that is not in every run of a
// side is dropped: its samples would not be comparable.
func (s *samples) merge(metrics map[string]experiment.Metric) *Result {
	first := s.metrics == nil
	for name := range s.metrics {
		if _, ok := metrics[name]; !ok {
			delete(s.metrics, name)
		}
	}
	for name, m := range metrics {
		if _, ok := s.metrics[name]; !ok && !first {
			continue
		}
		if err := s.add(name, m.Unit, m.Samples...); err != nil {
			return failed(experiment.OutcomeNoMetric, "result", "", "%v", err)
		}
	}
	return nil
}

// blame marks a failure of the baseline. It has run before, so what failed is
// the place rather than the configuration, unless time ran out.
func (s *samples) blame(res *Result) *Result {
	if s.realm.name != "baseline" {
		return res
	}
	res.Failure.Message = "the baseline, measured in turns with the candidate: " + res.Failure.Message
	if o := res.Outcome; o == experiment.OutcomeFailed || o == experiment.OutcomeIncorrect || o == experiment.OutcomeNoMetric {
		res.Outcome = experiment.OutcomeInfraError
	}
	return res
}

func (s *samples) summary() map[string]experiment.Metric {
	out := make(map[string]experiment.Metric, len(s.metrics))
	for name, m := range s.metrics {
		m.Median = quantile(m.Samples, 0.5)
		// Finite samples can lie further apart than a number can say.
		m.Spread = min(quantile(m.Samples, 0.75)-quantile(m.Samples, 0.25), math.MaxFloat64)
		out[name] = m
	}
	return out
}

// quantile of the values by linear interpolation between the two closest ranks
// (Hyndman and Fan, "Sample quantiles in statistical packages", definition 7).
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	low := int(at)
	if low+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	part := at - float64(low)
	return sorted[low]*(1-part) + sorted[low+1]*part
}
