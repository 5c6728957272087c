package fidelity

import (
	"math"

	"github.com/fleetune/fleetune/manager/search/sampler"
)

// halve is asynchronous successive halving.
func (s *Sampler) halve(l *ladder, n int) (up []sampler.Proposal, starts []int) {
	for k := l.top() - 1; k >= 0; k-- {
		quota := int(float64(l.done[k])/s.problem.Fidelity.Eta + 1e-9)
		for _, c := range l.ranked[k][:min(quota, len(l.ranked[k]))] {
			if len(up) == n {
				return up, nil
			}
			if !c.at(k + 1) {
				up = append(up, s.promote(c, k+1))
			}
		}
	}
	return up, make([]int, n-len(up))
}

// A bracket is one successive halving of Hyperband.
type bracket struct {
	start int // its lowest level
	size  int // how many points start there
	all   []*climber
}

// bracketAt is the bracket with that place in the sequence: from the one that
// starts at the lowest level to the one that measures in full, and again.
func (s *Sampler) bracketAt(i int) *bracket {
	levels := len(s.problem.Fidelity.Levels)
	start := i % levels
	rounds := levels - 1 - start // of halving
	size := math.Ceil(float64(levels) / float64(rounds+1) * math.Pow(s.problem.Fidelity.Eta, float64(rounds)))
	return &bracket{start: start, size: int(size)}
}

// brackets is Hyperband. Which bracket a point belongs to follows from the order
// of the points: each fills the first bracket that is not full. A point that did
// not start at its bracket's level, such as the baseline, belongs to none.
func (s *Sampler) brackets(l *ladder, n int) (up []sampler.Proposal, starts []int) {
	open := s.bracketAt(0)
	list := []*bracket{open}
	for _, c := range l.climbers {
		if len(open.all) == open.size {
			open = s.bracketAt(len(list))
			list = append(list, open)
		}
		if c.start == open.start {
			open.all = append(open.all, c)
		}
	}
	for _, b := range list {
		if len(b.all) == b.size || l.dry {
			up = append(up, s.halveBracket(l, b, n-len(up))...)
		}
	}
	filled, next := len(open.all), len(list)
	for !l.dry && len(up)+len(starts) < n {
		if filled == open.size {
			open, filled = s.bracketAt(next), 0
			next++
		}
		starts = append(starts, open.start)
		filled++
	}
	return up, starts
}

// halveBracket sends up what a level of a full bracket has chosen, once all of
// that level has ended.
func (s *Sampler) halveBracket(l *ladder, b *bracket, n int) (up []sampler.Proposal) {
	in := make(map[*climber]bool, len(b.all))
	for _, c := range b.all {
		in[c] = true
	}
	size := len(b.all)
	for k := b.start; k < l.top(); k++ {
		for c := range in {
			if c.at(k) && c.rungs[k].seen == nil {
				return up // a level of the bracket is still being measured
			}
		}
		size = int(float64(size)/s.problem.Fidelity.Eta + 1e-9)
		chosen := map[*climber]bool{}
		for _, c := range l.ranked[k] {
			if len(chosen) == size {
				break
			}
			if !in[c] {
				continue
			}
			chosen[c] = true
			if !c.at(k+1) && len(up) < n {
				up = append(up, s.promote(c, k+1))
			}
		}
		if len(up) > 0 || len(chosen) == 0 {
			return up
		}
		in = chosen
	}
	return up
}
