package gp

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/space"
)

// quantity is a number that a constraint computes from several parameters, such
// as the threads of a block, carried to the unit interval: by its logarithm where
// it is positive, so that a product is the sum of what it is made of. A process
// over the parameters alone would have to learn such a combination.
type quantity struct {
	space.Quantity
	log       bool
	low, span float64
}

// sightings is the number of valid points that the range of a quantity is
// taken from.
const sightings = 500

// derived are the features of what the constraints compute, at most one for
// each parameter. What is always the same, or says what another one says, is
// left out.
func derived(set *valid.Set) []dimension {
	quantities := set.Space().Quantities()
	if len(quantities) == 0 {
		return nil
	}
	points := sight(set)
	var out []dimension
	var seen [][]float64
	for _, q := range quantities {
		f, ok := newQuantity(q, points)
		if !ok || len(out) == set.Space().Len() {
			continue
		}
		places := make([]float64, len(points))
		for i, coords := range points {
			places[i] = f.place(coords)
		}
		if slices.ContainsFunc(seen, func(other []float64) bool { return alike(places, other) }) {
			continue
		}
		seen, out = append(seen, places), append(out, dimension{ordered: true, quantity: f, from: settled})
	}
	return out
}

// sight draws valid points, the same for every seed.
func sight(set *valid.Set) [][]float64 {
	rng := rand.New(rand.NewPCG(0, 0))
	var out [][]float64
	for range sightings {
		v, ok := set.Sample(rng)
		if !ok {
			break
		}
		out = append(out, set.Coords(v))
	}
	return out
}

// newQuantity takes the range from some points; false when there is none.
func newQuantity(q space.Quantity, points [][]float64) (*quantity, bool) {
	f := &quantity{Quantity: q}
	low, high := math.Inf(1), math.Inf(-1)
	for _, coords := range points {
		if x := f.of(coords); !math.IsNaN(x) {
			low, high = min(low, x), max(high, x)
		}
	}
	if f.log = low > 0; f.log {
		low, high = math.Log(low), math.Log(high)
	}
	f.low, f.span = low, high-low
	return f, f.span > 0 && !math.IsInf(f.span, 1)
}

// of is the quantity of a point, NaN where one of its parameters is absent.
func (f *quantity) of(coords []float64) float64 {
	for _, i := range f.Params() {
		if space.IsAbsent(coords[i]) {
			return math.NaN()
		}
	}
	return f.Value(coords)
}

// place is where a point lies in the range.
func (f *quantity) place(coords []float64) float64 {
	x := f.of(coords)
	if f.log {
		x = math.Log(x)
	}
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return absent
	}
	return (x - f.low) / f.span
}

// alike says whether two features order points the same way, or the opposite
// way: a quotient says what its divisor says where the dividend is fixed.
func alike(a, b []float64) bool {
	const same = 1e-6
	equal, mirrored := true, true
	for i := range a {
		equal = equal && math.Abs(a[i]-b[i]) < same
		mirrored = mirrored && math.Abs(a[i]+b[i]-1) < same
	}
	return equal || mirrored
}
