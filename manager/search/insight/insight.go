// Package insight tells what a task's history says about its space: which
// parameters matter, how each one acts, how the search went, and which points
// are best by several objectives.
package insight

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/fleetune/fleetune/manager/search/gp"
	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// An Effect says how one parameter acts on an objective.
type Effect struct {
	Parameter string
	// Importance is the share of the predicted variance over the valid points
	// that the parameter alone explains (the first-order Sobol' index), 0 to 1.
	Importance float64
	// Levels are the parameter's values in order, at most ten ranges of them
	// where there are more.
	Levels []Level
}

// A Level is one value of a parameter, or the start of a range of values.
type Level struct {
	Value any
	// Mean of the objective over the valid points with this value, as
	// predicted: in the metric's unit; geometric when all values have one sign.
	Mean float64
	// Measured is the number of points of the history with this value.
	Measured int
}

const (
	draws     = 2000 // valid points that effects are averaged over
	maxLevels = 10
)

// Effects returns the effects of every parameter on an objective, by its
// position, the most important first. It fails with gp.ErrTooFew when the
// history has fewer than three values.
func Effects(p sampler.Problem, history []sampler.Observation, objective int) ([]Effect, error) {
	set, err := p.Set()
	if err != nil {
		return nil, fmt.Errorf("explaining the history: %w", err)
	}
	past := sampler.NewPast(set, &p)
	past.Read(history)
	model, err := gp.Learn(set, past, objective)
	if err != nil {
		return nil, fmt.Errorf("explaining the history: %w", err)
	}
	points := draw(set)
	predicted := model.Predict(points)
	back := backward(p, model, objective)
	// All points of a space without constraints weigh every value alike, so
	// nothing in the means is chance.
	count := set.Count()
	chance := !count.Exact || count.Valid != count.Total || len(points) != int(count.Valid)
	var out []Effect
	for i, parameter := range set.Space().Space().Parameters {
		e := Effect{Parameter: parameter.Name}
		cells := cut(set, i, points)
		groups := make([][]float64, len(cells))
		for k, v := range points {
			if g := cellOf(cells, v[i]); g >= 0 {
				groups[g] = append(groups[g], predicted[k])
			}
		}
		e.Importance = explained(groups, chance)
		measured := make([]int, len(cells))
		for _, t := range past.Trials() {
			if g := cellOf(cells, t.Vec[i]); g >= 0 {
				measured[g]++
			}
		}
		for g, cell := range cells {
			if len(groups[g]) > 0 {
				e.Levels = append(e.Levels, Level{Value: set.Space().Domain(i).Value(cell), Mean: back(mean(groups[g])), Measured: measured[g]})
			}
		}
		out = append(out, e)
	}
	slices.SortStableFunc(out, func(a, b Effect) int {
		switch {
		case a.Importance > b.Importance:
			return -1
		case a.Importance < b.Importance:
			return 1
		}
		return 0
	})
	return out, nil
}

// draw samples the valid points with a fixed seed, all of them when few.
func draw(set *valid.Set) []valid.Vec {
	var out []valid.Vec
	if set.Exact() && set.Len() <= draws {
		for v := range set.All(nil) {
			out = append(out, v)
		}
		return out
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range draws {
		if v, ok := set.Sample(rng); ok {
			out = append(out, v)
		}
	}
	return out
}

// backward turns a predicted loss into the metric's unit.
func backward(p sampler.Problem, model *gp.Surrogate, objective int) func(float64) float64 {
	sign := 1.0
	if objective < len(p.Objectives) && p.Objectives[objective].Direction == task.Maximize {
		sign = -1
	}
	return func(v float64) float64 {
		if model.Log {
			return math.Exp(sign * v)
		}
		return sign * v
	}
}

// cut lists where a parameter's cells start: each value, or ranges that hold
// about equally many points.
func cut(set *valid.Set, i int, points []valid.Vec) []float64 {
	var values []float64
	for _, v := range points {
		if !space.IsAbsent(v[i]) {
			values = append(values, v[i])
		}
	}
	slices.Sort(values)
	distinct := slices.Compact(slices.Clone(values))
	if len(distinct) <= maxLevels || !set.Space().Domain(i).Ordinal() {
		return distinct
	}
	cells := make([]float64, 0, maxLevels)
	for k := range maxLevels {
		cells = append(cells, values[k*len(values)/maxLevels])
	}
	return slices.Compact(cells)
}

// cellOf finds the cell of a coordinate, -1 when it is absent or below all.
func cellOf(cells []float64, coord float64) int {
	if space.IsAbsent(coord) {
		return -1
	}
	k, found := slices.BinarySearch(cells, coord)
	if found {
		return k
	}
	return k - 1
}

// explained is the share of variance between groups (eta squared), without
// what drawn or unequal groups would show by chance (omega squared).
func explained(groups [][]float64, chance bool) float64 {
	var all []float64
	used := 0
	for _, g := range groups {
		all = append(all, g...)
		if len(g) > 0 {
			used++
		}
	}
	total, centre := 0.0, mean(all)
	for _, v := range all {
		total += (v - centre) * (v - centre)
	}
	between := 0.0
	for _, g := range groups {
		if len(g) > 0 {
			d := mean(g) - centre
			between += float64(len(g)) * d * d
		}
	}
	if total <= 1e-18 || chance && len(all) <= used {
		return 0
	}
	if !chance {
		return min(between/total, 1)
	}
	within := (total - between) / float64(len(all)-used)
	return min(max((between-float64(used-1)*within)/(total+within), 0), 1)
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(max(len(values), 1))
}
