package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/rally"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/bundle"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/google/uuid"
)

func (a *API) loadRoutes(api huma.API) {
	op := operation("order-load", http.MethodPost, "/loads", "Order a load from several workers", "loads")
	op.Description = "Makes a task whose experiments are the shares of one load, each on a worker of its own. They start " +
		"together once somebody reads `/loads/{task}/gather`. `fleetune bench --workers` does both."
	op.DefaultStatus = http.StatusCreated
	op.Errors = []int{http.StatusUnauthorized, http.StatusConflict, http.StatusUnprocessableEntity}
	huma.Register(api, op, func(ctx context.Context, in *struct{ Body v1.LoadOrder }) (*submitAnswer, error) {
		d, err := a.orderLoad(ctx, in.Body)
		if err != nil {
			return nil, failure(ctx, a.log, err)
		}
		return &submitAnswer{Status: http.StatusCreated, Location: v1.Base + "/tasks/" + d.Name, Body: v1.Submitted{Task: &d, Warnings: []v1.Finding{}}}, nil
	})
	gather := get("gather-load", "/loads/{task}/gather", "Start a load and read what its shares measure", "loads")
	gather.Description = "Server-sent events: `state` whenever a share's state changes and once a second, `part` for each piece " +
		"of a share's result, `end` when every share has ended. The stream cannot be resumed, and a load has one reader: " +
		"shares that nobody reads stop by themselves. Cancel the task to stop them with what they have."
	gather.Responses = map[string]*huma.Response{"200": {Description: "a stream of events",
		Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: "string"}}}}}
	huma.Register(api, gather, func(ctx context.Context, in *Reference) (*huma.StreamResponse, error) {
		out, err := a.gatherLoad(ctx, in.Task)
		if err != nil {
			return nil, failure(ctx, a.log, err)
		}
		return out, nil
	})
}

func (a *API) orderLoad(ctx context.Context, o v1.LoadOrder) (v1.Task, error) {
	l := o.Load
	if l.Bundle = ""; len(o.Bundle) > 0 {
		contents, err := bundle.Unpack(bytes.NewReader(o.Bundle), "")
		if err != nil {
			return v1.Task{}, refusedLoad(err)
		}
		for _, name := range l.Files {
			if _, ok := contents[name]; !ok {
				return v1.Task{}, refusedLoad(fmt.Errorf("the file %q is not in the bundle that came with the load", name))
			}
		}
		l.Bundle = bundle.Digest(o.Bundle)
	}
	spec, err := task.NewLoad(o.Name, l, time.Duration(o.Seconds*float64(time.Second)),
		node.Requirements{Pool: o.Pool, Accelerator: o.Accelerator, Labels: o.Labels})
	if err != nil {
		return v1.Task{}, refusedLoad(err)
	}
	source, err := json.Marshal(l)
	if err != nil {
		return v1.Task{}, fmt.Errorf("encoding a load: %w", err)
	}
	created, err := a.store.CreateTask(ctx, store.NewTask{Spec: spec, Source: string(source), Planned: l.Shares, Bundle: o.Bundle})
	if err != nil {
		return v1.Task{}, err
	}
	return a.describe(ctx, created)
}

func refusedLoad(err error) error {
	return problem(http.StatusUnprocessableEntity, "correct the load; fleetune bench --help says what it takes", "%v", err)
}

func (a *API) gatherLoad(ctx context.Context, ref string) (*huma.StreamResponse, error) {
	t, err := a.task(ctx, ref)
	switch {
	case err != nil:
		return nil, err
	case t.Spec == nil || t.Spec.Load == nil:
		return nil, problem(http.StatusConflict, "name the task of a load", "task %s is no load", t.Name)
	case t.State.Final():
		return nil, problem(http.StatusConflict, "order it again", "the load %s has ended", t.Name)
	case a.config.JetStream == nil:
		return nil, problem(http.StatusNotImplemented, "ask the manager that runs with a bus", "this manager has no bus to gather a load on")
	case !a.gathers.begin(t.ID):
		return nil, problem(http.StatusConflict, "wait for the other reader, or cancel the task", "somebody gathers the load %s already", t.Name)
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer a.gathers.end(t.ID)
		ctx, cancel := streaming(hc.Context())
		defer cancel()
		w := newEventWriter(hc)
		err := rally.Gather(ctx, a.config.JetStream.Conn(), t.ID, t.Spec.Load.Shares, loadReader{w}, a.log)
		if err == nil {
			w.write("", "end", struct{}{})
		} else if ctx.Err() == nil && !errors.Is(err, w.err) {
			a.log.Warn().Err(err).Str("task", t.Name).Msg("gathering a load")
		}
	}}, nil
}

// loadReader passes a load on to a client.
type loadReader struct{ w *eventWriter }

func (r loadReader) State(s v1.LoadState) error {
	r.w.write("", "state", s)
	return r.w.err
}

func (r loadReader) Part(p v1.LoadPart) error {
	r.w.write("", "part", p)
	return r.w.err
}

// gathers are the loads that are being read here.
type gathers struct {
	mu   sync.Mutex
	busy map[uuid.UUID]bool
}

func (g *gathers) begin(id uuid.UUID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.busy[id] {
		return false
	}
	if g.busy == nil {
		g.busy = map[uuid.UUID]bool{}
	}
	g.busy[id] = true
	return true
}

func (g *gathers) end(id uuid.UUID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.busy, id)
}
