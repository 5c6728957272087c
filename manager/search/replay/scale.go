package replay

import (
	"errors"
	"math"
	"slices"

	"github.com/fleetune/fleetune/manager/search/pareto"
	"github.com/fleetune/fleetune/proto/task"
)

// A scale tells how much of what a table holds a search has found. With one
// objective that is the optimum over the best so far (or its inverse where more
// is better); with several, the hypervolume of the front so far in parts of that
// of the table's front, each objective running from its best value in the table
// to its worst, the reference.
type scale struct {
	objectives  []task.Objective
	best, worst []float64 // losses
	ratio       bool      // every value is above 0, so that ratios mean something
	volume      float64   // of the table's front
}

// errNothing says that a table has no row to be found.
var errNothing = errors.New("no configuration succeeded")

func scaleOf(objectives []task.Objective, rows []Row) (scale, error) {
	s := scale{objectives: objectives, ratio: true}
	var losses [][]float64
	for i := range rows {
		if rows[i].Values == nil {
			continue
		}
		l := s.losses(rows[i].Values)
		losses = append(losses, l)
		if s.best == nil {
			s.best, s.worst = slices.Clone(l), slices.Clone(l)
		}
		for k, v := range l {
			s.best[k], s.worst[k] = min(s.best[k], v), max(s.worst[k], v)
			s.ratio = s.ratio && rows[i].Values[k] > 0
		}
	}
	if s.best == nil {
		return s, errNothing
	}
	if len(objectives) > 1 {
		for i, l := range losses {
			losses[i] = s.unit(l)
		}
		s.volume = volume(losses)
	}
	return s, nil
}

// losses turns values so that less is better.
func (s *scale) losses(values []float64) []float64 {
	out := slices.Clone(values)
	for i, o := range s.objectives {
		if o.Direction == task.Maximize {
			out[i] = -out[i]
		}
	}
	return out
}

// unit carries losses to 0 for the table's best and 1 for its worst.
func (s *scale) unit(losses []float64) []float64 {
	out := make([]float64, len(losses))
	for i, v := range losses {
		if extent := s.worst[i] - s.best[i]; extent > 0 {
			out[i] = (v - s.best[i]) / extent
		}
	}
	return out
}

func volume(points [][]float64) float64 {
	return pareto.Hypervolume(points, slices.Repeat([]float64{1}, len(points[0])))
}

// A finding is what a search has found so far on a scale.
type finding struct {
	scale *scale
	share float64
	front [][]float64
}

// add takes in the values of a full measurement and returns the share so far.
func (f *finding) add(values []float64) float64 {
	if values == nil {
		return f.share
	}
	l := f.scale.losses(values)
	if len(l) == 1 {
		f.share = max(f.share, f.scale.relative(l[0]))
		return f.share
	}
	u := f.scale.unit(l)
	if slices.ContainsFunc(f.front, func(p []float64) bool { return slices.Equal(p, u) || pareto.Dominates(p, u) }) {
		return f.share
	}
	f.front = append(slices.DeleteFunc(f.front, func(p []float64) bool { return pareto.Dominates(u, p) }), u)
	if f.share = 1; f.scale.volume > 0 {
		f.share = volume(f.front) / f.scale.volume
	}
	return f.share
}

// relative is a loss's share of the optimum: 1 for the best row, less for a
// worse one. Where values are not all above 0 it is how far it lies from the
// worst, in parts of the way to the best.
func (s *scale) relative(loss float64) float64 {
	best := s.best[0]
	switch {
	case loss == best:
		return 1
	case !s.ratio:
		return (s.worst[0] - loss) / (s.worst[0] - best)
	case loss < 0: // a value to be maximised
		return loss / best
	}
	return best / math.Abs(loss)
}
