// Package evolve chooses points by varying good ones: a genetic algorithm
// (NSGA-II or NSGA-III when there are several objectives) and local search. All
// read their state off the history, so any manager can go on with them.
package evolve

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"

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
// time, as in its steady-state form). Points that miss measured constraints
// rank behind those that meet them.
type Genetic struct {
	problem sampler.Problem
	options GeneticOptions
	set     *valid.Set
	along   [][]float64 // directions of NSGA-III, nil for NSGA-II

	mu   sync.Mutex
	past *sampler.Past
}

// NewGenetic prepares the genetic algorithm, which is NSGA-II when there are
// several objectives.
func NewGenetic(p sampler.Problem) (*Genetic, error) { return prepare(p, 20) }

// NewNiched prepares NSGA-III: the front is held apart along directions, as many
// as fit the population, rather than by the gaps between its points, which say
// little when there are more than two objectives.
func NewNiched(p sampler.Problem) (*Genetic, error) {
	g, err := prepare(p, 36)
	if err != nil {
		return nil, err
	}
	objectives := max(len(p.Objectives), 1)
	h := divisions(objectives, g.options.Population)
	g.along = directions(objectives, h)
	if h < objectives && objectives > 2 {
		g.along = append(g.along, inner(g.along)...)
	}
	return g, nil
}

func prepare(p sampler.Problem, population int) (*Genetic, error) {
	g := &Genetic{problem: p, options: GeneticOptions{Population: population, Mutation: 1}}
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
	parents := g.parents()
	return propose(ctx, g.set, g.past, pending, g.problem.Seed, n, func(p *sampler.Picker, rng *rand.Rand) (valid.Vec, bool) {
		if p.Count() < g.options.Population || len(parents) < 2 {
			return nil, false
		}
		return g.child(parents, p, rng)
	})
}

// A parent is a point that may have children; of two the one of the lower grade
// does.
type parent struct {
	vec   valid.Vec
	grade int
}

func (g *Genetic) parents() []parent {
	if g.along != nil {
		return survivors(g.past.Trials(), g.options.Population, g.along)
	}
	var out []parent
	for i, v := range sampler.Leaders(g.past.Trials(), g.options.Population) {
		out = append(out, parent{v, i})
	}
	return out
}

// attempts is how often a child is bred anew when it is taken or invalid.
const attempts = 50

func (g *Genetic) child(parents []parent, p *sampler.Picker, rng *rand.Rand) (valid.Vec, bool) {
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
				v[i] = g.mutate(i, v[i], rng)
			}
		}
		if g.set.Repair(v, rng) && p.Free(g.set.Key(v)) {
			return v, true
		}
	}
	return nil, false
}

// fewSteps is the number of values up to which mutation draws any of them: of
// few values none is much nearer than another.
const fewSteps = 8

// mutate changes a parameter: to any value, or, of an ordered parameter with
// many values, by a step half of the time.
func (g *Genetic) mutate(i int, at float64, rng *rand.Rand) float64 {
	domain := g.set.Space().Domain(i)
	if !domain.Ordinal() || domain.Size() <= fewSteps || rng.IntN(2) == 0 {
		return g.set.Draw(i, rng)
	}
	return g.set.Place(i, min(max(g.set.Unit(i, at)+step(rng.Float64()), 0), 1))
}

// step is a step of polynomial mutation, -1 to 1, mostly short (Deb and Agrawal,
// "Simulated binary crossover for continuous search space", 1995, with the index
// 20 that is usual).
func step(u float64) float64 {
	const index = 20
	if u < 0.5 {
		return math.Pow(2*u, 1.0/(index+1)) - 1
	}
	return 1 - math.Pow(2*(1-u), 1.0/(index+1))
}

// tournament returns the better of two random parents.
func tournament(parents []parent, rng *rand.Rand) valid.Vec {
	a, b := parents[rng.IntN(len(parents))], parents[rng.IntN(len(parents))]
	if b.grade < a.grade {
		return b.vec
	}
	return a.vec
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
