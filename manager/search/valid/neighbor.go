package valid

import (
	"math"
	"math/rand/v2"

	"github.com/fleetune/fleetune/proto/space"
)

// maxAlternatives is the number of values up to which all others of a
// parameter are neighbours; wider ones offer steps of growing length.
const maxAlternatives = 32

// Neighbors returns the valid points that differ from v in one parameter.
// Parameters that come into being by the change get values drawn from rng. Of
// a wide parameter, and of a continuous one, only steps of growing length to
// both sides are taken.
func (s *Set) Neighbors(v Vec, rng *rand.Rand) []Vec {
	var out []Vec
	for l := range v {
		if space.IsAbsent(v[l]) {
			continue
		}
		for _, c := range s.alternatives(l, v[l]) {
			if w, ok := s.with(v, l, c, rng); ok {
				out = append(out, w)
			}
		}
	}
	return out
}

func (s *Set) alternatives(l int, at float64) []float64 {
	size := s.levels[l].size
	var out []float64
	switch {
	case size <= maxAlternatives:
		for c := 0.0; c < size; c++ {
			if c != at {
				out = append(out, c)
			}
		}
	case !math.IsInf(size, 1):
		for step := 1.0; step < size; step = math.Ceil(step * 1.8) {
			if at-step >= 0 {
				out = append(out, at-step)
			}
			if at+step < size {
				out = append(out, at+step)
			}
		}
	default:
		u := s.Unit(l, at)
		for step := 0.001; step < 0.6; step *= 2 {
			for _, w := range []float64{u - step, u + step} {
				if w >= 0 && w <= 1 {
					out = append(out, s.Place(l, w))
				}
			}
		}
	}
	return out
}

// Unit is where a coordinate of parameter l lies in the unit interval: the
// inverse of Place. A value of a listed parameter lies in the middle of its
// part.
func (s *Set) Unit(l int, at float64) float64 {
	if size := s.levels[l].size; !math.IsInf(size, 1) {
		return (at + 0.5) / size
	}
	p := &s.space.Space().Parameters[l]
	if p.Log {
		return math.Log(at/p.Low) / math.Log(p.High/p.Low)
	}
	return (at - p.Low) / (p.High - p.Low)
}

// with changes one coordinate and completes the parameters that this makes
// appear or vanish.
func (s *Set) with(v Vec, l int, c float64, rng *rand.Rand) (Vec, bool) {
	w := append(Vec(nil), v...)
	w[l] = c
	return w, s.Repair(w, rng)
}

// Repair makes the presence of parameters right: those whose condition is
// false vanish, those that appear get a value drawn from rng. It reports
// whether the result is valid.
func (s *Set) Repair(v Vec, rng *rand.Rand) bool {
	coords := make([]float64, len(v))
	for i := range v {
		exists := s.space.Condition(i) == nil || s.space.Exists(i, coords)
		switch {
		case !exists:
			v[i] = space.Absent()
		case space.IsAbsent(v[i]):
			v[i] = s.Place(i, rng.Float64())
		}
		coords[i] = s.coord(i, v[i])
	}
	if s.table {
		_, ok := s.Index(v)
		return ok
	}
	return s.space.Violated(coords) == nil
}

// Draw draws a value of one parameter uniformly.
func (s *Set) Draw(l int, rng *rand.Rand) float64 { return s.Place(l, rng.Float64()) }
