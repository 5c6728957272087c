package api

import (
	"context"
	"fmt"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/api/why"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/google/uuid"
)

func (a *API) whyRoutes(api huma.API) {
	huma.Register(api, get("why-task", "/tasks/{task}/why", "What a task's next experiment waits for", "experiments"),
		func(ctx context.Context, in *Reference) (*answer[v1.Why], error) {
			d, err := a.whyTask(ctx, in.Task)
			return reply(ctx, a, d, err)
		})
	huma.Register(api, get("why-experiment", "/tasks/{task}/experiments/{number}/why", "What an experiment waits for", "experiments"),
		func(ctx context.Context, in *Numbered) (*answer[v1.Why], error) {
			t, e, err := a.experiment(ctx, in.Task, in.Number)
			if err != nil {
				return nil, failure(ctx, a.log, err)
			}
			d, err := a.explain(ctx, t, &e)
			return reply(ctx, a, d, err)
		})
}

func (a *API) whyTask(ctx context.Context, ref string) (v1.Why, error) {
	t, err := a.task(ctx, ref)
	if err != nil {
		return v1.Why{}, err
	}
	queued, err := a.store.QueuedExperiments(ctx, t.ID, 1)
	if err != nil {
		return v1.Why{}, err
	}
	if len(queued) == 0 {
		return a.explain(ctx, t, nil)
	}
	return a.explain(ctx, t, &queued[0])
}

// explain reads everything that bears on the question.
func (a *API) explain(ctx context.Context, t store.Task, e *store.Experiment) (v1.Why, error) {
	c := why.Case{Task: t, Experiment: e, Now: time.Now(), Places: map[uuid.UUID]string{}}
	var err error
	if c.Dependencies, err = a.store.Dependencies(ctx, t.ID); err != nil {
		return v1.Why{}, err
	}
	if c.Workers, err = a.store.Workers(ctx); err != nil {
		return v1.Why{}, err
	}
	live, err := a.store.LiveTasks(ctx)
	if err != nil {
		return v1.Why{}, err
	}
	ids := []uuid.UUID{t.ID}
	for _, o := range live {
		if o.ID != t.ID {
			c.Others = append(c.Others, o)
			ids = append(ids, o.ID)
		}
	}
	if c.OtherCounts, err = a.store.Counts(ctx, ids); err != nil {
		return v1.Why{}, err
	}
	c.Counts = c.OtherCounts[t.ID]
	named, err := a.places(ctx, c.Workers)
	if err != nil {
		return v1.Why{}, err
	}
	for id, p := range named {
		c.Places[id] = fmt.Sprintf("%s #%d", p.task, p.number)
	}
	return why.Explain(c), nil
}
