package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/recipe"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/shared/terminal"
)

func (a *API) recipeRoutes(api huma.API) {
	op := get("task-recipe", "/tasks/{task}/recipe", "A configuration in the form in which it will be run", "experiments")
	op.Description = "Serving tasks only. Without `experiment` it is the task's best. No form holds a secret: only its name."
	huma.Register(api, op, func(ctx context.Context, in *struct {
		Reference
		Format     string `query:"format" enum:"command,compose,kubernetes,helm,config,systemd" default:"command"`
		Experiment int    `query:"experiment" minimum:"0" doc:"number of an experiment; 0 is the best"`
		Port       int    `query:"port" minimum:"0" maximum:"65535" doc:"where the engine will serve; 0 is 8000"`
		Image      string `query:"image" maxLength:"500" pattern:"^[!-~]*$" patternDescription:"the name of an image, without spaces" doc:"the container's image; without it the task's, or that of the engine's makers"`
	}) (*answer[v1.Recipe], error) {
		d, err := a.recipe(ctx, in.Task, in.Experiment, recipe.Format(in.Format), recipe.Recipe{Port: in.Port, Image: in.Image})
		return reply(ctx, a, d, err)
	})
}

// recipe writes the configuration of an experiment, 0 for the best, as the
// draft asks for.
func (a *API) recipe(ctx context.Context, ref string, number int, format recipe.Format, draft recipe.Recipe) (v1.Recipe, error) {
	t, err := a.task(ctx, ref)
	if err != nil {
		return v1.Recipe{}, err
	}
	if t.Spec == nil || t.Spec.Serving == nil {
		return v1.Recipe{}, problem(http.StatusConflict, "fleetune apply "+t.Name+" puts a command's configuration to use", "task %s starts no engine", t.Name)
	}
	d, err := a.describe(ctx, t)
	if err != nil {
		return v1.Recipe{}, err
	}
	if number == 0 && d.Best == nil {
		return v1.Recipe{}, problem(http.StatusNotFound, "fleetune watch "+t.Name+" shows how it goes", "task %s has no best experiment yet", t.Name)
	}
	out := v1.Recipe{Task: t.Name, Number: number, Format: string(format), File: format.File()}
	if number == 0 || d.Best != nil && number == d.Best.Number {
		out.Number, draft.Parameters, draft.Origin = d.Best.Number, d.Best.Parameters, bestOrigin(d)
	} else if draft.Parameters, draft.Origin, err = a.experimentOrigin(ctx, t, number); err != nil {
		return v1.Recipe{}, err
	}
	draft.Task, out.Parameters = t.Spec, draft.Parameters
	if err := a.place(ctx, t, out.Number, &draft); err != nil {
		return v1.Recipe{}, err
	}
	out.Text, err = draft.Write(format)
	switch {
	case errors.Is(err, recipe.ErrImage):
		return v1.Recipe{}, problem(http.StatusConflict, "name one: --image IMAGE, or image: IMAGE in the task file", "%s", err)
	case errors.Is(err, recipe.ErrImpossible):
		return v1.Recipe{}, problem(http.StatusConflict, "choose another --as", "%s", err)
	}
	return out, err
}

// place tells a recipe on what the experiment ran: whose devices, and where its
// worker had the model.
func (a *API) place(ctx context.Context, t store.Task, number int, r *recipe.Recipe) error {
	where, err := a.store.MeasuredExperiments(ctx, t.ID, number-1, 1)
	if err != nil {
		return err
	}
	s := t.Spec.Serving
	if s.Launcher == "kubernetes" {
		r.Vendor = vendor(where, node.CPU) // a worker's slots stand for the cluster's devices
	} else {
		r.Vendor = vendor(where, "")
	}
	measured, err := a.store.Measurements(ctx, t.ID, []int{number})
	if err != nil {
		return err
	}
	if m := measured[number]; m != nil && m.Serving != nil {
		r.ModelPath = m.Serving.ModelPath
	}
	return nil
}

// vendor is whose devices an experiment held; empty where that is not known
// any more, or is the one that does not count.
func vendor(where []store.Measured, not string) string {
	for _, e := range where {
		if e.Node == nil {
			continue
		}
		for _, d := range e.Node.Devices {
			if slices.Contains(e.Devices, d.ID) && d.Vendor != not {
				return d.Vendor
			}
		}
	}
	return ""
}

// bestOrigin says where the task's best comes from and what it is worth.
func bestOrigin(d v1.Task) string {
	text := fmt.Sprintf("experiment %d of task %s", d.Best.Number, d.Name)
	if len(d.Objectives) > 0 {
		metric := d.Objectives[0].Metric
		text += fmt.Sprintf(", %s %s", metric, terminal.Quantity(d.Best.Metrics[metric].Median, d.Best.Metrics[metric].Unit))
	}
	switch s := d.Best.Speedup; {
	case s == nil:
	case s.Low == nil || s.High == nil:
		text += fmt.Sprintf(", %.2f times the baseline (not confirmed)", s.Ratio)
	default:
		text += fmt.Sprintf(", %.2f times the baseline (%.2f to %.2f)", s.Ratio, *s.Low, *s.High)
	}
	return text
}

func (a *API) experimentOrigin(ctx context.Context, t store.Task, number int) (space.Point, string, error) {
	e, err := a.store.Experiment(ctx, t.ID, number)
	if err != nil {
		return nil, "", err
	}
	return e.Parameters, fmt.Sprintf("experiment %d of task %s", number, t.Name), nil
}
