package gp

import (
	"math"
	"slices"

	"github.com/fleetune/fleetune/manager/search/pareto"
)

// gain says how much better the incumbents are expected to become by a point
// whose objectives are normal with the given means and deviations: the
// logarithm of it. All values are in standard units of their processes.
type gain interface {
	expect(means, deviations []float64) float64
	// believe takes a point in at its means, as though it had been measured.
	believe(means []float64) gain
}

// improvement chooses what the round maximizes. While no point meets the
// constraints there is nothing to improve upon: then what counts is the
// probability to meet them.
func (r *round) improvement(goals []*belief) gain {
	if len(goals) == 0 {
		return feasibility{}
	}
	var points [][]float64
	for i, feasible := range goals[0].lesson.feasible {
		if !feasible {
			continue
		}
		p := make([]float64, len(goals))
		for k, b := range goals {
			p[k] = b.lesson.all[i]
		}
		points = append(points, p)
	}
	switch {
	case len(points) == 0:
		return feasibility{}
	case len(goals) == 1:
		best := math.Inf(1)
		for _, p := range points {
			best = min(best, p[0])
		}
		return incumbent(best)
	}
	return newVolume(points, len(r.ground.points))
}

// feasibility looks for a first point that meets the constraints, rather where
// little is known, which keeps a batch apart.
type feasibility struct{}

func (feasibility) expect(_, deviations []float64) float64 {
	sum := 0.0
	for _, d := range deviations {
		sum += math.Log(d)
	}
	return sum
}

func (f feasibility) believe([]float64) gain { return f }

// incumbent is the best value of one objective.
type incumbent float64

func (b incumbent) expect(means, deviations []float64) float64 {
	return logImprovement(float64(b), means[0], deviations[0])
}

func (b incumbent) believe(means []float64) gain { return min(b, incumbent(means[0])) }

// boxWork bounds boxes times candidates of one choice.
const boxWork = 15_000_000

// volume is the front of several objectives: the expected growth of the
// hypervolume it dominates. Over the boxes that fill what is not dominated, the
// growth in one box from l to u is the product over the objectives of
// min(u-l, max(u-y, 0)), whose expectation is EI(u) - EI(l) with EI the expected
// improvement below a value; the objectives being independent, expectations
// multiply (Yang, Emmerich, Deutz and Bäck, "Efficient computation of expected
// hypervolume improvement using box decomposition algorithms", 2019). It is
// exact for the processes' beliefs, unless the front is so large that the points
// closest to their neighbours on it are left out.
type volume struct {
	front      [][]float64
	reference  []float64
	candidates int
	cuts       [][]float64 // by objective: ends of boxes, rising
	lower      [][]int32   // by objective and box: positions of cuts, -1 for -Inf
	upper      [][]int32

	logs, scaled [][]float64 // scratch: EI at each cut
}

// newVolume finds the front of some points. Its reference lies a tenth of the
// front's extent beyond the worst values on the front, so that its ends count
// for something without outweighing the rest.
func newVolume(points [][]float64, candidates int) *volume {
	v := &volume{candidates: candidates}
	for _, i := range pareto.Front(points) {
		v.front = append(v.front, points[i])
	}
	for k := range points[0] {
		low, high := extent(v.front, k)
		if high == low {
			_, high = extent(points, k)
		}
		v.reference = append(v.reference, high+max(0.1*(high-low), 0.01))
	}
	v.cut()
	return v
}

func extent(points [][]float64, k int) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, p := range points {
		low, high = min(low, p[k]), max(high, p[k])
	}
	return low, high
}

func (v *volume) believe(means []float64) gain {
	points := slices.Concat(v.front, [][]float64{means})
	next := &volume{candidates: v.candidates, reference: v.reference}
	for _, i := range pareto.Front(points) {
		next.front = append(next.front, points[i])
	}
	next.cut()
	return next
}

// cut lays out the boxes of the front, or of its most spread part.
func (v *volume) cut() {
	most := max(boxWork/max(v.candidates, 1), 64)
	kept := v.front
	boxes := pareto.Boxes(kept, v.reference)
	for len(boxes) > most {
		kept = spread(kept, len(kept)*3/4)
		boxes = pareto.Boxes(kept, v.reference)
	}
	d := len(v.reference)
	v.cuts, v.lower, v.upper = make([][]float64, d), make([][]int32, d), make([][]int32, d)
	v.logs, v.scaled = make([][]float64, d), make([][]float64, d)
	for k := range d {
		place := map[float64]int32{math.Inf(-1): -1}
		at := func(end float64) int32 {
			i, ok := place[end]
			if !ok {
				i = int32(len(v.cuts[k]))
				place[end], v.cuts[k] = i, append(v.cuts[k], end)
			}
			return i
		}
		for _, b := range boxes {
			v.lower[k], v.upper[k] = append(v.lower[k], at(b.Lower[k])), append(v.upper[k], at(b.Upper[k]))
		}
		v.logs[k], v.scaled[k] = make([]float64, len(v.cuts[k])), make([]float64, len(v.cuts[k]))
	}
}

// spread keeps the n points of a front with the largest gaps around them.
func spread(front [][]float64, n int) [][]float64 {
	out := make([][]float64, 0, n)
	for _, i := range pareto.Order(front)[:n] {
		out = append(out, front[i])
	}
	return out
}

func (v *volume) expect(means, deviations []float64) float64 {
	total := 0.0
	for k, cuts := range v.cuts {
		most := math.Inf(-1)
		for i, end := range cuts {
			v.logs[k][i] = logImprovement(end, means[k], deviations[k])
			most = max(most, v.logs[k][i])
		}
		for i, l := range v.logs[k] {
			v.scaled[k][i] = math.Exp(l - most)
		}
		total += most
	}
	sum := 0.0
	for b := range v.upper[0] {
		product := 1.0
		for k, scaled := range v.scaled {
			side := scaled[v.upper[k][b]]
			if l := v.lower[k][b]; l >= 0 {
				side -= scaled[l]
			}
			product *= side
		}
		sum += max(product, 0)
	}
	if sum > 1e-280 {
		return total + math.Log(sum)
	}
	return v.far()
}

// far is the logarithm of the sum where every term is too small for a float:
// the largest term.
func (v *volume) far() float64 {
	most := math.Inf(-1)
	for b := range v.upper[0] {
		sum := 0.0
		for k, logs := range v.logs {
			side := logs[v.upper[k][b]]
			if l := v.lower[k][b]; l >= 0 {
				side += math.Log1p(-math.Exp(logs[l] - side))
			}
			sum += side
		}
		if sum > most { // not a NaN of two equal ends
			most = sum
		}
	}
	return most
}
