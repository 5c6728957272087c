package gp

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/fleetune/fleetune/manager/search/pareto"
)

// mostVolume is the number of objectives up to which each has a process of its
// own and points are chosen by hypervolume; beyond it the boxes are too many.
const mostVolume = 4

// quantities is the number of processes that so many objectives need.
func quantities(objectives int) int {
	if objectives <= 1 || objectives > mostVolume {
		return 1
	}
	return objectives
}

// objectives are the data of the value models, one for each. Beyond mostVolume
// objectives there is one for all of them: y, what the parameters are fitted
// to, weighs them evenly, and target, what the process is conditioned on, anew
// for each round.
func (r *round) objectives() []data {
	var d data
	var columns [][]float64
	for _, t := range r.trials {
		if t.Losses == nil {
			continue
		}
		d.keys, d.rows = append(d.keys, t.Key), append(d.rows, r.encoder.row(t.Vec))
		d.feasible = append(d.feasible, t.Violation == 0)
		for k, loss := range t.Losses {
			if k == len(columns) {
				columns = append(columns, nil)
			}
			columns[k] = append(columns[k], loss)
		}
	}
	if len(columns) == 0 {
		return nil
	}
	switch {
	case len(columns) == 1:
		columns[0] = warp(columns[0])
	default:
		r.bend(columns, d.feasible)
	}
	if len(columns) > mostVolume {
		even := slices.Repeat([]float64{1 / float64(len(columns))}, len(columns))
		d.y, d.target = scalarize(columns, even), scalarize(columns, r.weights(len(columns)))
		return []data{d}
	}
	out := make([]data, len(columns))
	for k := range out {
		out[k] = d
		out[k].y = columns[k]
	}
	return out
}

// constraints are the data of the models of measured constraints.
func (r *round) constraints() []data {
	out := make([]data, len(r.limits))
	for _, t := range r.trials {
		if t.Constraints == nil {
			continue
		}
		row := r.encoder.row(t.Vec)
		for k, c := range t.Constraints {
			if math.IsNaN(c) {
				continue
			}
			d := &out[k]
			d.keys, d.rows, d.y = append(d.keys, t.Key), append(d.rows, row), append(d.y, bilog(c))
		}
	}
	return out
}

// bilog draws large values together and keeps 0 where it is, since the sign is
// what counts (Eriksson and Poloczek, "Scalable constrained Bayesian
// optimization", 2021).
func bilog(c float64) float64 { return math.Copysign(math.Log1p(math.Abs(c)), c) }

// optimism is the prior mean of the failure model, between -1 and 1.
const optimism = 0.3

// failures are what the failure model is conditioned on: 1 for configurations
// that worked, -1 for those that failed, around an optimistic mean.
func (r *round) failures() (l lesson, failing bool) {
	var d data
	for _, t := range r.trials {
		label := 1.0
		switch {
		case t.Infeasible:
			label, failing = -1, true
		case t.Losses == nil && t.Constraints == nil:
			continue
		}
		d.keys, d.rows, d.y = append(d.keys, t.Key), append(d.rows, r.encoder.row(t.Vec)), append(d.y, label)
	}
	if !failing {
		return lesson{}, false
	}
	l = r.failure.train(d)
	for i, label := range l.data.y {
		l.y[i] = label - optimism
	}
	return l, true
}

// weights draws weights uniformly from the simplex.
func (r *round) weights(n int) []float64 {
	rng := rand.New(rand.NewPCG(uint64(r.problem.Seed)+2, uint64(r.Count())))
	w, total := make([]float64, n), 0.0
	for i := range w {
		w[i] = rng.ExpFloat64()
		total += w[i]
	}
	for i := range w {
		w[i] /= total
	}
	return w
}

// scalarize is the augmented weighted Chebyshev norm of the objectives, each
// scaled to the unit interval (Knowles, "ParEGO", 2006).
func scalarize(objectives [][]float64, weights []float64) []float64 {
	const augmentation = 0.05
	out, most := make([]float64, len(objectives[0])), make([]float64, len(objectives[0]))
	for k, column := range objectives {
		low, high := slices.Min(column), slices.Max(column)
		for i, v := range column {
			z := 0.0
			if high > low {
				z = weights[k] * (v - low) / (high - low)
			}
			most[i] = max(most[i], z)
			out[i] += augmentation * z
		}
	}
	for i := range out {
		out[i] += most[i]
	}
	return out
}

// warp takes logarithms where all values have one sign, since times and rates
// vary by factors, and then draws the worse half together: beyond the median
// it grows with the logarithm of the distance. How bad a bad point is says
// little about where the best are, and would stretch the scale the process
// works on. Losses are smaller when better, so a rate is negative here.
func warp(losses []float64) []float64 {
	out, _ := logarithms(losses)
	sorted := slices.Sorted(slices.Values(out))
	middle := sorted[len(sorted)/2]
	spread := middle - sorted[0]
	for i, v := range out {
		if v > middle && spread > 0 {
			out[i] = middle + spread*math.Log1p((v-middle)/spread)
		}
	}
	return out
}

// bend draws together, for several objectives, what is worse than the worst of
// the front. On the front's range values stay as they are: what a hypervolume is
// depends on their proportions.
func (r *round) bend(columns [][]float64, feasible []bool) {
	var points [][]float64
	for i := range columns[0] {
		if !feasible[i] {
			continue
		}
		p := make([]float64, len(columns))
		for k := range p {
			p[k] = columns[k][i]
		}
		points = append(points, p)
	}
	var front [][]float64
	for _, i := range pareto.Front(points) {
		front = append(front, points[i])
	}
	for k, column := range columns {
		low, high := extent(front, k)
		if !(high > low) {
			columns[k] = warp(column)
			continue
		}
		for i, v := range column {
			if v > high {
				column[i] = high + (high-low)*math.Log1p((v-high)/(high-low))
			}
		}
	}
}

// logarithms of values that all have one sign, with the sign kept; otherwise the
// values themselves, and false.
func logarithms(losses []float64) ([]float64, bool) {
	positive, negative := true, true
	for _, v := range losses {
		positive, negative = positive && v > 0, negative && v < 0
	}
	out := slices.Clone(losses)
	for i, v := range losses {
		switch {
		case positive:
			out[i] = math.Log(v)
		case negative:
			out[i] = -math.Log(-v)
		}
	}
	return out, positive || negative
}
