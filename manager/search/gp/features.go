// Package gp chooses points with Gaussian processes: one models the logarithm
// of the measured value, a second one where configurations fail, and the next
// point is the valid one with the largest logarithm of expected improvement
// times the probability to work.
package gp

import (
	"math"

	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/space"
)

// encoder turns vectors into features: an ordered parameter becomes its place
// in the unit interval (its rank, so that 16, 32, 64 are evenly spaced; the
// logarithm for log parameters), any other one its rank, which is only
// compared for equality. An absent parameter is -1.
//
// An ordered parameter of few values has a second feature that is compared for
// equality. Distance explains trends along the values; the twin explains values
// that stand out, such as powers of two or one that happens to fill the cache.
// A twin is reckoned with once every value could have been seen.
//
// What the constraints compute from several parameters is a feature as well:
// see quantity.
type encoder struct {
	set  *valid.Set
	dims []dimension
}

type dimension struct {
	parameter int
	ordered   bool
	twin      bool
	// from is the number of results from which on it is reckoned with: earlier
	// it could only mistake chance for a rule.
	from  int
	scale func(rank float64) float64
	// quantity is set where the feature is computed from several parameters.
	quantity *quantity
}

func newEncoder(set *valid.Set) *encoder {
	e := &encoder{set: set}
	c := set.Space()
	for i := range c.Len() {
		domain := c.Domain(i)
		size := domain.Size()
		if size <= 1 {
			continue // says nothing
		}
		d := dimension{parameter: i, ordered: domain.Ordinal() && size > 2, scale: func(rank float64) float64 { return rank }}
		p := c.Space().Parameters[i]
		switch {
		case !d.ordered:
		case p.Log && p.Type != space.Choice:
			span := math.Log(p.High / p.Low)
			d.scale = func(rank float64) float64 { return math.Log(c.Coord(i, rank)/p.Low) / span }
		case math.IsInf(size, 1):
			d.scale = func(value float64) float64 { return (value - p.Low) / (p.High - p.Low) }
		default:
			d.scale = func(rank float64) float64 { return rank / (size - 1) }
		}
		e.dims = append(e.dims, d)
	}
	for _, d := range e.dims {
		if size := c.Domain(d.parameter).Size(); d.ordered && size <= mostTwin {
			e.dims = append(e.dims, dimension{parameter: d.parameter, twin: true, from: max(settled, int(size)), scale: func(rank float64) float64 { return rank }})
		}
	}
	e.dims = append(e.dims, derived(set)...)
	return e
}

// mostTwin is the number of values up to which an ordered parameter has a twin:
// of many values each is seen too rarely to stand out.
const mostTwin = 40

// settled is the number of results from which on more than the parameters
// themselves is reckoned with.
const settled = 10

const absent = -1

func (e *encoder) row(v valid.Vec) []float64 {
	x := make([]float64, len(e.dims))
	var coords []float64
	for k, d := range e.dims {
		x[k] = absent
		if d.quantity != nil {
			if coords == nil {
				coords = e.set.Coords(v)
			}
			x[k] = d.quantity.place(coords)
			continue
		}
		if c := v[d.parameter]; !space.IsAbsent(c) {
			x[k] = d.scale(c)
		}
	}
	return x
}

// columns lays the features of many points out dimension by dimension.
func (e *encoder) columns(points []valid.Vec) [][]float64 {
	columns := make([][]float64, len(e.dims))
	for k := range columns {
		columns[k] = make([]float64, len(points))
	}
	for i, v := range points {
		for k, x := range e.row(v) {
			columns[k][i] = x
		}
	}
	return columns
}

// gap is the squared distance in one dimension before scaling: that of the
// unit interval for ordered parameters, 1 for different values otherwise.
func (d *dimension) gap(a, b float64) float64 {
	if a == b {
		return 0
	}
	if !d.ordered || a == absent || b == absent {
		return 1
	}
	return (a - b) * (a - b)
}
