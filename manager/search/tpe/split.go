package tpe

import (
	"math"
	"slices"

	"github.com/fleetune/fleetune/manager/search/pareto"
	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/valid"
)

const (
	share    = 0.1 // of the points count as good, rounded up
	mostGood = 25
	mostBad  = 200 // points of the other density; evenly taken beyond
	mostFit  = 1000
)

// split parts the history into good points and others: those that meet the
// measured constraints come first, then those that miss them by least;
// configurations that failed are among the others (as in Watanabe and Hutter,
// "c-TPE", 2023, the split is by feasibility before value).
func (s *Sampler) split() (good, bad []valid.Vec) {
	var measured []int // positions of trials
	trials := s.past.Trials()
	first := 0
	if len(s.problem.Objectives) > 1 && len(trials) > mostFit {
		first = len(trials) - mostFit // comparing all pairs grows with the square
	}
	for i := first; i < len(trials); i++ {
		t := &trials[i]
		switch {
		case t.Losses != nil || t.Constraints != nil:
			measured = append(measured, i)
		case t.Infeasible:
			bad = append(bad, t.Vec)
		}
	}
	n := min(int(math.Ceil(share*float64(len(measured)))), mostGood)
	chosen := make([]bool, len(measured))
	for _, i := range s.leaders(trials, measured, n) {
		good, chosen[i] = append(good, trials[measured[i]].Vec), true
	}
	for i, at := range measured {
		if !chosen[i] {
			bad = append(bad, trials[at].Vec)
		}
	}
	return good, bad
}

// leaders returns the n best of the measured trials, as positions among those.
func (s *Sampler) leaders(trials []sampler.Trial, measured []int, n int) []int {
	several := len(s.problem.Objectives) > 1
	if !several && !slices.ContainsFunc(measured, func(i int) bool { return trials[i].Violation != 0 || trials[i].Losses == nil }) {
		return smallest(trials, measured, n)
	}
	list := make([]sampler.Trial, len(measured))
	for k, i := range measured {
		list[k] = trials[i]
	}
	if several {
		if best, ok := covering(list, n); ok {
			return best
		}
	}
	return sampler.Order(list)[:n]
}

// smallest returns the n of the smallest loss: a short sorted list beats sorting
// everything.
func smallest(trials []sampler.Trial, measured []int, n int) []int {
	var out []int
	for i, at := range measured {
		k := len(out)
		for k > 0 && trials[at].Losses[0] < trials[measured[out[k-1]]].Losses[0] {
			k--
		}
		if k >= n {
			continue
		}
		if len(out) < n {
			out = append(out, 0)
		}
		copy(out[k+1:], out[k:])
		out[k] = i
	}
	return out
}

// margin is how far behind the worst of each objective the reference lies, in
// parts of what was seen of it.
const margin = 0.1

// covering returns n trials that meet every constraint: whole fronts, and of the
// last one those that dominate much volume together, so that neither its ends
// nor a dense part of it stand for all of it (Ozaki, Tanigaki, Watanabe, Nomura
// and Onishi, "Multiobjective tree-structured Parzen estimator", 2022). It is
// false when there are fewer.
func covering(trials []sampler.Trial, n int) ([]int, bool) {
	var at []int
	var losses [][]float64
	for i, t := range trials {
		if t.Losses != nil && t.Violation == 0 {
			at, losses = append(at, i), append(losses, t.Losses)
		}
	}
	if len(at) < n || n == 0 {
		return nil, false
	}
	low, reference := slices.Clone(losses[0]), slices.Clone(losses[0])
	for _, l := range losses {
		for k, v := range l {
			low[k], reference[k] = min(low[k], v), max(reference[k], v)
		}
	}
	for k := range reference {
		reference[k] += margin * (reference[k] - low[k])
	}
	ranks := pareto.Ranks(losses)
	out := make([]int, 0, n)
	for rank := 0; len(out) < n; rank++ {
		var members []int
		var front [][]float64
		for i, r := range ranks {
			if r == rank {
				members, front = append(members, at[i]), append(front, losses[i])
			}
		}
		if len(members) <= n-len(out) {
			out = append(out, members...)
			continue
		}
		for _, k := range pareto.Subset(front, reference, n-len(out)) {
			out = append(out, members[k])
		}
	}
	return out, true
}

// thin keeps at most n points: the newest half, and evenly spaced older ones.
func thin(points []valid.Vec, n int) []valid.Vec {
	if len(points) <= n {
		return points
	}
	older := points[:len(points)-n/2]
	out := make([]valid.Vec, 0, n)
	for k := range n - n/2 {
		out = append(out, older[k*len(older)/(n-n/2)])
	}
	return append(out, points[len(points)-n/2:]...)
}
