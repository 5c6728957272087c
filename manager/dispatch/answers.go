package dispatch

import (
	"context"
	"fmt"

	"github.com/fleetune/fleetune/manager/records"
	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/manager/search/warm"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
)

// frozen reads the records that were frozen with a task.
func (p *planner) frozen(ctx context.Context, row store.Task) (store.Frozen, error) {
	if row.Records == nil {
		return store.Frozen{}, nil
	}
	return p.Store.Frozen(ctx, row.ID)
}

// serve lets them serve it: answers for points that were measured before, and
// points to start the search at.
func (r *run) serve(frozen store.Frozen) error {
	if len(frozen.Answers) > 0 {
		r.answers = make(map[string]*store.Answer, len(frozen.Answers))
	}
	for i := range frozen.Answers {
		a := &frozen.Answers[i]
		key, err := records.PointKey(a.Point)
		if err != nil {
			return fmt.Errorf("reading record %d: %w", a.Record, err)
		}
		r.answers[key] = a
	}
	if _, levels := r.sampler.(sampler.Leveler); levels || len(frozen.Starts) == 0 {
		return nil
	}
	set, err := valid.Of(r.task.Spec.Space)
	if err != nil {
		return fmt.Errorf("reading the space: %w", err)
	}
	r.sampler = warm.New(r.sampler, set, frozen.Starts)
	return nil
}

// answer gives new experiments the records of their points. Only the search is
// answered: a baseline and a confirmation are measured here and now, or they
// would compare nothing. What is measured at less than full fidelity has none.
func (r *run) answer(list []store.NewExperiment) error {
	if r.answers == nil {
		return nil
	}
	for i := range list {
		n := &list[i]
		if n.Purpose != experiment.Search || n.Fidelity != nil {
			continue
		}
		key, err := records.PointKey(n.Parameters)
		if err != nil {
			return err
		}
		n.Answer = r.answers[key]
	}
	return nil
}

// answered tells the planner, and whoever watches, of experiments that were
// over when they were added, as if a worker had reported them; it returns the
// others.
func (p *planner) answered(r *run, list []store.NewExperiment, entries []*entry) []*entry {
	var rest []*entry
	var over []finished
	outcome := experiment.OutcomeSuccess
	for i, e := range entries {
		a := list[i].Answer
		if a == nil {
			rest = append(rest, e)
			continue
		}
		e.claimed = true // nothing to offer
		over = append(over, finished{
			Committed: store.Committed{Experiment: e.id, Task: r.task.ID, Number: e.number, State: experiment.Success, Outcome: &outcome},
			scores:    a.Scores,
		})
		p.news.add(r.task.ID, e.number)
	}
	if len(over) > 0 {
		p.mail.haveFinished(over)
	}
	return rest
}
