// Package tpe chooses points by the tree-structured Parzen estimator: one
// density over the best points, one over the others, and the next point is the
// drawn one whose ratio of the two is largest (Bergstra et al., "Algorithms for
// hyper-parameter optimization", 2011). Only valid points that are neither
// measured nor pending are drawn. Points in flight count among the others, so
// that a batch spreads (constant liar).
package tpe

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"

	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/space"
)

// Options are the settings of the sampler.
type Options struct {
	// Startup is the number of points drawn uniformly before densities are used.
	Startup int `json:"startup"`
	// Candidates drawn for each point.
	Candidates int `json:"candidates"`
}

// Sampler implements sampler.Sampler.
type Sampler struct {
	problem sampler.Problem
	options Options
	set     *valid.Set
	axes    []axis

	mu   sync.Mutex
	past *sampler.Past
}

// New prepares the sampler.
func New(p sampler.Problem) (*Sampler, error) {
	s := &Sampler{problem: p, options: Options{Startup: 10, Candidates: 64}}
	if err := p.Decode(&s.options); err != nil {
		return nil, err
	}
	if s.options.Startup < 1 || s.options.Candidates < 1 || s.options.Candidates > 10_000 {
		return nil, fmt.Errorf("startup must be at least 1 and candidates between 1 and 10000")
	}
	set, err := p.Set()
	if err != nil {
		return nil, err
	}
	s.set, s.axes, s.past = set, axes(set), sampler.NewPast(set, &p)
	return s, nil
}

// Propose implements sampler.Sampler.
func (s *Sampler) Propose(ctx context.Context, history []sampler.Observation, pending []space.Point, n int) ([]space.Point, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.past.Read(history)
	picker := sampler.NewPicker(s.set, s.past, pending)
	good, bad := s.split()
	for _, t := range picker.Flight() {
		bad = append(bad, t.Vec)
	}
	var out []space.Point
	var worse *density
	better := newDensity(s.axes, good)
	for len(out) < n {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("choosing points: %w", err)
		}
		var v valid.Vec
		ok := false
		if len(good) > 0 && picker.Count() >= s.options.Startup {
			if worse == nil || len(out) < 64 {
				worse = newDensity(s.axes, thin(bad, mostBad))
			}
			if best := s.best(1, better, worse, picker); len(best) > 0 {
				v, ok = best[0], true
			}
		}
		if !ok {
			v, ok = picker.Draw()
		}
		if !ok {
			break
		}
		picker.Take(v)
		bad = append(bad, v)
		out = append(out, s.set.Point(v))
	}
	if len(out) == 0 && n > 0 {
		return nil, sampler.ErrExhausted
	}
	return out, nil
}

// Candidates returns up to n free points that the densities like best of those
// they drew, the best first; none while too little is known. It is as pure as
// Propose.
func (s *Sampler) Candidates(history []sampler.Observation, pending []space.Point, n int) []valid.Vec {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.past.Read(history)
	picker := sampler.NewPicker(s.set, s.past, pending)
	good, bad := s.split()
	if len(good) == 0 || picker.Count() < s.options.Startup {
		return nil
	}
	for _, t := range picker.Flight() {
		bad = append(bad, t.Vec)
	}
	return s.best(n, newDensity(s.axes, good), newDensity(s.axes, thin(bad, mostBad)), picker)
}

// best draws candidates from the good points' density and returns the n of the
// largest ratios, the best first.
func (s *Sampler) best(n int, better, worse *density, picker *sampler.Picker) []valid.Vec {
	rng := rand.New(rand.NewPCG(uint64(s.problem.Seed), uint64(picker.Count())))
	scratch := make([]float64, 0, mostBad+1)
	var out []valid.Vec
	var ratios []float64
	found := map[valid.Key]struct{}{}
	for tries := 0; len(found) < s.options.Candidates && tries < 8*s.options.Candidates; tries++ {
		v, ok := s.draw(better, rng)
		if !ok {
			continue
		}
		key := s.set.Key(v)
		if _, ok := found[key]; ok || !picker.Free(key) {
			continue
		}
		found[key] = struct{}{}
		ratio := better.log(v, scratch) - worse.log(v, scratch)
		at := sort.Search(len(ratios), func(k int) bool { return ratio > ratios[k] })
		if at < n {
			out, ratios = slices.Insert(out, at, v), slices.Insert(ratios, at, ratio)
			out, ratios = out[:min(len(out), n)], ratios[:min(len(ratios), n)]
		}
	}
	return out
}

// draw samples the mixture, its uniform component included.
func (s *Sampler) draw(d *density, rng *rand.Rand) (valid.Vec, bool) {
	if rng.IntN(len(d.points)+1) == 0 {
		return s.set.Sample(rng)
	}
	v := d.draw(rng)
	return v, s.set.Repair(v, rng)
}
