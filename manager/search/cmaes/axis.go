package cmaes

import (
	"math"

	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/space"
)

// An axis is an ordered parameter, over the unit interval.
type axis struct {
	parameter int
	size      float64 // +Inf when continuous
	low, high float64
	log       bool
	value     func(rank float64) float64 // of a listed log parameter
}

// A kind is a parameter whose values have no order.
type kind struct {
	parameter int
	size      int
}

// lay sorts the parameters that have several values.
func lay(set *valid.Set) ([]axis, []kind) {
	var axes []axis
	var kinds []kind
	c := set.Space()
	for i := range c.Len() {
		d, p := c.Domain(i), c.Space().Parameters[i]
		switch {
		case d.Size() <= 1:
		case d.Ordinal() && d.Size() > 2:
			axes = append(axes, axis{parameter: i, size: d.Size(), low: p.Low, high: p.High, log: p.Log && p.Type != space.Choice,
				value: func(rank float64) float64 { return c.Coord(i, rank) }})
		default:
			kinds = append(kinds, kind{parameter: i, size: int(d.Size())})
		}
	}
	return axes, kinds
}

func (a *axis) discrete() bool { return !math.IsInf(a.size, 1) }

// place of a coordinate in the unit interval.
func (a *axis) place(c float64) float64 {
	switch {
	case a.log && a.discrete():
		return math.Log(a.value(c)/a.low) / math.Log(a.high/a.low)
	case a.log:
		return math.Log(c/a.low) / math.Log(a.high/a.low)
	case a.discrete():
		return (c + 0.5) / a.size
	}
	return (c - a.low) / (a.high - a.low)
}

// coordinate at a place. Beyond its ends a continuous axis is folded back, of a
// discrete one the outer values go on for ever.
func (a *axis) coordinate(at float64) float64 {
	if !a.discrete() {
		at = math.Abs(math.Mod(at, 2))
		if at > 1 {
			at = 2 - at
		}
		if a.log {
			return min(max(a.low*math.Pow(a.high/a.low, at), a.low), a.high)
		}
		return min(max(a.low+at*(a.high-a.low), a.low), a.high)
	}
	rank := math.Floor(at * a.size)
	if a.log {
		v := a.low * math.Pow(a.high/a.low, at)
		rank = math.Round((v - a.low) / (a.value(1) - a.value(0)))
	}
	rank = min(max(rank, 0), a.size-1)
	if a.log { // the midpoints lie in the logarithm
		for rank > 0 && at < a.edge(rank) {
			rank--
		}
		for rank < a.size-1 && at >= a.edge(rank+1) {
			rank++
		}
	}
	return rank
}

// edge is the place where a value begins.
func (a *axis) edge(rank float64) float64 {
	if a.log {
		return (a.place(rank-1) + a.place(rank)) / 2
	}
	return rank / a.size
}

// span is the part of the axis that belongs to a value.
func (a *axis) span(rank float64) (low, high float64) {
	low, high = math.Inf(-1), math.Inf(1)
	if rank > 0 {
		low = a.edge(rank)
	}
	if rank < a.size-1 {
		high = a.edge(rank + 1)
	}
	return low, high
}
