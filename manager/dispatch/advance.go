package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fleetune/fleetune/manager/score"
	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
)

// advance does the next thing a running task needs. What that is follows from
// its rows alone, so that any leader at any moment decides the same:
//
//	baseline ─▶ search (until budget, space or time is used up) ─▶ confirm ─▶ end
func (p *planner) advance(ctx context.Context, r *run) error {
	if r.task.State != store.TaskRunning {
		return nil
	}
	if r.overdue(time.Now()) {
		if err := p.expire(ctx, r); err != nil {
			return err
		}
	}
	if err := p.halt(ctx, r); err != nil {
		return err
	}
	if err := p.dropQueued(ctx, r); err != nil {
		return err
	}
	switch {
	case r.timedOut:
		if len(r.live) > 0 {
			return nil // they end by their own budget, which ends with the task's
		}
		return p.finish(ctx, r, "the task's time was over")
	case r.wantsBaseline():
		return p.measureBaseline(ctx, r)
	case r.baselineRuns():
		return nil
	case !r.searched():
		return p.search(ctx, r)
	case len(r.live) > 0:
		return p.over(ctx, r)
	}
	if err := p.over(ctx, r); err != nil {
		return err
	}
	if finalists := r.finalists(); len(finalists) > 0 {
		if most := r.task.Spec.Optimization.MaxParallel; most > 0 {
			finalists = finalists[:min(most, len(finalists))]
		}
		return p.confirm(ctx, r, finalists)
	}
	return p.finish(ctx, r, "")
}

func (r *run) wantsBaseline() bool {
	return r.baselinePoint != nil && r.last == 0
}

func (r *run) baselineRuns() bool {
	for _, e := range r.live {
		if e.purpose == experiment.Baseline {
			return true
		}
	}
	return false
}

func (p *planner) measureBaseline(ctx context.Context, r *run) error {
	if err := p.Store.SetBaseline(ctx, r.task.ID, 1); err != nil {
		return err
	}
	return p.insert(ctx, r, experiment.Baseline, []search.Proposal{{Point: r.baselinePoint}}, nil)
}

// searched says that no point is left to propose.
func (r *run) searched() bool {
	return r.exhausted || r.task.Stopped != nil || r.planned >= r.task.Spec.Budget()
}

// over records that the search has ended by itself.
func (p *planner) over(ctx context.Context, r *run) error {
	if r.task.Stopped != nil {
		return nil
	}
	if most := r.task.Spec.Budget(); r.planned >= most {
		return p.stop(ctx, r, ruleIterations, fmt.Sprintf("all %d experiments are chosen", most))
	}
	return p.stop(ctx, r, ruleSpace, fmt.Sprintf("after %d experiments no point is left to choose", r.planned))
}

// search fills the task's window with new points. If that ends the search and
// nothing runs, the task goes on at once.
func (p *planner) search(ctx context.Context, r *run) error {
	left := r.task.Spec.Budget() - r.planned
	window := p.window(r)
	room := window - len(r.live)
	if room <= 0 || !r.adaptive && room < window/4 {
		return nil // a large window is filled in large steps
	}
	n := min(room, left, planPage)
	points, err := r.propose(ctx, n)
	if err != nil {
		return p.giveUp(ctx, r, err)
	}
	if len(points) > 0 {
		return p.insert(ctx, r, experiment.Search, points, nil)
	}
	if !r.exhausted && len(r.live) > 0 {
		return nil // the sampler waits for what is pending
	}
	r.exhausted = true
	return p.advance(ctx, r)
}

// giveUp ends a task whose sampler fails: it would fail again.
func (p *planner) giveUp(ctx context.Context, r *run, cause error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p.Log.Error().Err(cause).Str("task", r.task.Name).Msg("the sampler failed")
	return p.conclude(ctx, r, store.TaskFailed, cause.Error(), nil, nil)
}

// window is how many experiments of a task may be in flight: what it asks
// for, or its share of what the fleet can hold. A sampler that does not learn
// is kept one round ahead, so that no device waits for the next batch; one
// that learns is not, since points chosen early are chosen worse.
func (p *planner) window(r *run) int {
	if l := r.task.Spec.Load; l != nil {
		return l.Shares // they wait for each other
	}
	rivals := 0
	for _, other := range p.runs {
		if other.task.Spec.Priority == r.task.Spec.Priority && other.task.State == store.TaskRunning && !other.searched() {
			rivals++
		}
	}
	capacity := p.fleet.capacity(r.least())
	if !r.adaptive {
		capacity *= 2
	}
	window := max((capacity+rivals-1)/max(rivals, 1), 1)
	if most := r.task.Spec.Optimization.MaxParallel; most > 0 {
		window = min(window, most)
	}
	return window
}

// expire ends what is queued when the task's time is over, and gives every
// configuration that never started its row.
func (p *planner) expire(ctx context.Context, r *run) error {
	r.timedOut = true
	if err := p.expireQueued(ctx, r); err != nil {
		return err
	}
	for !r.searched() {
		n := min(r.task.Spec.Budget()-r.planned, planPage)
		points, err := r.propose(ctx, n)
		if err != nil {
			return err
		}
		list, err := r.number(experiment.Search, points, nil)
		if err != nil {
			return err
		}
		if err := p.Store.InsertNotStarted(ctx, r.task.ID, list); err != nil {
			return err
		}
		for _, n := range list {
			e := r.add(n, time.Now())
			delete(r.live, e.id)
			r.end(e, experiment.OutcomeNotStarted, nil, nil)
		}
		r.exhausted = r.exhausted || len(points) == 0
	}
	return p.stop(ctx, r, ruleTimeout, "the task's time was over")
}

// expireQueued ends what is queued as not started: all of it, or what has one
// of the purposes.
func (p *planner) expireQueued(ctx context.Context, r *run, purposes ...experiment.Purpose) error {
	ids, err := p.Store.ExpireQueued(ctx, r.task.ID, purposes...)
	if err != nil {
		return err
	}
	var expired []*entry
	for _, id := range ids {
		if e := r.live[id]; e != nil {
			expired = append(expired, e)
		}
	}
	if err := p.withdraw(ctx, expired); err != nil {
		return err
	}
	for _, e := range expired {
		delete(r.live, e.id)
		r.end(e, experiment.OutcomeNotStarted, nil, nil)
	}
	return nil
}

// finalists returns the leaders that are yet to be measured again beside the
// baseline, before any of them is called best. Who they are is settled once
// the search has ended.
func (r *run) finalists() []int {
	left := r.task.Spec.Finalists()
	if left == 0 || r.baseline == nil || !r.baseline.ok {
		return nil
	}
	var numbers []int
	for _, o := range r.ranking() {
		if left == 0 {
			break
		}
		if o.Number == r.baseline.number {
			continue
		}
		if left--; !r.confirms[o.Number] {
			numbers = append(numbers, o.Number)
		}
	}
	return numbers
}

func (p *planner) confirm(ctx context.Context, r *run, numbers []int) error {
	points := make([]search.Proposal, len(numbers))
	for i, number := range numbers {
		for _, o := range r.history {
			if o.Number == number {
				points[i].Point = o.Point
			}
		}
	}
	return p.insert(ctx, r, experiment.Confirm, points, numbers)
}

// finish ends a task whose work is done and names its best.
func (p *planner) finish(ctx context.Context, r *run, cause string) error {
	ranking := r.ranking()
	if len(ranking) == 0 {
		if cause == "" {
			cause = "no experiment succeeded"
		}
		return p.conclude(ctx, r, store.TaskFailed, cause, nil, nil)
	}
	best, speedup, note, err := p.choose(ctx, r)
	if err != nil {
		return err
	}
	if cause == "" {
		cause = ending(r.task.Stopped, note)
	}
	return p.conclude(ctx, r, store.TaskCompleted, cause, &best, speedup)
}

// ending tells why a task ended as it did: by which limit, unless that was the
// expected one, and what is to be said of its best.
func ending(stopped *store.Stopped, note string) string {
	if stopped == nil || stopped.Rule == ruleIterations || stopped.Rule == ruleSpace {
		return note
	}
	if note != "" {
		note = "; " + note
	}
	return stopped.Message + note
}

// choose names the best: the confirmed finalist with the greatest speed-up
// that lies above the noise; the baseline if there is none; the incumbent when
// nothing was there to be confirmed.
func (p *planner) choose(ctx context.Context, r *run) (best int, speedup *score.Comparison, note string, err error) {
	best = r.ranking()[0].Number
	if len(r.confirms) == 0 {
		return best, nil, "", nil
	}
	confirmations, err := p.Store.Confirmations(ctx, r.task.ID)
	if err != nil {
		return 0, nil, "", err
	}
	best, speedup, note = proven(r.task.Spec, r.ranking(), confirmations)
	if speedup == nil {
		best = r.baseline.number
	}
	return best, speedup, note, nil
}

// proven picks the confirmed finalist with the greatest speed-up above the
// noise, missed promises counted in. Where there is none, the note says which
// came nearest.
func proven(spec *task.Task, ranking []search.Observation, confirmations map[int]experiment.Measurement) (best int, speedup *score.Comparison, note string) {
	note = "no configuration beats the baseline beyond the noise"
	direction := spec.Optimization.Objectives[0].Direction
	unproven := 0.0 // the greatest ratio that is not above the noise
	for _, o := range ranking {
		m, ok := confirmations[o.Number]
		if !ok {
			continue
		}
		var cells, reference []experiment.Cell
		if m.Serving != nil {
			cells, reference = m.Serving.Cells, m.Serving.Reference
		}
		c, ok := score.Compare(direction, score.Samples(spec, m.Metrics, cells), score.Samples(spec, m.Reference, reference))
		switch {
		case !ok:
		case c.Significant && (speedup == nil || c.Ratio > speedup.Ratio):
			best, speedup = o.Number, &c
		case !c.Significant && c.Ratio > unproven:
			unproven = c.Ratio
			note = fmt.Sprintf("no configuration beats the baseline beyond the noise; #%d came nearest, with %.2f× (%.0f %% confidence %.2f–%.2f)",
				o.Number, c.Ratio, 100*c.Confidence, c.Low, c.High)
		}
	}
	if speedup != nil {
		note = ""
	}
	return best, speedup, note
}

// conclude stores the end of a task. One that was cancelled meanwhile stays so.
func (p *planner) conclude(ctx context.Context, r *run, state store.TaskState, cause string, best *int, speedup *score.Comparison) error {
	var data json.RawMessage
	if speedup != nil {
		var err error
		if data, err = json.Marshal(speedup); err != nil {
			return fmt.Errorf("encoding the speed-up: %w", err)
		}
	}
	err := p.Store.FinishTask(ctx, r.task.ID, state, cause, best, data)
	if err != nil && !errors.Is(err, store.ErrState) {
		return err
	}
	p.Log.Info().Str("task", r.task.Name).Str("state", string(state)).Str("cause", cause).Msg("task ended")
	return p.end(ctx, r)
}
