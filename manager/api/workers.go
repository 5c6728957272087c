package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/google/uuid"
)

type workerReference struct {
	Worker string `path:"worker" maxLength:"128" doc:"name of a worker"`
}

func (a *API) workerRoutes(api huma.API) {
	huma.Register(api, get("list-workers", "/workers", "Every worker ever seen, by name", "workers"),
		func(ctx context.Context, _ *struct{}) (*answer[v1.Page[v1.Worker]], error) {
			list, err := a.listWorkers(ctx)
			return reply(ctx, a, v1.Page[v1.Worker]{Items: list}, err)
		})
	huma.Register(api, get("show-worker", "/workers/{worker}", "A worker as its last beat described it", "workers"),
		func(ctx context.Context, in *workerReference) (*answer[v1.Worker], error) {
			d, err := a.showWorker(ctx, in.Worker)
			return reply(ctx, a, d, err)
		})
	a.drainRoute(api, "drain-worker", http.MethodPost, "Ask a worker to finish what it runs and leave", true)
	a.drainRoute(api, "undrain-worker", http.MethodDelete, "Take that wish back", false)
	huma.Register(api, operation("join-worker", http.MethodPost, "/workers/{worker}/credentials",
		"A worker's access to the bus; the join token is enough", "workers"),
		func(ctx context.Context, in *workerReference) (*answer[v1.Credentials], error) {
			d, err := a.join(ctx, in.Worker)
			return reply(ctx, a, d, err)
		})
}

func (a *API) drainRoute(api huma.API, id, method, summary string, drain bool) {
	huma.Register(api, operation(id, method, "/workers/{worker}/drain", summary, "workers"),
		func(ctx context.Context, in *workerReference) (*answer[v1.Worker], error) {
			if err := a.store.SetDrain(ctx, in.Worker, drain); err != nil && !errors.Is(err, store.ErrNotFound) {
				return nil, failure(ctx, a.log, err)
			}
			d, err := a.showWorker(ctx, in.Worker)
			return reply(ctx, a, d, err)
		})
}

func (a *API) listWorkers(ctx context.Context) ([]v1.Worker, error) {
	workers, err := a.store.Workers(ctx)
	if err != nil {
		return nil, err
	}
	named, err := a.places(ctx, workers)
	if err != nil {
		return nil, err
	}
	list := make([]v1.Worker, len(workers))
	for i, w := range workers {
		list[i] = workerDocument(w, named)
	}
	return list, nil
}

func (a *API) showWorker(ctx context.Context, name string) (v1.Worker, error) {
	list, err := a.listWorkers(ctx)
	if err != nil {
		return v1.Worker{}, err
	}
	names := make([]string, len(list))
	for i, w := range list {
		if w.Name == name {
			return w, nil
		}
		names[i] = w.Name
	}
	p := problem(http.StatusNotFound, "fleetune workers lists the workers there are", "there is no worker %q", name)
	if near := space.Nearest(name, names); near != "" {
		p.Next = "did you mean \"" + near + "\"? " + p.Next
	}
	return v1.Worker{}, p
}

// places finds out what the attempts in workers' hands belong to.
func (a *API) places(ctx context.Context, workers []store.Worker) (map[uuid.UUID]place, error) {
	var held []uuid.UUID
	for _, w := range workers {
		for _, h := range w.Held {
			held = append(held, h.Experiment)
		}
	}
	if len(held) == 0 {
		return nil, nil
	}
	experiments, err := a.store.ExperimentsByID(ctx, held)
	if err != nil {
		return nil, err
	}
	ids := make([]uuid.UUID, len(experiments))
	for i, e := range experiments {
		ids[i] = e.TaskID
	}
	tasks, err := a.store.TasksByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	named := make(map[uuid.UUID]place, len(experiments))
	for _, e := range experiments {
		named[e.ID] = place{task: tasks[e.TaskID].Name, number: e.Number, state: e.State, purpose: e.Purpose}
	}
	return named, nil
}

func (a *API) join(ctx context.Context, worker string) (v1.Credentials, error) {
	if a.config.Credentials == nil {
		return v1.Credentials{}, problem(http.StatusNotImplemented, "give the worker the bus's URL and its credentials by hand",
			"this manager hands out no credentials: its bus is run by somebody else")
	}
	if !wire.ValidWorkerName(worker) {
		return v1.Credentials{}, problem(http.StatusUnprocessableEntity,
			"use letters, digits, dashes and underscores, 128 at most, beginning with a letter or digit",
			"%q cannot be a worker's name", worker)
	}
	return a.config.Credentials(ctx, worker)
}
