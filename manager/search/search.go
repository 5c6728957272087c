// Package search is where the manager asks for the next points of a task. It
// names the strategies and prepares their samplers; the algorithms live in the
// packages below it.
package search

import (
	"fmt"
	"iter"

	"github.com/fleetune/fleetune/manager/search/bayesian"
	"github.com/fleetune/fleetune/manager/search/cmaes"
	"github.com/fleetune/fleetune/manager/search/evolve"
	"github.com/fleetune/fleetune/manager/search/gp"
	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/sequence"
	"github.com/fleetune/fleetune/manager/search/tpe"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/space"
)

// The seam, under the names the rest of the manager uses.
type (
	// Problem is what does not change while a task runs.
	Problem = sampler.Problem
	// Observation is one finished experiment as a sampler sees it.
	Observation = sampler.Observation
	// Sampler chooses the next points.
	Sampler = sampler.Sampler
)

// ErrExhausted says that no valid point is left that is neither measured nor
// pending.
var ErrExhausted = sampler.ErrExhausted

// A Strategy is a way to search.
type Strategy struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	// Adaptive says that measured values change what is proposed. The others
	// need no results to go on.
	Adaptive bool `json:"adaptive"`
}

type entry struct {
	Strategy
	prepare func(Problem) (Sampler, error)
}

func registry() []entry {
	return []entry{
		{Strategy{"grid_search", "every valid point in the order of the task file", false}, sequence.Grid},
		{Strategy{"random", "valid points drawn uniformly, without repeats", false}, sequence.Random},
		{Strategy{"quasi_random", "scrambled Sobol' points carried into the valid set", false}, sequence.Quasi},
		{Strategy{"bayesian", "the default: a Gaussian process and a Parzen estimator take turns", true}, prepared(bayesian.New)},
		{Strategy{"gp", "Gaussian process on the measured values and failures, expected improvement over the valid points", true}, prepared(gp.New)},
		{Strategy{"tpe", "tree-structured Parzen estimator: what the best points have in common and the others have not", true}, prepared(tpe.New)},
		{Strategy{"genetic", "children of the best points, one objective or several", true}, prepared(evolve.NewGenetic)},
		{Strategy{"nsga2", "the genetic algorithm for several objectives", true}, prepared(evolve.NewGenetic)},
		{Strategy{"nsga3", "the genetic algorithm for three objectives and more: the front is held apart along directions", true}, prepared(evolve.NewNiched)},
		{Strategy{"cma_es", "CMA-ES with margin and restarts: a normal distribution that moves towards what is better", true}, prepared(cmaes.New)},
		{Strategy{"local_search", "the neighbours of the best points", true}, prepared(evolve.NewLocal)},
	}
}

// prepared gives a constructor of a concrete sampler the registry's type.
func prepared[S Sampler](f func(Problem) (S, error)) func(Problem) (Sampler, error) {
	return func(p Problem) (Sampler, error) {
		s, err := f(p)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
}

// Strategies lists what New accepts.
func Strategies() []Strategy {
	entries := registry()
	out := make([]Strategy, len(entries))
	for i, e := range entries {
		out[i] = e.Strategy
	}
	return out
}

// New prepares the sampler of a strategy. The error names the nearest strategy
// when there is none of that name, and says what is wrong with the space or
// the options.
func New(strategy string, p Problem) (Sampler, error) {
	var names []string
	for _, e := range registry() {
		if e.Name == strategy {
			s, err := e.prepare(p)
			if err != nil {
				return nil, fmt.Errorf("preparing %s: %w", strategy, err)
			}
			return s, nil
		}
		names = append(names, e.Name)
	}
	if nearest := space.Nearest(strategy, names); nearest != "" {
		return nil, fmt.Errorf("no strategy is named %q; did you mean %q?", strategy, nearest)
	}
	return nil, fmt.Errorf("no strategy is named %q; there are %v", strategy, names)
}

// Reason says why a sampler works the way it does for its problem, for those
// that choose; "" for the others.
func Reason(s Sampler) string {
	if r, ok := s.(interface{ Reason() string }); ok {
		return r.Reason()
	}
	return ""
}

// Count counts the points of a space: how many there are, and how many of them
// the constraints leave.
func Count(s space.Space) (valid.Count, error) {
	set, err := valid.Of(s)
	if err != nil {
		return valid.Count{}, err
	}
	return set.Count(), nil
}

// First yields the valid points of a space in the order of the task file,
// lazily; continuous parameters are cut as grid search does by default.
func First(s space.Space) (iter.Seq[space.Point], error) {
	set, err := valid.Of(sequence.Discretize(s, 10))
	if err != nil {
		return nil, err
	}
	return func(yield func(space.Point) bool) {
		for v := range set.All(nil) {
			if !yield(set.Point(v)) {
				return
			}
		}
	}, nil
}
