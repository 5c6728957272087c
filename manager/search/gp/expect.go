package gp

import (
	"context"
	"fmt"
	"math"

	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/proto/space"
)

// ExpectedImprovement implements sampler.Expecter: the largest expected
// improvement among the candidates, times the probability that the point works
// and meets the constraints. Where values have one sign the process knows their
// logarithms, so it is a factor; otherwise it is taken in parts of the
// incumbent's magnitude.
func (s *Sampler) ExpectedImprovement(ctx context.Context, history []sampler.Observation, pending []space.Point) (part float64, known bool, err error) {
	if err := ctx.Err(); err != nil {
		return 0, false, fmt.Errorf("expecting improvement: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.past.Read(history)
	r := round{Sampler: s, ctx: ctx, trials: s.past.Trials(), Picker: sampler.NewPicker(s.set, s.past, pending)}
	if len(s.problem.Objectives) > 1 || r.Count() < s.options.Startup || !r.prepare() {
		return 0, false, nil
	}
	best, ok := r.views[0].gain.(incumbent)
	if !ok {
		return 0, false, nil // nothing to improve upon
	}
	order := r.ground.top(1, r.views, r.Free)
	if len(order) == 0 {
		return 0, true, nil // every point is measured or on its way
	}
	at, b := order[0], r.views[0].goals[0]
	gain := b.lesson.spread * math.Exp(logImprovement(float64(best), b.mean[at], math.Sqrt(b.posterior.variance(at)))+r.ground.works[at])
	var losses []float64
	least := math.Inf(1)
	for _, t := range r.trials {
		if t.Losses != nil {
			losses = append(losses, t.Losses[0])
			if t.Violation == 0 {
				least = min(least, t.Losses[0])
			}
		}
	}
	if _, logs := logarithms(losses); !logs {
		if least == 0 {
			return 0, false, nil
		}
		return gain / math.Abs(least), true, nil
	}
	if least < 0 { // a metric to be maximized
		return math.Expm1(gain), true, nil
	}
	return -math.Expm1(-gain), true, nil
}
