package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/retire"
	"github.com/fleetune/fleetune/manager/store"
)

func (a *API) deletingRoutes(api huma.API) {
	op := operation("delete-task", http.MethodDelete, "/tasks/{task}", "Delete a task that has ended", "tasks")
	op.Description = "Its experiments, attempts, metrics, output and events go with it, and its files where no other task refers to them; " +
		"tuning records stay. A task that has not ended is refused (409): cancel it first. Asking twice gets the same answer for as long " +
		"as events are kept."
	huma.Register(api, op, func(ctx context.Context, in *struct {
		Reference
		DryRun bool `query:"dry_run" doc:"tell what would go; delete nothing"`
	}) (*answer[v1.Deletion], error) {
		d, err := a.deleteTask(ctx, in.Task, in.DryRun)
		return reply(ctx, a, d, err)
	})
}

// retirer deletes tasks.
func (a *API) retirer() retire.Retirer {
	return retire.Retirer{Store: a.store, JetStream: a.config.JetStream, Log: a.log}
}

func (a *API) deleteTask(ctx context.Context, ref string, dry bool) (v1.Deletion, error) {
	t, err := a.task(ctx, ref)
	if err != nil {
		// One that is gone already is answered as it was when it went.
		if gone, notGone := a.store.Deleted(ctx, ref); notGone == nil {
			return deletionDocument(gone, true), nil
		}
		return v1.Deletion{}, err
	}
	var d store.Deletion
	if dry {
		d, err = a.retirer().Weigh(ctx, t.ID)
	} else {
		d, err = a.retirer().Delete(ctx, t.ID, "deleted by its user")
	}
	if err != nil {
		return v1.Deletion{}, refuseDeletion(t, err)
	}
	return deletionDocument(d, !dry), nil
}

func deletionDocument(d store.Deletion, deleted bool) v1.Deletion {
	return v1.Deletion{ID: d.Task, Name: d.Name, Status: string(d.State), FinishedAt: utc(d.FinishedAt), Experiments: d.Experiments,
		Attempts: d.Attempts, Records: d.Records, Deleted: deleted}
}

// refuseDeletion says what keeps a task from being deleted, and what to do.
func refuseDeletion(t store.Task, err error) error {
	switch {
	case errors.Is(err, store.ErrNotEnded):
		return problem(http.StatusConflict, "fleetune cancel "+t.Name+" ends it; delete it then",
			"task %s is %s, and only tasks that have ended are deleted", t.Name, t.State)
	case errors.Is(err, store.ErrStopping):
		return problem(http.StatusConflict, "try again in a moment; fleetune show "+t.Name+" tells what runs of it",
			"task %s has ended, but its last experiments are still being stopped", t.Name)
	case errors.Is(err, store.ErrUnrecorded):
		return problem(http.StatusConflict, "try again in a minute",
			"task %s has ended, but where it was measured is not known yet, so that its tuning records cannot be kept", t.Name)
	}
	return err
}
