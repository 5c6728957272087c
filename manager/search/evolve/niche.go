package evolve

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/fleetune/fleetune/manager/search/pareto"
	"github.com/fleetune/fleetune/manager/search/sampler"
)

// directions are the points of the unit simplex whose coordinates are multiples
// of 1/divisions (Das and Dennis, "Normal-boundary intersection", 1998).
func directions(objectives, divisions int) [][]float64 {
	var out [][]float64
	point := make([]float64, objectives)
	var place func(k, left int)
	place = func(k, left int) {
		if k == objectives-1 {
			point[k] = float64(left) / float64(divisions)
			out = append(out, slices.Clone(point))
			return
		}
		for n := range left + 1 {
			point[k] = float64(n) / float64(divisions)
			place(k+1, left-n)
		}
	}
	place(0, divisions)
	return out
}

// divisions is the finest division that gives at most so many directions.
func divisions(objectives, most int) int {
	for h := 1; ; h++ {
		// h+objectives choose objectives-1 points in the next finer one.
		count := 1.0
		for k := 1; k < objectives; k++ {
			count *= float64(h+1+k) / float64(k)
		}
		if math.Round(count) > float64(most) || objectives < 2 {
			return h
		}
	}
}

// inner is a second layer of directions, half way to the middle of the simplex.
func inner(along [][]float64) [][]float64 {
	out := make([][]float64, len(along))
	for i, w := range along {
		for _, c := range w {
			out[i] = append(out[i], (c+1/float64(len(w)))/2)
		}
	}
	return out
}

// survivors returns the n best points by NSGA-III (Deb and Jain, "An
// evolutionary many-objective optimization algorithm using
// reference-point-based nondominated sorting approach", 2014): whole fronts
// first, and of the front that does not fit those whose directions are the
// least crowded. Points that miss constraints follow, those that miss them by
// least first. Ties go to the point measured first, so the choice is a function
// of the history.
func survivors(trials []sampler.Trial, n int, along [][]float64) []parent {
	var kept, others []sampler.Trial
	for _, t := range trials {
		switch {
		case t.Losses != nil && t.Violation == 0:
			kept = append(kept, t)
		case t.Losses != nil:
			others = append(others, t)
		}
	}
	kept = kept[max(0, len(kept)-archive):]
	losses := make([][]float64, len(kept))
	for i, t := range kept {
		losses[i] = t.Losses
	}
	var out []parent
	ranks := pareto.Ranks(losses)
	for _, i := range niches(losses, ranks, n, along) {
		out = append(out, parent{kept[i].Vec, ranks[i]})
	}
	for _, i := range sampler.Order(others) {
		if len(out) == n {
			break
		}
		out = append(out, parent{others[i].Vec, archive + len(out)})
	}
	return out
}

// niches picks n positions.
func niches(losses [][]float64, ranks []int, n int, along [][]float64) []int {
	var out []int
	for rank := 0; len(out) < min(n, len(losses)); rank++ {
		var front []int
		for i, r := range ranks {
			if r == rank {
				front = append(front, i)
			}
		}
		if len(out)+len(front) <= n {
			out = append(out, front...)
			continue
		}
		out = fill(losses, out, front, n, along)
	}
	return out
}

// fill takes points of the front until there are n.
func fill(losses [][]float64, taken, front []int, n int, along [][]float64) []int {
	all := append(slices.Clone(taken), front...)
	scaled := normalize(losses, all)
	crowd := make([]int, len(along))
	nearest, distance := make(map[int]int), make(map[int]float64)
	for k, i := range all {
		nearest[i], distance[i] = niche(scaled[k], along)
	}
	for _, i := range taken {
		crowd[nearest[i]]++
	}
	front = slices.Clone(front)
	for len(taken) < n {
		at := 0
		for k, i := range front[1:] {
			a, b := nearest[i], nearest[front[at]]
			switch {
			case crowd[a] < crowd[b],
				crowd[a] == crowd[b] && a == b && distance[i] < distance[front[at]],
				crowd[a] == crowd[b] && a < b:
				at = k + 1
			}
		}
		taken = append(taken, front[at])
		crowd[nearest[front[at]]]++
		front = slices.Delete(front, at, at+1)
	}
	return taken
}

// niche is the direction closest to a point, and how far the point is from it.
func niche(p []float64, along [][]float64) (int, float64) {
	best, at := math.Inf(1), 0
	for k, w := range along {
		dot, norm := 0.0, 0.0
		for i := range p {
			dot += p[i] * w[i]
			norm += w[i] * w[i]
		}
		d := 0.0
		for i := range p {
			d += math.Pow(p[i]-dot/norm*w[i], 2)
		}
		if d < best {
			best, at = d, k
		}
	}
	return at, best
}

// normalize moves the best values to 0 and the intercepts of the plane through
// the extreme points to 1; where that plane is no use, the worst values.
func normalize(losses [][]float64, members []int) [][]float64 {
	d := len(losses[0])
	ideal, worst := slices.Repeat([]float64{math.Inf(1)}, d), slices.Repeat([]float64{math.Inf(-1)}, d)
	for _, i := range members {
		for k, v := range losses[i] {
			ideal[k], worst[k] = min(ideal[k], v), max(worst[k], v)
		}
	}
	extent := intercepts(losses, members, ideal)
	for k := range extent {
		if !(extent[k] > 1e-9*(worst[k]-ideal[k])) || extent[k] > 2*(worst[k]-ideal[k]) {
			extent[k] = worst[k] - ideal[k]
		}
		if extent[k] == 0 {
			extent[k] = 1
		}
	}
	out := make([][]float64, len(members))
	for j, i := range members {
		out[j] = make([]float64, d)
		for k, v := range losses[i] {
			out[j][k] = (v - ideal[k]) / extent[k]
		}
	}
	return out
}

// intercepts of the plane through the points that are extreme along each axis
// by the achievement scalarizing function; zeros when there is no such plane.
func intercepts(losses [][]float64, members []int, ideal []float64) []float64 {
	d := len(ideal)
	extremes := mat.NewDense(d, d, nil)
	for axis := range d {
		best, at := math.Inf(1), members[0]
		for _, i := range members {
			most := 0.0
			for k, v := range losses[i] {
				weight := 1e-6
				if k == axis {
					weight = 1
				}
				most = max(most, (v-ideal[k])/weight)
			}
			if most < best {
				best, at = most, i
			}
		}
		for k, v := range losses[at] {
			extremes.Set(axis, k, v-ideal[k])
		}
	}
	out := make([]float64, d)
	var plane mat.VecDense
	ones := mat.NewVecDense(d, slices.Repeat([]float64{1}, d))
	if plane.SolveVec(extremes, ones) != nil {
		return out
	}
	for k := range out {
		out[k] = 1 / plane.AtVec(k)
	}
	return out
}
