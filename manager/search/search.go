// Package search is where the manager asks for the next points of a task. It
// names the strategies and prepares their samplers; the algorithms live in the
// packages below it.
package search

import (
	"context"
	"fmt"
	"iter"

	"github.com/fleetune/fleetune/manager/search/bayesian"
	"github.com/fleetune/fleetune/manager/search/cmaes"
	"github.com/fleetune/fleetune/manager/search/evolve"
	"github.com/fleetune/fleetune/manager/search/fidelity"
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
	// Proposal is a point with the level to measure it at.
	Proposal = sampler.Proposal
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
	// Levels says that it needs a fidelity, and climbs its levels.
	Levels bool `json:"levels,omitempty"`
}

type entry struct {
	Strategy
	prepare func(Problem) (Sampler, error)
}

func registry() []entry {
	return []entry{
		{Strategy{"grid_search", "every valid point in the order of the task file", false, false}, sequence.Grid},
		{Strategy{"random", "valid points drawn uniformly, without repeats", false, false}, sequence.Random},
		{Strategy{"quasi_random", "scrambled Sobol' points carried into the valid set", false, false}, sequence.Quasi},
		{Strategy{"bayesian", "the usual choice: a Gaussian process and a Parzen estimator take turns", true, false}, prepared(bayesian.New)},
		{Strategy{"gp", "Gaussian process on the measured values and failures, expected improvement over the valid points", true, false}, prepared(gp.New)},
		{Strategy{"tpe", "tree-structured Parzen estimator: what the best points have in common and the others have not", true, false}, prepared(tpe.New)},
		{Strategy{"genetic", "children of the best points, one objective or several", true, false}, prepared(evolve.NewGenetic)},
		{Strategy{"nsga2", "the genetic algorithm for several objectives", true, false}, prepared(evolve.NewGenetic)},
		{Strategy{"nsga3", "the genetic algorithm for three objectives and more: the front is held apart along directions", true, false}, prepared(evolve.NewNiched)},
		{Strategy{"cma_es", "CMA-ES with margin and restarts: a normal distribution that moves towards what is better", true, false}, prepared(cmaes.New)},
		{Strategy{"local_search", "the neighbours of the best points", true, false}, prepared(evolve.NewLocal)},
		{Strategy{"asha", "many points measured roughly, the promising ones again and better, none waiting for another", true, true}, climbing(fidelity.NewASHA)},
		{Strategy{"hyperband", "brackets of such halvings, from many rough points to few full ones", true, true}, climbing(fidelity.NewHyperband)},
	}
}

// climbing gives a constructor of a sampler of several levels the registry's
// type; another sampler chooses its new points.
func climbing(f func(Problem, fidelity.Make) (*fidelity.Sampler, error)) func(Problem) (Sampler, error) {
	return prepared(func(p Problem) (*fidelity.Sampler, error) { return f(p, New) })
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
			if p.Fidelity != nil && !e.Levels {
				return nil, fmt.Errorf("optimization.fidelity is for asha and hyperband; %s measures every point in full", strategy)
			}
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

// Propose asks any sampler for up to n points and the levels to measure them
// at. Nothing without an error says that more can be chosen once what is
// pending has ended.
func Propose(ctx context.Context, s Sampler, history, pending []Observation, n int) ([]Proposal, error) {
	if l, ok := s.(sampler.Leveler); ok {
		return l.ProposeAt(ctx, history, pending, n)
	}
	flight := make([]space.Point, len(pending))
	for i := range pending {
		flight[i] = pending[i].Point
	}
	points, err := s.Propose(ctx, history, flight, n)
	out := make([]Proposal, len(points))
	for i, p := range points {
		out[i].Point = p
	}
	return out, err
}

// Expects says whether a sampler has a model that tells what there is left to
// gain.
func Expects(s Sampler) bool {
	_, ok := s.(sampler.Expecter)
	return ok
}

// ExpectedImprovement asks a sampler with a model what there is left to gain;
// known is false for the others. See sampler.Expecter.
func ExpectedImprovement(ctx context.Context, s Sampler, history, pending []Observation) (part float64, known bool, err error) {
	e, ok := s.(sampler.Expecter)
	if !ok {
		return 0, false, nil
	}
	flight := make([]space.Point, len(pending))
	for i := range pending {
		flight[i] = pending[i].Point
	}
	return e.ExpectedImprovement(ctx, history, flight)
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

// CountFor counts what a strategy goes through: grid search cuts continuous
// parameters into values, the others take them as they are.
func CountFor(strategy string, p Problem) (valid.Count, error) {
	if strategy == "grid_search" {
		cut, err := sequence.Cut(p)
		if err != nil {
			return valid.Count{}, err
		}
		p.Space = cut
	}
	return Count(p.Space)
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
