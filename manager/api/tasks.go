package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/google/uuid"
)

// suggestions is how many names are compared with one that is not found.
const suggestions = 1000

// A Reference names a task.
// It is exported, as every struct that an input embeds, because huma looks at
// exported fields only.
type Reference struct {
	Task string `path:"task" maxLength:"200" doc:"name or id of a task"`
}

type answer[T any] struct{ Body T }

func (a *API) taskRoutes(api huma.API) {
	huma.Register(api, get("list-tasks", "/tasks", "Tasks, newest first", "tasks"),
		func(ctx context.Context, in *struct {
			Status string `query:"status" enum:"waiting,running,paused,completed,failed,cancelled" doc:"only tasks with this status"`
			After  string `query:"after" doc:"cursor of an earlier page"`
			Limit  int    `query:"limit" default:"50" minimum:"1" maximum:"500"`
		}) (*answer[v1.Page[v1.Task]], error) {
			page, err := a.listTasks(ctx, store.TaskState(in.Status), in.After, in.Limit)
			return reply(ctx, a, page, err)
		})
	huma.Register(api, get("show-task", "/tasks/{task}", "A task as it stands", "tasks"),
		func(ctx context.Context, in *Reference) (*answer[v1.Task], error) {
			d, err := a.showTask(ctx, in.Task)
			return reply(ctx, a, d, err)
		})
	huma.Register(api, get("task-source", "/tasks/{task}/source", "The task file as it was submitted", "tasks"),
		func(ctx context.Context, in *Reference) (*answer[v1.Source], error) {
			d, err := a.taskSource(ctx, in.Task)
			return reply(ctx, a, d, err)
		})
	huma.Register(api, get("task-best", "/tasks/{task}/best", "The best experiment so far, or the task's result", "tasks"),
		func(ctx context.Context, in *Reference) (*answer[v1.Best], error) {
			d, err := a.taskBest(ctx, in.Task)
			return reply(ctx, a, d, err)
		})
	a.changeRoute(api, "pause", "Hold a task back: what runs goes on, nothing new starts", store.TaskPaused, a.store.Pause)
	a.changeRoute(api, "resume", "Let a paused task go on", store.TaskRunning, a.store.Resume)
	huma.Register(api, operation("cancel-task", http.MethodPost, "/tasks/{task}/cancel", "End a task and stop what runs of it", "tasks"),
		func(ctx context.Context, in *struct {
			Reference
			Body *v1.Change
		}) (*answer[v1.Task], error) {
			cause := "cancelled by its user"
			if in.Body != nil && in.Body.Cause != "" {
				cause = in.Body.Cause
			}
			d, err := a.change(ctx, in.Task, store.TaskCancelled, func(ctx context.Context, id uuid.UUID) error {
				return a.store.CancelTask(ctx, id, cause)
			})
			return reply(ctx, a, d, err)
		})
}

func (a *API) changeRoute(api huma.API, verb, summary string, wanted store.TaskState, f func(context.Context, uuid.UUID) error) {
	huma.Register(api, operation(verb+"-task", http.MethodPost, "/tasks/{task}/"+verb, summary, "tasks"),
		func(ctx context.Context, in *Reference) (*answer[v1.Task], error) {
			d, err := a.change(ctx, in.Task, wanted, f)
			return reply(ctx, a, d, err)
		})
}

// reply answers with a document or with the problem.
func reply[T any](ctx context.Context, a *API, document T, err error) (*answer[T], error) {
	if err != nil {
		return nil, failure(ctx, a.log, err)
	}
	return &answer[T]{Body: document}, nil
}

// task finds a task, and the name that was meant when there is none.
func (a *API) task(ctx context.Context, ref string) (store.Task, error) {
	t, err := a.store.Task(ctx, ref)
	if !errors.Is(err, store.ErrNotFound) {
		return t, err
	}
	p := problem(http.StatusNotFound, "fleetune tasks lists the tasks there are", "there is no task %q", ref)
	names, listErr := a.store.TaskNames(ctx, suggestions)
	if listErr != nil {
		return t, listErr
	}
	if near := space.Nearest(ref, names); near != "" {
		p.Next = fmt.Sprintf("did you mean %q? %s", near, p.Next)
		p.Errors = []v1.Finding{{Severity: "error", Field: "task", Message: p.Detail, Nearest: near}}
	}
	return t, p
}

func (a *API) listTasks(ctx context.Context, state store.TaskState, after string, limit int) (v1.Page[v1.Task], error) {
	page := v1.Page[v1.Task]{Items: []v1.Task{}}
	var cursor *uuid.UUID
	if after != "" {
		id, err := uuid.Parse(after)
		if err != nil {
			return page, badCursor(after)
		}
		cursor = &id
	}
	tasks, err := a.store.ListTasks(ctx, state, cursor, limit+1)
	if err != nil {
		return page, err
	}
	if len(tasks) > limit {
		tasks = tasks[:limit]
		page.Next = tasks[limit-1].ID.String()
	}
	page.Items, err = a.taskDocuments(ctx, tasks)
	return page, err
}

func badCursor(after string) error {
	return problem(http.StatusBadRequest, "use the `next` of the page before, unchanged", "after=%q is no cursor", after)
}

// taskDocuments describes tasks with three reads, however many they are.
func (a *API) taskDocuments(ctx context.Context, tasks []store.Task) ([]v1.Task, error) {
	ids := make([]uuid.UUID, len(tasks))
	for i, t := range tasks {
		ids[i] = t.ID
	}
	counts, err := a.store.Counts(ctx, ids)
	if err != nil {
		return nil, err
	}
	landmarks, err := a.store.Landmarks(ctx, tasks)
	if err != nil {
		return nil, err
	}
	documents := make([]v1.Task, len(tasks))
	for i, t := range tasks {
		documents[i] = taskDocument(t, counts[t.ID], landmarks[t.ID])
	}
	return documents, nil
}

func (a *API) describe(ctx context.Context, t store.Task) (v1.Task, error) {
	documents, err := a.taskDocuments(ctx, []store.Task{t})
	if err != nil {
		return v1.Task{}, err
	}
	d := documents[0]
	if t.State == store.TaskRunning || t.State == store.TaskPaused {
		err = a.addRunning(ctx, &d)
	}
	return d, err
}

// addRunning tells what workers do for a task, and how many of its experiments
// do not use their devices yet. Confirmations are left out there, as in the
// other counts.
func (a *API) addRunning(ctx context.Context, d *v1.Task) error {
	workers, err := a.store.Workers(ctx)
	if err != nil {
		return err
	}
	places, err := a.places(ctx, workers)
	if err != nil {
		return err
	}
	for _, w := range workers {
		for _, h := range w.Held {
			p := places[h.Experiment]
			if p.task != d.Name || p.state != experiment.Running || w.State == store.WorkerLost {
				continue
			}
			d.Running = append(d.Running, heldDocument(w.Name, h, p))
			if p.purpose != experiment.Confirm && slices.Contains([]string{"staging", "download", "waiting"}, h.Phase) {
				d.Experiments.Staging++
			}
		}
	}
	d.Experiments.Staging = min(d.Experiments.Staging, d.Experiments.Running) // the counts were read before
	slices.SortFunc(d.Running, func(a, b v1.Held) int { return cmp.Compare(a.Number, b.Number) })
	return nil
}

func (a *API) showTask(ctx context.Context, ref string) (v1.Task, error) {
	t, err := a.task(ctx, ref)
	if err != nil {
		return v1.Task{}, err
	}
	return a.describe(ctx, t)
}

func (a *API) taskSource(ctx context.Context, ref string) (v1.Source, error) {
	t, err := a.task(ctx, ref)
	if err != nil {
		return v1.Source{}, err
	}
	text, err := a.store.TaskSource(ctx, t.ID)
	return v1.Source{Task: t.Name, Source: text, Spec: t.Spec}, err
}

func (a *API) taskBest(ctx context.Context, ref string) (v1.Best, error) {
	d, err := a.showTask(ctx, ref)
	if err != nil {
		return v1.Best{}, err
	}
	if d.Best == nil {
		return v1.Best{}, problem(http.StatusNotFound, "fleetune show tells how it stands, fleetune why what it waits for",
			"task %s has no successful experiment yet", d.Name)
	}
	return *d.Best, nil
}

// change moves a task to another state. A task that is there already is left
// alone, so that asking twice does no harm.
func (a *API) change(ctx context.Context, ref string, wanted store.TaskState, f func(context.Context, uuid.UUID) error) (v1.Task, error) {
	t, err := a.task(ctx, ref)
	if err != nil {
		return v1.Task{}, err
	}
	if t.State != wanted {
		if err := f(ctx, t.ID); errors.Is(err, store.ErrState) {
			return v1.Task{}, a.refuseChange(ctx, t, wanted)
		} else if err != nil {
			return v1.Task{}, err
		}
	}
	return a.showTask(ctx, t.ID.String())
}

func (a *API) refuseChange(ctx context.Context, t store.Task, wanted store.TaskState) error {
	state := t.State
	if now, err := a.store.Task(ctx, t.ID.String()); err == nil {
		state = now.State // it may have changed since it was read
	}
	next := "fleetune show " + t.Name + " tells how it stands"
	if state.Final() {
		next = "a task that has ended stays so; fleetune retry " + t.Name + " hands it in again"
	}
	return problem(http.StatusConflict, next, "task %s is %s, so it cannot become %s", t.Name, state, wanted)
}
