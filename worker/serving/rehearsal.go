package serving

import (
	"time"

	"github.com/fleetune/fleetune/worker/load/metrics"
)

// Units of metrics that depend on how fast time passes.
const (
	seconds           = "s"
	tokensPerSecond   = "tokens/s"
	requestsPerSecond = "requests/s"
	perMillion        = "per million tokens"
)

// speed is how much faster than the clock the time of a simulated engine
// passes; 0 where the engine is a real one.
func (s *Staged) speed() float64 {
	switch {
	case s.spec.Simulate == nil:
		return 0
	case s.spec.Simulate.Speed <= 0:
		return 1
	}
	return s.spec.Simulate.Speed
}

// simulated turns a figure by the clock into one by simulated time.
func simulated(unit string, value, speed float64) float64 {
	if speed <= 0 {
		return value
	}
	switch unit {
	case seconds, perMillion:
		return value * speed
	case tokensPerSecond, requestsPerSecond:
		return value / speed
	}
	return value
}

// byClock is how long a time of the task takes by the clock.
func (s *Staged) byClock(d time.Duration) time.Duration {
	if speed := s.speed(); speed > 0 {
		return time.Duration(float64(d) / speed)
	}
	return d
}

// boundsByClock are bounds of simulated time as the load generator sees them.
func (s *Staged) boundsByClock(list []metrics.SLO) []metrics.SLO {
	if speed := s.speed(); speed > 0 {
		for i := range list {
			list[i].Bound /= speed
		}
	}
	return list
}
