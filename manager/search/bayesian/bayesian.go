// Package bayesian is the sampler to take when one does not want to choose: it
// picks models by what the problem is like, and says why.
package bayesian

import (
	"context"
	"errors"
	"fmt"

	"github.com/fleetune/fleetune/manager/search/gp"
	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/tpe"
	"github.com/fleetune/fleetune/proto/space"
)

// Sampler implements sampler.Sampler. With one objective it lets two models
// with different weaknesses take turns: the Gaussian process interpolates from
// few points, the Parzen estimator finds what good points have in common where
// the landscape is too rugged to interpolate.
type Sampler struct {
	process sampler.Sampler
	parzen  sampler.Sampler
	reason  string
}

// New prepares the sampler.
func New(p sampler.Problem) (*Sampler, error) {
	process, err := gp.New(p)
	if err != nil {
		return nil, err
	}
	parzen, err := tpe.New(p)
	if err != nil {
		return nil, err
	}
	return &Sampler{process: process, parzen: parzen,
		reason: "one objective: a Gaussian process and a Parzen estimator take turns"}, nil
}

// Reason says which models were chosen and why, in one sentence.
func (s *Sampler) Reason() string { return s.reason }

// Propose implements sampler.Sampler.
func (s *Sampler) Propose(ctx context.Context, history []sampler.Observation, pending []space.Point, n int) ([]space.Point, error) {
	flight := append([]space.Point(nil), pending...)
	var out []space.Point
	for len(out) < n {
		turn := s.process
		if (len(history)+len(flight))%2 == 1 {
			turn = s.parzen
		}
		points, err := turn.Propose(ctx, history, flight, 1)
		if errors.Is(err, sampler.ErrExhausted) {
			break
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
