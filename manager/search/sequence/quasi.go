package sequence

import (
	"math"

	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/sobol"
	"github.com/fleetune/fleetune/manager/search/valid"
)

// Quasi proposes scrambled Sobol' points, carried into the valid set so that
// it is filled evenly.
func Quasi(p sampler.Problem) (sampler.Sampler, error) {
	if err := p.Decode(&struct{}{}); err != nil {
		return nil, err
	}
	set, err := p.Set()
	if err != nil {
		return nil, err
	}
	points := sobol.New(set.Space().Len(), uint64(p.Seed))
	// Once the points bring little new, a permutation of what is left ends it.
	rest := newPermutation(uint64(max(set.Len(), 1)), uint64(p.Seed))
	turn := int64(math.MaxUint32)
	if set.Exact() {
		turn = min(4*set.Len(), turn)
	}
	return newWalk(set, &p, func(i int64) (valid.Vec, bool, bool) {
		switch {
		case set.Empty():
			return nil, false, true
		case i < turn:
			v, ok := set.Map(points.At(uint32(i)))
			return v, ok, false
		case set.Exact() && i-turn < set.Len():
			return set.At(int64(rest.at(uint64(i - turn)))), true, false
		}
		return nil, false, true
	}, turnPatience(set)), nil
}

// turnPatience outlasts every position of an indexed set.
func turnPatience(set *valid.Set) int64 {
	if set.Exact() {
		return 5 * set.Len()
	}
	return 100_000
}
