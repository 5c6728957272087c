// Package fidelity has the samplers that measure many points roughly and the
// promising ones again at higher levels: asynchronous successive halving and
// Hyperband. Which points are new is the choice of another sampler, which
// learns from all levels.
package fidelity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/space"
)

// Options are the settings of both samplers.
type Options struct {
	// Sampler chooses new points; random makes the classic methods.
	Sampler string `json:"sampler"`
	// SamplerOptions are that sampler's own.
	SamplerOptions map[string]json.RawMessage `json:"sampler_options"`
}

// Make prepares a sampler by its name.
type Make func(strategy string, p sampler.Problem) (sampler.Sampler, error)

// Sampler implements sampler.Leveler.
type Sampler struct {
	problem sampler.Problem
	options Options
	set     *valid.Set
	inner   sampler.Sampler
	// climb chooses the next climbers to measure at a higher level, and says at
	// which level new points start, level by level in the order to take them;
	// nil when no new point is wanted before what is pending has ended.
	climb func(l *ladder, n int) (up []sampler.Proposal, starts []int)
}

// NewASHA prepares asynchronous successive halving (Li et al., "A system for
// massively parallel hyperparameter tuning", 2020): whenever a place is free,
// the best point among the first one in eta of its level goes one level up, the
// highest level first; where none does, a new point starts at the lowest.
func NewASHA(p sampler.Problem, inner Make) (*Sampler, error) {
	s, err := prepare(p, inner)
	if err != nil {
		return nil, err
	}
	s.climb = s.halve
	return s, nil
}

// NewHyperband prepares Hyperband (Li et al., "Hyperband: a novel bandit-based
// approach to hyperparameter optimization", 2018): brackets of successive
// halving in turns, of which the first starts many points at the lowest level
// and the last a few in full, as a hedge against levels that mislead. While a
// bracket waits, the next one begins.
func NewHyperband(p sampler.Problem, inner Make) (*Sampler, error) {
	s, err := prepare(p, inner)
	if err != nil {
		return nil, err
	}
	s.climb = s.brackets
	return s, nil
}

func prepare(p sampler.Problem, inner Make) (*Sampler, error) {
	options := Options{Sampler: "bayesian"}
	if err := p.Decode(&options); err != nil {
		return nil, err
	}
	if p.Fidelity == nil {
		return nil, errors.New("it needs optimization.fidelity, as in fidelity: {name: requests, min: 100, max: 2700}")
	}
	if options.Sampler == "asha" || options.Sampler == "hyperband" {
		return nil, fmt.Errorf("the sampler of new points cannot be %s itself", options.Sampler)
	}
	set, err := p.Set()
	if err != nil {
		return nil, err
	}
	within := p
	within.Points, within.Fidelity, within.Options = set, nil, options.SamplerOptions
	chooses, err := inner(options.Sampler, within)
	if err != nil {
		return nil, fmt.Errorf("the sampler of new points: %w", err)
	}
	return &Sampler{problem: p, options: options, set: set, inner: chooses}, nil
}

// Reason says how the sampler works for its problem, in one sentence.
func (s *Sampler) Reason() string {
	f := s.problem.Fidelity
	return fmt.Sprintf("%d levels of %s, %v to %v: one of %v points goes on to the next; %s chooses new points and learns from all levels",
		len(f.Levels), f.Name, f.Levels[0], f.Full(), f.Eta, s.options.Sampler)
}

// Propose implements sampler.Sampler: new points, to be measured in full.
func (s *Sampler) Propose(ctx context.Context, history []sampler.Observation, pending []space.Point, n int) ([]space.Point, error) {
	known, flight := newLadder(&s.problem, s.set, history, nil).fuse()
	return s.inner.Propose(ctx, known, append(flight, pending...), n)
}

// ProposeAt implements sampler.Leveler.
func (s *Sampler) ProposeAt(ctx context.Context, history, pending []sampler.Observation, n int) ([]sampler.Proposal, error) {
	l := newLadder(&s.problem, s.set, history, pending)
	out, n := s.hurry(l, n)
	up, starts := s.climb(l, n)
	out = append(out, up...)
	if len(starts) > 0 {
		known, flight := l.fuse()
		points, err := s.inner.Propose(ctx, known, flight, len(starts))
		if err != nil && !errors.Is(err, sampler.ErrExhausted) {
			return nil, fmt.Errorf("choosing new points: %w", err)
		}
		for i, p := range points {
			out = append(out, sampler.Proposal{Point: p, Fidelity: s.fidelity(starts[i])})
		}
		if len(points) < len(starts) {
			out = append(out, s.finish(l, len(starts)-len(points))...)
		}
	}
	if len(out) == 0 && n > 0 && !l.waiting {
		return nil, sampler.ErrExhausted
	}
	return out, nil
}

// hurry looks to the end of the budget: a search that was given too few
// experiments for any point to rise to a full measurement by itself sends its
// best one up in time, since without a full measurement it would have no
// result. rest is what may be chosen otherwise.
func (s *Sampler) hurry(l *ladder, n int) (out []sampler.Proposal, rest int) {
	if s.problem.Budget == 0 {
		return nil, n
	}
	free := s.problem.Budget - l.count - l.missing()
	if free >= n {
		return nil, n
	}
	if c, level := l.leader(); c != nil {
		out = append(out, s.promote(c, level))
	} else if !l.waiting {
		return nil, min(n, max(free, 1)) // one has to begin
	}
	return out, max(min(n-len(out), free), 0)
}

// finish goes on when no new point is left: brackets that are not full are
// halved, and once nothing is pending the budget that is left goes to what has
// not risen, the best of the highest level first.
func (s *Sampler) finish(l *ladder, n int) []sampler.Proposal {
	l.dry = true
	up, _ := s.climb(l, n)
	if len(up) > 0 || l.waiting {
		return up
	}
	for k := l.top() - 1; k >= 0; k-- {
		for _, c := range l.ranked[k] {
			if len(up) == n {
				return up
			}
			if !c.at(k + 1) {
				up = append(up, s.promote(c, k+1))
			}
		}
	}
	return up
}

// fidelity is a level as proposals name it.
func (s *Sampler) fidelity(level int) float64 {
	if level == len(s.problem.Fidelity.Levels)-1 {
		return 0
	}
	return s.problem.Fidelity.Levels[level]
}

// promote proposes the next level for a climber.
func (s *Sampler) promote(c *climber, level int) sampler.Proposal {
	c.rungs[level].taken = true
	return sampler.Proposal{Point: c.point, Fidelity: s.fidelity(level)}
}
