package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/records/reuse"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/task"
)

func (a *API) retryRoutes(api huma.API) {
	op := operation("retry-task", http.MethodPost, "/tasks/{task}/retry", "Hand a task's file in again, under another name", "tasks")
	op.Description = "The new task is what the other was when it was handed in; the other stays as it is. Only a task that has ended is retried."
	op.DefaultStatus = http.StatusCreated
	huma.Register(api, op, func(ctx context.Context, in *struct {
		Reference
		Body *v1.Retry
	}) (*answer[v1.Task], error) {
		var how v1.Retry
		if in.Body != nil {
			how = *in.Body
		}
		d, err := a.retry(ctx, in.Task, how)
		return reply(ctx, a, d, err)
	})
}

// tries is how many names are tried for a task that is retried.
const tries = 100

func (a *API) retry(ctx context.Context, ref string, how v1.Retry) (v1.Task, error) {
	t, err := a.task(ctx, ref)
	if err != nil {
		return v1.Task{}, err
	}
	if !t.State.Final() {
		return v1.Task{}, problem(http.StatusConflict, "fleetune cancel "+t.Name+" ends it; fleetune wait "+t.Name+" waits for its end",
			"task %s is %s, and only tasks that have ended are retried", t.Name, t.State)
	}
	if how.Name != "" && !validName(how.Name) {
		return v1.Task{}, refusedName(how.Name)
	}
	if how.Failures { // what succeeded has to be among the records
		if _, err := a.retirer().Weigh(ctx, t.ID); err != nil {
			return v1.Task{}, refuseDeletion(t, err)
		}
	}
	next, err := a.again(ctx, t)
	if err != nil {
		return v1.Task{}, err
	}
	next.Paused = how.Paused
	next.Spec.Rename(cmp.Or(how.Name, runName(t.Name, 0))) // the operation stays that of the first run
	if how.Failures {
		next.Spec.Records.Reuse = task.ReuseExact
	}
	if err := a.freeze(ctx, &next); err != nil {
		return v1.Task{}, err
	}
	for n := 1; ; n++ {
		created, err := a.store.CreateTask(ctx, next)
		switch {
		case err == nil:
			return a.describe(ctx, created)
		case errors.Is(err, store.ErrTaskExists) && how.Name == "" && n < tries:
			next.Spec.Rename(runName(t.Name, n))
			continue
		case errors.Is(err, store.ErrTaskExists):
			return v1.Task{}, problem(http.StatusConflict, "give it another name: fleetune retry "+t.Name+" --name NAME", "%s", err.Error())
		case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrNeverStarts):
			return v1.Task{}, problem(http.StatusConflict, "submit its file again, with what it needs", "task %s cannot be retried: %s", t.Name, err.Error())
		}
		return v1.Task{}, err
	}
}

// again is a task as it was handed in, to be handed in once more.
func (a *API) again(ctx context.Context, t store.Task) (store.NewTask, error) {
	if t.Spec == nil || t.Spec.Load != nil {
		return store.NewTask{}, problem(http.StatusConflict, "order the load again with fleetune bench --workers",
			"%s is the load of a bench, which its own command gathers", t.Name)
	}
	source, err := a.store.TaskSource(ctx, t.ID)
	if err != nil {
		return store.NewTask{}, err
	}
	n := store.NewTask{Spec: t.Spec, Source: source, Planned: t.Planned, Search: t.Search}
	if digest := t.Spec.Bundle(); digest != "" {
		n.Bundle, err = a.bundle(ctx, digest)
	}
	return n, err
}

// bundle reads the files that a task came with.
func (a *API) bundle(ctx context.Context, digest string) ([]byte, error) {
	data, _, err := a.store.Bundle(ctx, digest, 0, maxBody)
	return data, err
}

// freeze decides which records serve a task that is about to be stored.
func (a *API) freeze(ctx context.Context, n *store.NewTask) (err error) {
	n.Served, n.Frozen, err = reuse.Freeze(ctx, a.store, n.Spec)
	return err
}

var runSuffix = regexp.MustCompile(`-run([1-9][0-9]{0,5})$`)

// runName is the n-th name to try for another run of a task: alpha-run2 for
// alpha, alpha-run3 for alpha-run2.
func runName(of string, n int) string {
	run := 2
	if m := runSuffix.FindStringSubmatch(of); m != nil {
		if before, err := strconv.Atoi(m[1]); err == nil {
			of, run = strings.TrimSuffix(of, m[0]), before+1
		}
	}
	suffix := fmt.Sprintf("-run%d", run+n)
	if most := longestName - len(suffix); len(of) > most {
		of = strings.TrimRight(of[:most], "-")
	}
	return of + suffix
}
