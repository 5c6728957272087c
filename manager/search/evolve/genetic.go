// Package evolve chooses points by varying good ones: a genetic algorithm
// (NSGA-II when there are several objectives) and local search. Both read
// their state off the history, so any manager can go on with them.
package evolve

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/fleetune/fleetune/manager/search/pareto"
	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/space"
)

// GeneticOptions are the settings of the genetic algorithm.
type GeneticOptions struct {
	// Population is the number of best points that parents are taken from, and
	// of points drawn uniformly at first.
	Population int `json:"population"`
	// Mutation is the expected number of parameters that change in a child.
	Mutation float64 `json:"mutation"`
}

// archive bounds the points that fronts are made of: comparing all pairs grows
// with the square.
const archive = 1000

// Genetic implements sampler.Sampler: parents by binary tournament among the
// best points so far, uniform crossover, mutation to other values (Deb et al.,
// NSGA-II, 2002; with survivors chosen from the whole history, one child at a
// time, as in its steady-state form).
type Genetic struct {
	problem sampler.Problem
	options GeneticOptions
	set     *valid.Set

	mu   sync.Mutex
	past *sampler.Past
}

// NewGenetic prepares the genetic algorithm.
func NewGenetic(p sampler.Problem) (*Genetic, error) {
	g := &Genetic{problem: p, options: GeneticOptions{Population: 20, Mutation: 1}}
	if err := p.Decode(&g.options); err != nil {
		return nil, err
	}
	if g.options.Population < 2 || g.options.Population > archive || g.options.Mutation < 0 {
		return nil, fmt.Errorf("population must be between 2 and %d, and mutation at least 0", archive)
	}
	set, err := p.Set()
	if err != nil {
		return nil, err
	}
	g.set, g.past = set, sampler.NewPast(set, &p)
	return g, nil
}

// Propose implements sampler.Sampler.
func (g *Genetic) Propose(ctx context.Context, history []sampler.Observation, pending []space.Point, n int) ([]space.Point, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.past.Read(history)
	parents := best(g.past.Trials(), g.options.Population)
	return propose(ctx, g.set, g.past, pending, g.problem.Seed, n, func(p *sampler.Picker, rng *rand.Rand) (valid.Vec, bool) {
		if p.Count() < g.options.Population || len(parents) < 2 {
			return nil, false
		}
		return g.child(parents, p, rng)
	})
}

// attempts is how often a child is bred anew when it is taken or invalid.
const attempts = 50

func (g *Genetic) child(parents []valid.Vec, p *sampler.Picker, rng *rand.Rand) (valid.Vec, bool) {
	for range attempts {
		a, b := tournament(parents, rng), tournament(parents, rng)
		v := append(valid.Vec(nil), a...)
		for i := range v {
			if rng.IntN(2) == 0 {
				v[i] = b[i]
			}
		}
		for i := range v {
			if rng.Float64()*float64(len(v)) < g.options.Mutation && !space.IsAbsent(v[i]) {
				v[i] = g.set.Draw(i, rng)
			}
		}
		if g.set.Repair(v, rng) && p.Free(g.set.Key(v)) {
			return v, true
		}
	}
	return nil, false
}

// tournament returns the better of two random parents, which are sorted.
func tournament(parents []valid.Vec, rng *rand.Rand) valid.Vec {
	return parents[min(rng.IntN(len(parents)), rng.IntN(len(parents)))]
}

// best returns the n best successful points, best first.
func best(trials []sampler.Trial, n int) []valid.Vec {
	var losses [][]float64
	var points []valid.Vec
	for _, t := range trials[max(0, len(trials)-20*archive):] {
		if t.Losses != nil {
			losses, points = append(losses, t.Losses), append(points, t.Vec)
		}
	}
	if len(losses) > archive && len(losses[0]) > 1 {
		losses, points = losses[len(losses)-archive:], points[len(points)-archive:]
	}
	order := pareto.Order(losses)
	out := make([]valid.Vec, 0, n)
	for _, i := range order[:min(n, len(order))] {
		out = append(out, points[i])
	}
	return out
}

// propose fills a round with chosen points, and with drawn ones where the
// choice has none.
func propose(ctx context.Context, set *valid.Set, past *sampler.Past, pending []space.Point, seed int64, n int,
	choose func(*sampler.Picker, *rand.Rand) (valid.Vec, bool)) ([]space.Point, error) {
	picker := sampler.NewPicker(set, past, pending)
	var out []space.Point
	for len(out) < n {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("choosing points: %w", err)
		}
		v, ok := choose(picker, rand.New(rand.NewPCG(uint64(seed), uint64(picker.Count()))))
		if !ok {
			v, ok = picker.Draw()
		}
		if !ok {
			break
		}
		picker.Take(v)
		out = append(out, set.Point(v))
	}
	if len(out) == 0 && n > 0 {
		return nil, sampler.ErrExhausted
	}
	return out, nil
}
