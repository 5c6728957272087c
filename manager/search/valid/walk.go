package valid

import (
	"iter"
	"math"
	"math/rand/v2"

	"github.com/fleetune/fleetune/proto/space"
)

// All yields the points in the order of the task file, lazily, from a start
// on: the start itself if it is valid, else what follows it. A nil start means
// the first point. Continuous parameters have no order to walk in: their sets
// yield nothing.
func (s *Set) All(start Vec) iter.Seq[Vec] {
	return func(yield func(Vec) bool) {
		if s.Continuous() || s.Empty() {
			return
		}
		w := walker{set: s, vec: make(Vec, len(s.levels)), coords: make([]float64, len(s.levels)), start: start, yield: yield}
		w.walk(0, s.root, start != nil)
	}
}

// walker descends the diagram with backtracking.
type walker struct {
	set    *Set
	vec    Vec
	coords []float64
	start  Vec
	yield  func(Vec) bool
}

// walk visits all points below a node; tight means that the prefix equals the
// start's. It returns false when the consumer has stopped.
func (w *walker) walk(l int, n *node, tight bool) bool {
	if l == len(w.vec) {
		return w.yield(append(Vec(nil), w.vec...))
	}
	low := math.Inf(-1)
	if tight && !space.IsAbsent(w.start[l]) {
		low = w.start[l]
	}
	if n.ranks != nil {
		for e, rank := range n.ranks {
			c := coordinate(rank)
			if c < low {
				continue
			}
			if !w.step(l, c, n.next[e], tight && (c == low || space.IsAbsent(c))) {
				return false
			}
		}
		return true
	}
	if w.set.levels[l].loose && !w.set.space.Exists(l, w.coords) {
		return w.step(l, space.Absent(), n.next[0], tight)
	}
	for c := max(0, low); c < w.set.levels[l].size; c++ {
		if !w.step(l, c, n.next[0], tight && c == low) {
			return false
		}
	}
	return true
}

func (w *walker) step(l int, c float64, next *node, tight bool) bool {
	w.vec[l], w.coords[l] = c, w.set.coord(l, c)
	if !w.set.admits(l, w.coords) {
		return true
	}
	return w.walk(l+1, next, tight)
}

// admits checks the residual constraints whose last parameter is l.
func (s *Set) admits(l int, coords []float64) bool {
	for _, e := range s.residual[l] {
		if e.Present(coords) && !e.Holds(coords) {
			return false
		}
	}
	return true
}

// maxDraws bounds the draws of one sample when constraints reject.
const maxDraws = 100_000

// Sample draws a point uniformly: every point of a discrete set is equally
// likely; continuous parameters are uniform over their range (over its
// logarithm when log). It fails when rejection found no point in 100,000 draws.
func (s *Set) Sample(rng *rand.Rand) (Vec, bool) {
	u := make([]float64, len(s.levels))
	for range maxDraws {
		for i := range u {
			u[i] = rng.Float64()
		}
		if v, ok := s.Map(u); ok {
			return v, true
		}
		if s.Empty() {
			break
		}
	}
	return nil, false
}

// Map carries a point of the unit cube to a valid point, level by level by the
// counts below each edge, so that evenly spread inputs give evenly spread
// points. It fails when the point breaks a constraint outside the diagram.
func (s *Set) Map(u []float64) (Vec, bool) {
	v, coords, n := make(Vec, len(s.levels)), make([]float64, len(s.levels)), s.root
	if n.count == 0 {
		return nil, false
	}
	for l := range s.levels {
		switch {
		case n.ranks != nil:
			e := 0
			for at := u[l] * n.count; e < len(n.upto)-1 && n.upto[e] <= at; {
				e++
			}
			v[l], n = coordinate(n.ranks[e]), n.next[e]
		case s.levels[l].loose && !s.space.Exists(l, coords):
			v[l], n = space.Absent(), n.next[0]
		default:
			v[l], n = s.Place(l, u[l]), n.next[0]
		}
		coords[l] = s.coord(l, v[l])
		if !s.admits(l, coords) {
			return nil, false
		}
	}
	return v, true
}

// Place carries a place in the unit interval to a coordinate of parameter l:
// each value of a listed parameter has an equal part of the interval.
func (s *Set) Place(l int, u float64) float64 {
	size := s.levels[l].size
	if !math.IsInf(size, 1) {
		return min(math.Floor(u*size), size-1)
	}
	p := &s.space.Space().Parameters[l]
	if p.Log {
		return min(max(p.Low*math.Pow(p.High/p.Low, u), p.Low), p.High)
	}
	return p.Low + u*(p.High-p.Low)
}

// A Count says how many points a space has.
type Count struct {
	// Valid points, and Total points when no constraint is asked; both are
	// +Inf when a parameter is continuous.
	Valid float64
	Total float64
	// Exact is false when Valid rests on drawing points, or on a size beyond
	// what counts exactly (2^53).
	Exact bool
	// Share of Draws points, drawn evenly from what the diagram leaves, that met
	// the constraints outside it; 1 of none where there are none.
	Share float64
	Draws int
}

// estimateDraws is the number of draws behind an estimated count; its standard
// error is then below 0.4 % of the points in the diagram.
const estimateDraws = 20_000

// Count returns the size of the set.
func (s *Set) Count() Count {
	c := Count{Valid: s.root.count, Total: s.total(), Exact: s.Exact() || s.Empty(), Share: 1}
	if s.rejects && !s.Empty() {
		c.Share, c.Draws = s.Share(), estimateDraws
	}
	if s.Continuous() {
		if !s.Empty() {
			c.Valid = math.Inf(1)
		}
		return c
	}
	c.Valid *= c.Share
	return c
}

// Share estimates, from draws with a fixed seed, which part of the diagram's
// points the constraints outside it leave; 1 when there are none.
func (s *Set) Share() float64 {
	s.estimate.Do(func() {
		s.share = 1
		if !s.rejects {
			return
		}
		rng := rand.New(rand.NewPCG(1, 2))
		u, hits := make([]float64, len(s.levels)), 0
		for range estimateDraws {
			for i := range u {
				u[i] = rng.Float64()
			}
			if _, ok := s.Map(u); ok {
				hits++
			}
		}
		s.share = float64(hits) / estimateDraws
	})
	return s.share
}

// total counts the points that meet the conditions alone.
func (s *Set) total() float64 {
	if s.Continuous() {
		return math.Inf(1)
	}
	total, conditions := 1.0, false
	for i := range s.levels {
		total *= s.levels[i].size
		conditions = conditions || s.space.Condition(i) != nil
	}
	if !conditions {
		return total
	}
	b := newBuilder(s.space, nil)
	for {
		root, err := b.build()
		if err == nil {
			return root.count
		}
		b.relax()
	}
}
