package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
)

// Numbered names an experiment of a task.
type Numbered struct {
	Reference
	Number int `path:"number" minimum:"1" doc:"number of an experiment within its task"`
}

// Choice narrows a listing of experiments.
type Choice struct {
	Status  string `query:"status" enum:"queued,running,success,failed,cancelled" doc:"only experiments with this status"`
	Outcome string `query:"outcome" enum:"success,incorrect,no_metric,failed,out_of_memory,infeasible,combo_timeout,total_timeout,not_started,render_error,infra_error,lost,cancelled,stopped_early" doc:"only experiments that ended like this"`
	Purpose string `query:"purpose" enum:"baseline,search,confirm,all" doc:"only experiments of this purpose; without it everything but confirmations, 'all' for them too"`
}

// filter translates a choice for the store.
func (c Choice) filter(t store.Task) store.ExperimentFilter {
	f := store.ExperimentFilter{Task: t.ID, State: experiment.State(c.Status), Outcome: experiment.Outcome(c.Outcome)}
	switch c.Purpose {
	case "":
		f.Purposes = []experiment.Purpose{experiment.Baseline, experiment.Search}
	case "all":
	default:
		f.Purposes = []experiment.Purpose{experiment.Purpose(c.Purpose)}
	}
	return f
}

func (a *API) experimentRoutes(api huma.API) {
	huma.Register(api, get("list-experiments", "/tasks/{task}/experiments", "A task's experiments, by number", "experiments"),
		func(ctx context.Context, in *struct {
			Reference
			Choice
			After string `query:"after" doc:"cursor of an earlier page"`
			Limit int    `query:"limit" default:"200" minimum:"1" maximum:"2000"`
		}) (*answer[v1.Page[v1.Experiment]], error) {
			page, err := a.listExperiments(ctx, in.Task, in.Choice, in.After, in.Limit)
			return reply(ctx, a, page, err)
		})
	huma.Register(api, get("show-experiment", "/tasks/{task}/experiments/{number}", "An experiment with its attempts", "experiments"),
		func(ctx context.Context, in *Numbered) (*answer[v1.Detailed], error) {
			d, err := a.showExperiment(ctx, in.Task, in.Number)
			return reply(ctx, a, d, err)
		})
}

func (a *API) listExperiments(ctx context.Context, ref string, c Choice, after string, limit int) (v1.Page[v1.Experiment], error) {
	page := v1.Page[v1.Experiment]{Items: []v1.Experiment{}}
	t, err := a.task(ctx, ref)
	if err != nil {
		return page, err
	}
	f := c.filter(t)
	if after != "" {
		if f.After, err = strconv.Atoi(after); err != nil || f.After < 0 {
			return page, badCursor(after)
		}
	}
	f.Limit = limit + 1
	list, err := a.store.ListExperiments(ctx, f)
	if err != nil {
		return page, err
	}
	if len(list) > limit {
		list = list[:limit]
		page.Next = strconv.Itoa(list[limit-1].Number)
	}
	for _, e := range list {
		page.Items = append(page.Items, experimentDocument(t, e))
	}
	return page, a.addPhases(ctx, page.Items...)
}

// addPhases tells of experiments that run what their workers do for them.
func (a *API) addPhases(ctx context.Context, list ...v1.Experiment) error {
	runs := func(e v1.Experiment) bool { return e.Status == experiment.Running }
	if !slices.ContainsFunc(list, runs) {
		return nil
	}
	workers, err := a.store.Workers(ctx)
	if err != nil {
		return err
	}
	for i := range list {
		for _, w := range workers {
			for _, h := range w.Held {
				if runs(list[i]) && h.Experiment == list[i].ID && w.Name == list[i].Worker {
					list[i].Phase, list[i].Detail = h.Phase, h.Detail
				}
			}
		}
	}
	return nil
}

// experiment finds an experiment of a task.
func (a *API) experiment(ctx context.Context, ref string, number int) (store.Task, store.Experiment, error) {
	t, err := a.task(ctx, ref)
	if err != nil {
		return t, store.Experiment{}, err
	}
	e, err := a.store.Experiment(ctx, t.ID, number)
	if errors.Is(err, store.ErrNotFound) {
		err = problem(http.StatusNotFound, "fleetune experiments "+t.Name+" lists those there are",
			"task %s has no experiment %d", t.Name, number)
	}
	return t, e, err
}

func (a *API) showExperiment(ctx context.Context, ref string, number int) (v1.Detailed, error) {
	t, e, err := a.experiment(ctx, ref, number)
	if err != nil {
		return v1.Detailed{}, err
	}
	attempts, err := a.store.Attempts(ctx, e.ID)
	if err != nil {
		return v1.Detailed{}, err
	}
	document := []v1.Experiment{experimentDocument(t, e)}
	if err := a.addPhases(ctx, document...); err != nil {
		return v1.Detailed{}, err
	}
	d := v1.Detailed{Experiment: document[0], History: []v1.Attempt{}}
	for _, attempt := range attempts {
		d.History = append(d.History, attemptDocument(t, attempt))
	}
	return d, nil
}
