// Package bayesian is the sampler to take when one does not want to choose: it
// picks models by what the problem is like, and says why.
package bayesian

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fleetune/fleetune/manager/search/gp"
	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/tpe"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/space"
)

// Options are the settings of the sampler.
type Options struct {
	// Startup is the number of points drawn uniformly before models choose.
	Startup int `json:"startup"`
}

// Sampler implements sampler.Sampler. Two models with different weaknesses take
// turns, two to one: the Gaussian process interpolates from few points, the
// Parzen estimator finds what good points have in common where the landscape is
// too rugged to interpolate. Once the process has learned the landscape, it
// chooses among what the estimator likes: near the good points, but not where the
// process knows better.
type Sampler struct {
	process *gp.Sampler
	parzen  *tpe.Sampler
	set     *valid.Set
	reason  string
}

// New prepares the sampler.
func New(p sampler.Problem) (*Sampler, error) {
	options := Options{Startup: 6}
	if err := p.Decode(&options); err != nil {
		return nil, err
	}
	startup, err := json.Marshal(options.Startup)
	if err != nil {
		return nil, fmt.Errorf("preparing the models: %w", err)
	}
	set, err := p.Set()
	if err != nil {
		return nil, err
	}
	p.Points, p.Options = set, map[string]json.RawMessage{"startup": startup}
	process, err := gp.New(p)
	if err != nil {
		return nil, err
	}
	parzen, err := tpe.New(p)
	if err != nil {
		return nil, err
	}
	s := &Sampler{process: process, parzen: parzen, set: set}
	s.reason = fmt.Sprintf("after %d even draws a Gaussian process takes two turns of three and a Parzen estimator the third, ", options.Startup)
	if process.Enumerates() {
		s.reason += fmt.Sprintf("the process looking at all %d valid points", set.Len())
	} else {
		s.reason += "the process looking at a sample of the valid points and at the neighbours of the best"
	}
	if len(p.Objectives) > 1 {
		how := "are weighed anew for each point"
		if process.Volume() {
			how = "have a process each, and a point counts by the hypervolume it adds to the front"
		}
		s.reason += fmt.Sprintf("; the %d objectives %s", len(p.Objectives), how)
	}
	if n := len(p.Constraints); n > 0 {
		s.reason += fmt.Sprintf("; the process also learns where bounded metrics (%d) keep within their bounds", n)
	}
	return s, nil
}

// Reason says which models were chosen and why, in one sentence.
func (s *Sampler) Reason() string { return s.reason }

// Propose implements sampler.Sampler. The two models share a batch: the
// estimator's part comes first, the process reckons with it.
func (s *Sampler) Propose(ctx context.Context, history []sampler.Observation, pending []space.Point, n int) ([]space.Point, error) {
	flight := append([]space.Point(nil), pending...)
	count, share := len(history)+len(flight), 0
	turn := 3 // the estimator's is every third
	if n > 1 && len(history) < learned {
		turn = 6 // of few results it can hardly spread the points of a batch
	}
	for k := range n {
		if (count+k)%turn != turn-1 {
			share++
		}
	}
	out := s.agree(ctx, history, flight, min(n-share, modelled/2))
	flight = append(flight, out...)
	for _, part := range []struct {
		model sampler.Sampler
		n     int
	}{{s.process, min(share, modelled)}, {s.parzen, n}} {
		ask := min(part.n, n-len(out))
		if ask == 0 {
			continue
		}
		points, err := part.model.Propose(ctx, history, flight, ask)
		if errors.Is(err, sampler.ErrExhausted) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("taking turns: %w", err)
		}
		out, flight = append(out, points...), append(flight, points...)
	}
	if len(out) == 0 && n > 0 {
		return nil, sampler.ErrExhausted
	}
	return out, nil
}

// agree chooses up to n points that both models like; fewer, or none, while
// either knows too little.
func (s *Sampler) agree(ctx context.Context, history []sampler.Observation, flight []space.Point, n int) []space.Point {
	if len(history) < learned {
		return nil
	}
	flight = append([]space.Point(nil), flight...)
	var out []space.Point
	for len(out) < n && ctx.Err() == nil {
		v, ok := s.process.Pick(ctx, history, flight, s.parzen.Candidates(history, flight, liked))
		if !ok {
			break
		}
		point := s.set.Point(v)
		out, flight = append(out, point), append(flight, point)
	}
	return out
}

const (
	// learned is the number of results from which on the process has a say in the
	// estimator's turns. Before, its say would only narrow what is looked at.
	learned = 30
	// liked is the number of points that the estimator offers.
	liked = 16
	// modelled is the number of points of one batch that the process chooses at
	// most; the Parzen estimator is quicker for larger ones.
	modelled = 32
)

// ExpectedImprovement implements sampler.Expecter by what the process expects.
func (s *Sampler) ExpectedImprovement(ctx context.Context, history []sampler.Observation, pending []space.Point) (part float64, known bool, err error) {
	part, known, err = s.process.ExpectedImprovement(ctx, history, pending)
	if err != nil {
		return 0, false, fmt.Errorf("asking the process: %w", err)
	}
	return part, known, nil
}
