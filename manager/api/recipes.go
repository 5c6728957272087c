package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/recipe"
	"github.com/fleetune/fleetune/manager/store"
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
	}) (*answer[v1.Recipe], error) {
		d, err := a.recipe(ctx, in.Task, recipe.Format(in.Format), in.Experiment, in.Port)
		return reply(ctx, a, d, err)
	})
}

func (a *API) recipe(ctx context.Context, ref string, format recipe.Format, number, port int) (v1.Recipe, error) {
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
	var point space.Point
	var origin string
	if number == 0 || d.Best != nil && number == d.Best.Number {
		out.Number, point, origin = d.Best.Number, d.Best.Parameters, bestOrigin(d)
	} else if point, origin, err = a.experimentOrigin(ctx, t, number); err != nil {
		return v1.Recipe{}, err
	}
	out.Parameters = point
	out.Text, err = recipe.Recipe{Task: t.Spec, Parameters: point, Origin: origin, Port: port}.Write(format)
	if errors.Is(err, recipe.ErrImpossible) {
		return v1.Recipe{}, problem(http.StatusConflict, "choose another --as", "%s", err)
	}
	return out, err
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
