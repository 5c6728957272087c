package dispatch

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
)

// The rules by which a search ends, as they are stored and shown.
const (
	ruleIterations = "max_iterations"
	ruleSpace      = "space"
	ruleTimeout    = "timeout"
	ruleTime       = "time"
	ruleHours      = "device_hours"
	ruleCost       = "cost"
	rulePlateau    = "plateau"
	ruleExpected   = "expected_improvement"
)

// stop records why a search is over. What is recorded holds from then on,
// whatever results still come: a leader that comes after decides no other way.
func (p *planner) stop(ctx context.Context, r *run, rule, message string) error {
	if r.task.Stopped != nil {
		return nil
	}
	holds, err := p.Store.StopSearch(ctx, r.task.ID, store.Stopped{Rule: rule, Message: message})
	if err != nil {
		return err
	}
	if holds.Rule == "" {
		holds = store.Stopped{Rule: rule, Message: message} // the task has ended; the news of it is on its way
	}
	p.Log.Info().Str("task", r.task.Name).Str("rule", holds.Rule).Str("message", holds.Message).Msg("search is over")
	r.task.Stopped = &holds
	return nil
}

// halt looks at the limits that the task names, and stops the search at the
// first that is reached. It depends on rows alone, the time since the first
// attempt aside.
func (p *planner) halt(ctx context.Context, r *run) error {
	s := r.task.Spec.Optimization.Stop
	if s == nil || r.task.Stopped != nil {
		return nil
	}
	if at, ok := r.stopsAt(); ok && !time.Now().Before(at) {
		return p.stop(ctx, r, ruleTime, fmt.Sprintf("%v have passed since the first experiment", s.Time.D()))
	}
	if s.DeviceHours > 0 || s.Cost > 0 {
		u, err := p.Store.Usage(ctx, r.task.ID, r.task.Spec.Optimization.DeviceHourCost)
		switch {
		case err != nil:
			return err
		case s.DeviceHours > 0 && u.DeviceHours >= s.DeviceHours:
			return p.stop(ctx, r, ruleHours, fmt.Sprintf("%.4g of %.4g device-hours are used", u.DeviceHours, s.DeviceHours))
		case s.Cost > 0 && u.Cost >= s.Cost:
			return p.stop(ctx, r, ruleCost, fmt.Sprintf("%.4g of %.4g are spent on %.4g device-hours", u.Cost, s.Cost, u.DeviceHours))
		}
	}
	if s.Plateau != nil {
		if n := sinceImprovement(r.history, r.scores, r.task.Spec.Optimization.Objectives, s.Plateau.MinImprovement); n >= s.Plateau.Experiments {
			return p.stop(ctx, r, rulePlateau, fmt.Sprintf("%d experiments in a row brought no improvement of %.3g %%", n, 100*s.Plateau.MinImprovement))
		}
	}
	return p.haltUnpromising(ctx, r, s.ExpectedImprovement)
}

// haltUnpromising asks the sampler's model how much there is left to gain.
func (p *planner) haltUnpromising(ctx context.Context, r *run, least float64) error {
	if least <= 0 || r.expected == len(r.history) {
		return nil // nothing has ended since it was last asked
	}
	r.expected = len(r.history)
	part, known, err := search.ExpectedImprovement(ctx, r.sampler, r.history, r.pending())
	if err != nil {
		return fmt.Errorf("asking the sampler what there is to gain: %w", err)
	}
	if known && part < least {
		return p.stop(ctx, r, ruleExpected, fmt.Sprintf("the most promising point is expected to improve the best by %.3g %%, less than %.3g %%", 100*part, 100*least))
	}
	return nil
}

// stopsAt is when the search ends by the clock. It moves with the deadline
// while the task is paused.
func (r *run) stopsAt() (time.Time, bool) {
	o := r.task.Spec.Optimization
	if o.Stop == nil || o.Stop.Time == 0 || r.task.DeadlineAt == nil {
		return time.Time{}, false
	}
	return r.task.DeadlineAt.Add(o.Stop.Time.D() - o.Timeout.D()), true
}

// dropQueued ends what a search that is over has left in the queue.
func (p *planner) dropQueued(ctx context.Context, r *run) error {
	if r.task.Stopped == nil || r.dropped {
		return nil
	}
	switch r.task.Stopped.Rule {
	case ruleIterations, ruleSpace, ruleTimeout:
		return nil // planned, or ended with the task's time
	}
	r.dropped = true
	return p.expireQueued(ctx, r, experiment.Search)
}

// sinceImprovement counts the experiments that have ended since the last one
// that improved on all improvements before it, by at least a part of their
// value: many small steps make one in the end. Each level is compared with
// itself. With several objectives an improvement is a point that none before it
// comes so close to in all of them.
func sinceImprovement(history []search.Observation, scores map[int][]float64, objectives []task.Objective, part float64) int {
	since := 0
	best := map[float64][][]float64{}
	for _, o := range history {
		since++
		losses := lossesOf(scores[o.Number], objectives)
		if losses == nil {
			continue
		}
		if improves(losses, best[o.Fidelity], part) {
			since = 0
			best[o.Fidelity] = append(best[o.Fidelity], losses)
		}
	}
	return since
}

// lossesOf turns values so that less is better; nil where there are none.
func lossesOf(values []float64, objectives []task.Objective) []float64 {
	if len(values) == 0 || len(values) != len(objectives) {
		return nil
	}
	out := make([]float64, len(values))
	for i, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
		if out[i] = v; objectives[i].Direction == task.Maximize {
			out[i] = -v
		}
	}
	return out
}

func improves(losses []float64, before [][]float64, part float64) bool {
	for _, b := range before {
		near := true
		for i := range losses {
			near = near && b[i] <= losses[i]+part*math.Abs(b[i])
		}
		if near {
			return false
		}
	}
	return true
}
