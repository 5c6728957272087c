package autotuner

import (
	"context"
	"errors"
	"net/http"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
)

// unbegun says that a task is held back and nothing of it was ever chosen.
func (t *Translator) unbegun(ctx context.Context, of store.Task) (bool, error) {
	if taskStatus(of.State) != pending {
		return false, nil
	}
	counts, err := t.store.Counts(ctx, []uuid.UUID{of.ID})
	return err == nil && counts[of.ID].Total == 0 && counts[of.ID].Confirmations == 0, err
}

// replaceTask puts another file into the place of a task that has not begun.
func (t *Translator) replaceTask(r *http.Request) (int, any, error) {
	ctx := r.Context()
	of, err := t.task(ctx, chi.URLParam(r, "task"))
	if err != nil {
		return 0, nil, err
	}
	data, err := body(r)
	if err != nil {
		return 0, nil, err
	}
	submitted, err := t.manager.Replace(ctx, of.ID, v1.Submission{File: "task.json", Source: string(data), Paused: true})
	if errors.Is(err, store.ErrBegun) {
		return 0, nil, refuse(http.StatusBadRequest, "task %s is %s, and a task that has begun stays what it was handed in as: "+
			"POST /api/tasks/%d/clear takes what it has measured away", of.Name, taskStatus(of.State), of.Number)
	}
	if err != nil {
		return 0, nil, t.bad(ctx, err)
	}
	d, err := t.submitted(ctx, submitted)
	return http.StatusOK, d, err
}

// A patch changes what can be changed of a task: how it is described, and
// where it stands.
type patch struct {
	Description *string `json:"description"`
	Status      *string `json:"status"`
}

func (t *Translator) patchTask(r *http.Request) (int, any, error) {
	var p patch
	if err := decode(r, &p); err != nil {
		return 0, nil, err
	}
	if p.Description == nil && p.Status == nil {
		return 0, nil, refuse(http.StatusUnprocessableEntity, "there is nothing to change: expected description, status or both")
	}
	if p.Status != nil && *p.Status != pending && *p.Status != running && *p.Status != cancelled {
		return 0, nil, refuse(http.StatusUnprocessableEntity,
			"status %q: expected pending (held back), running or cancelled; a task completes or fails by itself", *p.Status)
	}
	return t.change(r, func(ctx context.Context, of store.Task) error {
		if p.Description != nil {
			if err := t.store.Describe(ctx, of.ID, *p.Description); err != nil {
				return err
			}
		}
		if p.Status == nil || *p.Status == taskStatus(of.State) {
			return nil
		}
		switch *p.Status {
		case pending:
			return t.store.Pause(ctx, of.ID)
		case running:
			return t.start(ctx, of)
		default:
			return t.store.CancelTask(ctx, of.ID, "cancelled by its user")
		}
	}, "it cannot become what is asked for")
}

// deleteTask deletes a task that has ended, or that has not begun.
func (t *Translator) deleteTask(r *http.Request) (int, any, error) {
	ctx := r.Context()
	of, err := t.task(ctx, chi.URLParam(r, "task"))
	if err != nil {
		return 0, nil, err
	}
	held, err := t.unbegun(ctx, of)
	if err != nil {
		return 0, nil, err
	}
	if held {
		if err := t.store.CancelTask(ctx, of.ID, "deleted by its user"); err != nil && !errors.Is(err, store.ErrState) {
			return 0, nil, err
		}
	}
	if err := t.manager.Delete(ctx, of); err != nil {
		return 0, nil, t.bad(ctx, err)
	}
	return http.StatusNoContent, nil, nil
}

// restartTask runs a task that has ended once more, in its own place.
func (t *Translator) restartTask(r *http.Request) (int, any, error) { return t.again(r, false) }

// clearTask takes what a task has measured away and holds it back.
func (t *Translator) clearTask(r *http.Request) (int, any, error) { return t.again(r, true) }

func (t *Translator) again(r *http.Request, paused bool) (int, any, error) {
	ctx := r.Context()
	of, err := t.task(ctx, chi.URLParam(r, "task"))
	if err != nil {
		return 0, nil, err
	}
	held, err := t.unbegun(ctx, of)
	switch {
	case err != nil:
		return 0, nil, err
	case paused && held: // there is nothing to take away
	case !of.State.Final():
		return 0, nil, refuse(http.StatusBadRequest, "task %s is %s: only a task that has ended can be restarted or cleared; "+
			"POST /api/tasks/%d/cancel ends it", of.Name, taskStatus(of.State), of.Number)
	default:
		if of, err = t.manager.Again(ctx, of, paused); err != nil {
			return 0, nil, t.bad(ctx, err)
		}
	}
	d, err := t.full(ctx, of)
	return http.StatusOK, d, err
}

// bad turns a conflict into 400, which is what LLM Autotuner answers then.
func (t *Translator) bad(ctx context.Context, err error) error {
	if p := t.manager.Problem(ctx, err); p.Status == http.StatusConflict {
		return refuse(http.StatusBadRequest, "%s; %s", p.Detail, p.Next)
	}
	return err
}
