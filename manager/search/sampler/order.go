package sampler

import (
	"slices"

	"github.com/fleetune/fleetune/manager/search/pareto"
)

// Order sorts measured trials from best to worst, as positions: those that meet
// every constraint first, by objectives (fronts, then crowding), then the others
// by how much they miss them, ties by objectives (constraint domination, Deb
// et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", 2002).
// Among trials that miss them by as much, those without losses come last.
func Order(trials []Trial) []int {
	var good, bad []int
	var losses [][]float64
	for i, t := range trials {
		if t.Losses != nil && t.Violation == 0 {
			good, losses = append(good, i), append(losses, t.Losses)
		} else {
			bad = append(bad, i)
		}
	}
	out := make([]int, 0, len(trials))
	for _, k := range pareto.Order(losses) {
		out = append(out, good[k])
	}
	slices.SortStableFunc(bad, func(a, b int) int {
		x, y := &trials[a], &trials[b]
		if c := compare(x.Violation, y.Violation); c != 0 {
			return c
		}
		switch {
		case x.Losses != nil && y.Losses != nil:
			return compare(x.Losses[0], y.Losses[0])
		case x.Losses != nil:
			return -1
		case y.Losses != nil:
			return 1
		}
		return 0
	})
	return append(out, bad...)
}

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
