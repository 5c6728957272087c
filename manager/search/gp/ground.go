package gp

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/fleetune/fleetune/manager/search/valid"
)

// ground is a list of candidates with their features.
type ground struct {
	version int
	points  []valid.Vec
	keys    []valid.Key
	columns [][]float64
	mean    []float64
	works   []float64 // log probability to work
}

func (s *Sampler) newGround(points []valid.Vec) *ground {
	s.grounds++
	g := &ground{version: s.grounds, points: points, keys: make([]valid.Key, len(points)),
		mean: make([]float64, len(points)), works: make([]float64, len(points)), columns: s.encoder.columns(points)}
	for i, v := range points {
		g.keys[i] = s.set.Key(v)
	}
	return g
}

// work fills in the log probability to work from the failure model.
func (g *ground) work(p *posterior, z []float64) {
	p.means(z, g.works)
	for i, mean := range g.works {
		deviation := math.Sqrt(p.variance(i) + p.params.noise)
		g.works[i] = logNormalCDF((mean + optimism) / max(deviation, 1e-6))
	}
}

// candidates returns every valid point when those are few enough for n points
// of data, else a sample of them with the neighbours of the best.
func (r *round) candidates(n int) *ground {
	if r.set.Exact() && r.set.Len() <= enumerate && r.set.Len()*int64(n) <= solvedCells {
		if r.all == nil {
			points := make([]valid.Vec, 0, r.set.Len())
			for v := range r.set.All(nil) {
				points = append(points, v)
			}
			r.all = r.newGround(points)
		}
		clear(r.all.works)
		return r.all
	}
	return r.newGround(r.pool())
}

// Sizes of a sampled pool.
const (
	poolDraws   = 900
	poolParents = 8
	poolMost    = 1500
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
	for _, v := range r.leaders(poolParents) {
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

// leaders are the best measured points.
func (r *round) leaders(n int) []valid.Vec {
	var order []int
	for i, t := range r.trials {
		if t.Losses != nil {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch x, y := r.trials[a].Losses[0], r.trials[b].Losses[0]; {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	var out []valid.Vec
	for _, i := range order[:min(n, len(order))] {
		out = append(out, r.trials[i].Vec)
	}
	return out
}
