package fidelity

import (
	"slices"

	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/proto/space"
)

// fuse tells the inner sampler each point once: by what was measured of it at
// the highest level, carried over to full measurements by what the points
// measured at both levels have in common, or as the failure that it ended with.
// What has no result yet is pending.
//
// BOHB (Falkner, Klein and Hutter, 2018) models the highest level that has
// enough points and forgets the others; here the few points at high levels and
// the many at low ones teach the same model, which pays as long as levels rank
// points alike.
func (l *ladder) fuse() (history []sampler.Observation, pending []space.Point) {
	shift := l.shifts()
	for _, c := range l.climbers {
		if o, bad := c.failed(); bad {
			history = append(history, sampler.Observation{Number: c.first, Point: c.point, Outcome: o.Outcome, Constraints: o.Constraints})
			continue
		}
		k := c.highest()
		if k < 0 {
			if o := c.anything(); o != nil {
				history = append(history, sampler.Observation{Number: c.first, Point: c.point, Outcome: o.Outcome})
			} else {
				pending = append(pending, c.point)
			}
			continue
		}
		o := c.rungs[k].seen
		history = append(history, sampler.Observation{Number: c.first, Point: c.point, Outcome: o.Outcome,
			Values: shift[k].apply(o.Values), Constraints: o.Constraints})
	}
	return history, pending
}

// anything is a result that says nothing of the point, if there is one and
// nothing is pending.
func (c *climber) anything() (found *sampler.Observation) {
	for _, r := range c.rungs {
		if r.taken && r.seen == nil {
			return nil
		}
		if r.seen != nil {
			found = r.seen
		}
	}
	return found
}

// A shift carries values of one level over to full measurements, objective by
// objective: by a factor where all values are positive, else by a difference.
type shift []step

type step struct{ times, plus float64 }

func (s shift) apply(values []float64) []float64 {
	out := slices.Clone(values)
	for i := range out {
		if i < len(s) {
			out[i] = out[i]*s[i].times + s[i].plus
		}
	}
	return out
}

// shifts are those of all levels, the last of which changes nothing. A level
// follows the next one above it that it shares points with.
func (l *ladder) shifts() []shift {
	n := max(len(l.problem.Objectives), 1)
	out := make([]shift, len(l.done))
	for k := range out {
		out[k] = slices.Repeat(shift{{times: 1}}, n)
	}
	for k := l.top() - 1; k >= 0; k-- {
		for above := k + 1; above <= l.top(); above++ {
			if pairs := l.pairs(k, above); len(pairs) > 0 {
				for i := range n {
					out[k][i] = compose(between(pairs, i), out[above][i])
				}
				break
			}
		}
	}
	return out
}

func compose(first, then step) step {
	return step{times: first.times * then.times, plus: first.plus*then.times + then.plus}
}

// pairs are the values of points that have some at both levels.
func (l *ladder) pairs(low, high int) [][2][]float64 {
	var out [][2][]float64
	for _, c := range l.ranked[high] {
		if o := c.rungs[low].seen; o != nil && len(o.Values) == len(c.rungs[high].seen.Values) && len(o.Values) > 0 {
			out = append(out, [2][]float64{o.Values, c.rungs[high].seen.Values})
		}
	}
	return out
}

// between is the median way from the one level to the other.
func between(pairs [][2][]float64, objective int) step {
	ratios, differences := make([]float64, 0, len(pairs)), make([]float64, 0, len(pairs))
	for _, p := range pairs {
		low, high := p[0][objective], p[1][objective]
		differences = append(differences, high-low)
		if low > 0 && high > 0 {
			ratios = append(ratios, high/low)
		}
	}
	if len(ratios) == len(pairs) {
		return step{times: median(ratios)}
	}
	return step{times: 1, plus: median(differences)}
}

func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}
