package gp

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"

	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/valid"
	"gonum.org/v1/gonum/floats"
)

// ground is a list of candidates with their features.
type ground struct {
	version int
	points  []valid.Vec
	keys    []valid.Key
	columns [][]float64
	works   []float64 // log probability to work
}

func (s *Sampler) newGround(points []valid.Vec) *ground {
	s.grounds++
	g := &ground{version: s.grounds, points: points, keys: make([]valid.Key, len(points)),
		works: make([]float64, len(points)), columns: s.encoder.columns(points)}
	for i, v := range points {
		g.keys[i] = s.set.Key(v)
	}
	return g
}

// work adds the log probability to work, by the failure model.
func (g *ground) work(b *belief) {
	b.posterior.means(b.values, b.mean)
	for i, mean := range b.mean {
		deviation := math.Sqrt(b.posterior.variance(i) + b.params.noise)
		g.works[i] += logNormalCDF((mean + optimism) / max(deviation, 1e-6))
	}
}

// keep adds the log probability to meet a measured constraint (Gelbart, Snoek
// and Adams, "Bayesian optimization with unknown constraints", 2014).
func (g *ground) keep(b *belief) {
	b.posterior.means(b.values, b.mean)
	bound := -b.lesson.mean / b.lesson.spread
	for i, mean := range b.mean {
		deviation := math.Sqrt(b.posterior.variance(i) + b.params.noise)
		g.works[i] += logNormalCDF((bound - mean) / max(deviation, 1e-6))
	}
}

// top returns the n free candidates with the largest gain times the probability
// to work, as positions, the best first.
func (g *ground) top(n int, views []view, free func(valid.Key) bool) []int {
	goals := len(views[0].goals)
	means, deviations, logs := make([]float64, goals), make([]float64, goals), make([]float64, len(views))
	var out []int
	var gains []float64
	for i := range g.points {
		if !free(g.keys[i]) {
			continue
		}
		for w := range views {
			for k, b := range views[w].goals {
				means[k], deviations[k] = b.mean[i], math.Sqrt(b.posterior.variance(i))
			}
			logs[w] = views[w].gain.expect(means, deviations)
		}
		a := logs[0]
		if len(logs) > 1 {
			a = floats.LogSumExp(logs)
		}
		a += g.works[i]
		if len(out) == n && !(a > gains[n-1]) {
			continue
		}
		at := sort.Search(len(out), func(k int) bool { return a > gains[k] })
		out, gains = slices.Insert(out, at, i), slices.Insert(gains, at, a)
		if len(out) > n {
			out, gains = out[:n], gains[:n]
		}
	}
	return out
}

// Sizes of a climb from a sampled pool to better candidates.
const (
	climbs     = 3
	climbKept  = 150 // candidates kept for a batch
	climbFrom  = 6   // candidates whose neighbours are looked at
	climbSteps = 450 // neighbours at most
)

// higher returns the best candidates with the neighbours of the very best; nil
// when these have none that are new.
func (r *round) higher() *ground {
	rng := rand.New(rand.NewPCG(uint64(r.problem.Seed)+5, uint64(r.Count())))
	order := r.ground.top(climbKept, r.views, r.Free)
	seen := map[valid.Key]struct{}{}
	var out []valid.Vec
	for _, i := range order {
		seen[r.ground.keys[i]] = struct{}{}
		out = append(out, r.ground.points[i])
	}
	from := out[:min(len(out), climbFrom)]
	for k, v := range from {
		share := (k + 1) * climbSteps / len(from)
		neighbors := r.set.Neighbors(v, rng)
		rng.Shuffle(len(neighbors), func(i, j int) { neighbors[i], neighbors[j] = neighbors[j], neighbors[i] })
		for _, w := range neighbors {
			key := r.set.Key(w)
			if _, ok := seen[key]; ok || !r.Free(key) || len(out) >= len(order)+share {
				continue
			}
			seen[key] = struct{}{}
			out = append(out, w)
		}
	}
	if len(out) == len(order) {
		return nil
	}
	return r.newGround(out)
}

// candidates returns every valid point when those are few enough for n points
// of data over all models, else a sample of them with the neighbours of the best.
func (r *round) candidates(n int) (g *ground, all bool) {
	if r.set.Exact() && r.set.Len() <= enumerate && r.set.Len()*int64(n) <= solvedCells {
		if r.all == nil {
			points := make([]valid.Vec, 0, r.set.Len())
			for v := range r.set.All(nil) {
				points = append(points, v)
			}
			r.all = r.newGround(points)
		}
		clear(r.all.works)
		return r.all, true
	}
	if r.among != nil {
		return r.newGround(r.among), false
	}
	return r.newGround(r.pool()), false
}

// Sizes of a sampled pool.
const (
	poolDraws   = 600
	poolParents = 8
	poolMost    = 1000
)

func (r *round) pool() []valid.Vec {
	rng := rand.New(rand.NewPCG(uint64(r.problem.Seed)+1, uint64(r.Count())))
	seen := map[valid.Key]struct{}{}
	var out []valid.Vec
	add := func(v valid.Vec) {
		k := r.set.Key(v)
		if _, ok := seen[k]; ok || !r.Free(k) || len(out) >= poolMost {
			return
		}
		seen[k] = struct{}{}
		out = append(out, v)
	}
	for _, v := range sampler.Leaders(r.trials, poolParents) {
		for _, w := range r.set.Neighbors(v, rng) {
			add(w)
			if len(out) >= poolMost-poolDraws {
				break
			}
		}
	}
	for range poolDraws {
		if v, ok := r.set.Sample(rng); ok {
			add(v)
		}
	}
	return out
}
