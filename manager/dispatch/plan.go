package dispatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/google/uuid"
)

// planPage is how many rows are read, and how many points proposed, at once.
const planPage = 4096

// planPoll bounds how long a lost notification delays a task.
const planPoll = 2 * time.Second

// A planner decides what each task does next. It alone adds experiments.
type planner struct {
	*term
	runs map[uuid.UUID]*run
}

// plan runs the planner until ctx ends or the database fails it.
func (t *term) plan(ctx context.Context) error {
	p := &planner{term: t, runs: map[uuid.UUID]*run{}}
	poll := time.NewTicker(planPoll)
	defer poll.Stop()
	deadline := time.NewTimer(0)
	defer deadline.Stop()
	if err := p.refresh(ctx); err != nil {
		return err
	}
	for {
		if err := p.step(ctx); err != nil {
			return err
		}
		deadline.Reset(p.untilDeadline())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.mail.wake:
		case <-deadline.C:
		case <-poll.C:
			if err := p.refresh(ctx); err != nil {
				return err
			}
		}
	}
}

// step reads the mail and lets every task that it concerns go on.
func (p *planner) step(ctx context.Context) error {
	mail := p.mail.read()
	touched := map[uuid.UUID]bool{}
	for _, c := range mail.claimed {
		if r := p.runs[c.task]; r != nil {
			if e := r.live[c.experiment]; e != nil {
				e.claimed = true
			}
			if r.task.StartedAt == nil {
				mail.tasks[c.task] = true // its clock has started
			}
		}
	}
	if mail.wiped {
		for _, r := range p.runs {
			for _, c := range r.classes {
				c.ready = false
			}
		}
	}
	for id := range mail.stale {
		delete(p.runs, id)
		mail.tasks[id] = true
	}
	for id := range mail.tasks {
		if err := p.reload(ctx, id); err != nil {
			return err
		}
		touched[id] = true
	}
	for _, f := range mail.finished {
		if r := p.runs[f.Task]; r != nil {
			r.finish(f)
			touched[f.Task] = true
		}
	}
	if err := p.offerAgain(ctx, mail.queued); err != nil {
		return err
	}
	p.race(mail.progress)
	if mail.fleet || len(mail.tasks) > 0 {
		if err := p.fleetChanged(ctx); err != nil {
			return err
		}
		// What the fleet can hold is shared between all tasks.
		for id := range p.runs {
			touched[id] = true
		}
	}
	now := time.Now()
	for id, r := range p.runs {
		if touched[id] || r.overdue(now) || r.outOfTime(now) {
			if err := p.advance(ctx, r); err != nil {
				return fmt.Errorf("task %s: %w", r.task.Name, err)
			}
		}
	}
	return nil
}

// refresh reads which tasks are live, for when a notification was lost.
func (p *planner) refresh(ctx context.Context) error {
	// Read before the rows: a task with attempts that is not live has ended,
	// perhaps under another leader that could not pass it on.
	leased := p.fleet.leasedTasks()
	rows, err := p.Store.LiveTasks(ctx)
	if err != nil {
		return err
	}
	live := map[uuid.UUID]bool{}
	for _, row := range rows {
		live[row.ID] = true
		if r := p.runs[row.ID]; r == nil && row.State != store.TaskWaiting || r != nil && r.task.State != row.State {
			p.mail.taskChanged(row.ID)
		}
	}
	for id := range p.runs {
		if !live[id] {
			p.mail.taskChanged(id)
		}
	}
	for _, id := range leased {
		if !live[id] && p.runs[id] == nil {
			p.stopAttempts(id)
		}
	}
	return nil
}

// reload takes in that a task was submitted, paused, resumed or cancelled.
func (p *planner) reload(ctx context.Context, id uuid.UUID) error {
	row, err := p.Store.Task(ctx, id.String())
	if errors.Is(err, store.ErrNotFound) { // it was deleted, or replaced before it began
		if p.runs[id] != nil {
			delete(p.runs, id)
			p.specs.drop(id)
			p.shareQueues()
		}
		return nil
	}
	if err != nil {
		return err
	}
	r := p.runs[id]
	if r == nil {
		if row.State.Final() || row.State == store.TaskWaiting {
			return nil
		}
		return p.begin(ctx, row)
	}
	before := r.task.State
	r.task = row
	switch {
	case row.State.Final():
		return p.end(ctx, r)
	case row.State == store.TaskPaused && before == store.TaskRunning:
		return p.withdraw(ctx, r.queued())
	case row.State == store.TaskRunning && before == store.TaskPaused:
		return p.offer(ctx, r, r.queued())
	}
	return nil
}

// begin reads a task that is new to this leader. One that cannot be planned
// at all ends as failed, with the reason.
func (p *planner) begin(ctx context.Context, row store.Task) error {
	var experiments []store.Experiment
	for after := 0; ; {
		page, err := p.Store.Experiments(ctx, row.ID, after, planPage)
		if err != nil {
			return err
		}
		experiments = append(experiments, page...)
		if len(page) < planPage {
			break
		}
		after = page[len(page)-1].Number
	}
	frozen, err := p.frozen(ctx, row)
	if err != nil {
		return err
	}
	r, err := newRun(row, experiments)
	if err == nil {
		err = r.serve(frozen)
	}
	if err != nil {
		p.Log.Error().Err(err).Str("task", row.Name).Msg("the task cannot be planned")
		return p.Store.FinishTask(ctx, row.ID, store.TaskFailed, err.Error(), nil, nil)
	}
	p.runs[row.ID] = r
	p.specs.put(row.ID, row.Spec)
	p.shareQueues()
	if row.State == store.TaskRunning {
		// Offered before, perhaps; offering twice is harmless.
		return p.offer(ctx, r, r.queued())
	}
	return nil
}

// end lets go of a task that is final: nothing of it is offered any more, and
// what still runs is stopped.
func (p *planner) end(ctx context.Context, r *run) error {
	if err := p.withdraw(ctx, r.queued()); err != nil {
		return err
	}
	p.stopAttempts(r.task.ID)
	delete(p.runs, r.task.ID)
	p.specs.drop(r.task.ID)
	p.shareQueues()
	return nil
}

// stopAttempts tells the workers that hold attempts of a task to stop them.
func (p *planner) stopAttempts(task uuid.UUID) {
	for worker, ids := range p.fleet.cancelTask(task) {
		p.control(worker, wire.Control{Cancel: ids})
	}
}

// shareQueues tells the fleet which queues are in use.
func (p *planner) shareQueues() {
	seen := map[string]bool{}
	var queues []wire.Queue
	for _, r := range p.runs {
		for _, c := range r.classes {
			if key := wire.ConsumerName(c.queue.Name, c.queue.Priority); !seen[key] {
				seen[key] = true
				queues = append(queues, c.queue)
			}
		}
	}
	p.fleet.setQueues(queues)
}

// fleetChanged passes on drain wishes.
func (p *planner) fleetChanged(ctx context.Context) error {
	workers, err := p.Store.Workers(ctx)
	if err != nil {
		return err
	}
	for _, name := range p.fleet.setDrains(workers) {
		p.control(name, wire.Control{Beat: true})
	}
	return nil
}

// offerAgain puts experiments back into the queue that were taken from a
// worker or failed by its fault.
func (p *planner) offerAgain(ctx context.Context, list []requeued) error {
	again := map[*run][]*entry{}
	for _, q := range list {
		r := p.runs[q.task]
		if r == nil {
			continue
		}
		if e := r.live[q.experiment]; e != nil {
			e.claimed, e.since = false, time.Now()
			again[r] = append(again[r], e)
		}
	}
	for r, entries := range again {
		if r.task.State == store.TaskRunning {
			if err := p.offer(ctx, r, entries); err != nil {
				return err
			}
		}
	}
	return nil
}

// untilDeadline is how long until the next task runs out of time.
func (p *planner) untilDeadline() time.Duration {
	soon := time.Hour
	for _, r := range p.runs {
		if d := r.task.DeadlineAt; d != nil && r.task.State == store.TaskRunning && !r.timedOut {
			soon = min(soon, max(time.Until(*d), time.Millisecond))
			if at, ok := r.stopsAt(); ok && r.task.Stopped == nil {
				soon = min(soon, max(time.Until(at), time.Millisecond))
			}
		}
	}
	return soon
}

// outOfTime says that the search is to stop by the clock.
func (r *run) outOfTime(now time.Time) bool {
	at, ok := r.stopsAt()
	return ok && r.task.State == store.TaskRunning && r.task.Stopped == nil && !now.Before(at)
}

func (r *run) overdue(now time.Time) bool {
	return r.task.State == store.TaskRunning && !r.timedOut && r.task.DeadlineAt != nil && !now.Before(*r.task.DeadlineAt)
}

// insert stores points as experiments and offers them. A task that is no
// longer running takes none; the notification of why is on its way.
func (p *planner) insert(ctx context.Context, r *run, purpose experiment.Purpose, points []search.Proposal, confirms []int) error {
	list, err := r.number(purpose, points, confirms)
	if err != nil {
		return err
	}
	if err := r.answer(list); err != nil {
		return err
	}
	err = p.Store.InsertExperiments(ctx, p.number, r.task.ID, list)
	if errors.Is(err, store.ErrState) {
		p.mail.taskChanged(r.task.ID)
		return nil
	}
	if err != nil {
		return err
	}
	now := time.Now()
	entries := make([]*entry, len(list))
	classes := len(r.classes)
	for i, n := range list {
		entries[i] = r.add(n, now)
	}
	if len(r.classes) > classes {
		p.shareQueues() // workers look only where they know of a queue
	}
	return p.offer(ctx, r, p.answered(r, list, entries))
}

// number gives points their place in the task.
func (r *run) number(purpose experiment.Purpose, points []search.Proposal, confirms []int) ([]store.NewExperiment, error) {
	list := make([]store.NewExperiment, len(points))
	for i, point := range points {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, fmt.Errorf("making an experiment's id: %w", err)
		}
		list[i] = store.NewExperiment{ID: id, Number: r.last + 1 + i, Purpose: purpose, Parameters: point.Point}
		if level := point.Fidelity; level != 0 {
			list[i].Fidelity = &level
		}
		if confirms != nil {
			list[i].Confirms = &confirms[i]
		}
	}
	return list, nil
}

// propose asks the sampler for up to n points. None mean that the space is
// exhausted, or that the sampler waits for what is pending.
func (r *run) propose(ctx context.Context, n int) ([]search.Proposal, error) {
	points, err := search.Propose(ctx, r.sampler, r.history, r.pending(), n)
	if errors.Is(err, search.ErrExhausted) {
		r.exhausted = true
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("asking the sampler: %w", err)
	}
	return points, nil
}
