// Package cmaes chooses points by CMA-ES: a normal distribution over the
// ordered parameters moves, stretches and turns towards what was better
// (Hansen, "The CMA evolution strategy: a tutorial", 2016). Ordered parameters
// with few values keep a margin of probability outside their present value
// (Hamano et al., "CMA-ES with margin", 2022), the others have a probability
// for each value that moves along (Hamano et al., "CatCMA", 2024). When a run
// has converged another begins with another population (BIPOP: Hansen,
// "Benchmarking a BI-population CMA-ES on the BBOB-2009 function testbed", 2009).
//
// The distribution is a fold over the history: each group of consecutive
// numbers is a generation, whoever proposed its points, so any manager can go
// on with it and any batch size will do.
package cmaes

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

// Options are the settings of the sampler.
type Options struct {
	// Population is the number of points of a generation; 0 means 4 + 3 ln(d)
	// for d parameters.
	Population int `json:"population"`
	// Startup is the number of points drawn uniformly, of which the best is where
	// the first run begins.
	Startup int `json:"startup"`
	// Sigma is the deviation at the beginning of a run, in parts of each range.
	Sigma float64 `json:"sigma"`
}

// Sampler implements sampler.Sampler.
type Sampler struct {
	problem sampler.Problem
	options Options
	set     *valid.Set
	axes    []axis
	kinds   []kind

	mu   sync.Mutex
	past *sampler.Past
	// search is a memo: where the first read trials of an epoch lead.
	search *search
	epoch  int
}

// New prepares the sampler.
func New(p sampler.Problem) (*Sampler, error) {
	s := &Sampler{problem: p, options: Options{Startup: 10, Sigma: 0.25}}
	if err := p.Decode(&s.options); err != nil {
		return nil, err
	}
	o := s.options
	if o.Startup < 1 || o.Population < 0 || o.Population == 1 || o.Population > 10_000 || o.Sigma <= 0 || o.Sigma > 1 {
		return nil, fmt.Errorf("startup must be at least 1, population 0 or 2 to 10000, and sigma above 0 and at most 1")
	}
	set, err := p.Set()
	if err != nil {
		return nil, err
	}
	s.set, s.past = set, sampler.NewPast(set, &p)
	s.axes, s.kinds = lay(set)
	if s.options.Population == 0 {
		s.options.Population = 4 + int(3*math.Log(float64(max(len(s.axes)+len(s.kinds), 1))))
	}
	return s, nil
}

// Propose implements sampler.Sampler.
func (s *Sampler) Propose(ctx context.Context, history []sampler.Observation, pending []space.Point, n int) ([]space.Point, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.past.Read(history)
	if s.search == nil || s.epoch != s.past.Epoch() {
		s.search, s.epoch = s.newSearch(), s.past.Epoch()
	}
	s.search.follow(s.past.Trials())
	picker := sampler.NewPicker(s.set, s.past, pending)
	var out []space.Point
	for len(out) < n {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("choosing points: %w", err)
		}
		v, ok := s.sample(picker)
		if !ok {
			v, ok = picker.Draw()
		}
		if !ok {
			break
		}
		picker.Take(v)
		out = append(out, s.set.Point(v))
	}
	if len(out) == 0 && n > 0 {
		return nil, sampler.ErrExhausted
	}
	return out, nil
}

const (
	attempts = 200 // draws for one point
	widening = 20  // draws after which the distribution is widened, each time
)

// sample draws a free point of the distribution. Where that is narrow and all
// its points are taken, it is widened.
func (s *Sampler) sample(p *sampler.Picker) (valid.Vec, bool) {
	run := s.search.run
	if p.Count() < s.options.Startup || run == nil {
		return nil, false
	}
	rng := rand.New(rand.NewPCG(uint64(s.problem.Seed), uint64(p.Count())))
	width := 1.0
	for try := range attempts {
		if try > 0 && try%widening == 0 {
			width *= 1.5
		}
		v := make(valid.Vec, s.set.Space().Len())
		for k, at := range run.draw(width, rng) {
			v[s.axes[k].parameter] = s.axes[k].coordinate(at)
		}
		for k, c := range s.kinds {
			v[c.parameter] = run.pick(k, width, rng)
		}
		if s.set.Repair(v, rng) && p.Free(s.set.Key(v)) {
			return v, true
		}
	}
	return nil, false
}
