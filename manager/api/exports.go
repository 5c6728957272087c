package api

import (
	"context"
	"iter"
	"mime"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/export"
	"github.com/fleetune/fleetune/manager/store"
)

// exportBatch is how many rows are read at once.
const exportBatch = 1000

func (a *API) exportRoutes(api huma.API) {
	op := get("export-task", "/tasks/{task}/export", "A task's experiments as a file", "experiments")
	op.Responses = map[string]*huma.Response{"200": {Description: "the file", Content: map[string]*huma.MediaType{}}}
	for _, f := range export.Formats() {
		op.Responses["200"].Content[f.ContentType()] = &huma.MediaType{Schema: &huma.Schema{Type: "string", Format: "binary"}}
	}
	huma.Register(api, op, func(ctx context.Context, in *struct {
		Reference
		Choice
		Format string `query:"format" enum:"csv,json,jsonl,xlsx" default:"csv"`
	}) (*huma.StreamResponse, error) {
		response, err := a.export(ctx, in.Task, in.Choice, in.Format)
		if err != nil {
			return nil, failure(ctx, a.log, err)
		}
		return response, nil
	})
}

func (a *API) export(ctx context.Context, ref string, c Choice, name string) (*huma.StreamResponse, error) {
	format, err := export.Parse(name)
	if err != nil {
		return nil, problem(http.StatusUnprocessableEntity, "choose one of csv, json, jsonl, xlsx", "%s", err.Error())
	}
	t, err := a.task(ctx, ref)
	if err != nil {
		return nil, err
	}
	document, err := a.describe(ctx, t)
	if err != nil {
		return nil, err
	}
	table := export.Table{Task: document, Rows: a.rows(ctx, c.filter(t))}
	if t.Spec != nil {
		for _, p := range t.Spec.Space.Parameters {
			table.Parameters = append(table.Parameters, p.Name)
		}
	}
	if table.Metrics, err = a.store.MetricNames(ctx, t.ID); err != nil {
		return nil, err
	}
	promote(table.Metrics, document)
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", format.ContentType())
		hc.SetHeader("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": t.Name + "." + string(format)}))
		hc.SetStatus(http.StatusOK)
		if err := export.Write(hc.BodyWriter(), format, table); err != nil {
			a.log.Warn().Err(err).Str("task", t.Name).Msg("export broke off")
			panic(http.ErrAbortHandler) // the only way left to say that the file is not whole
		}
	}}, nil
}

// promote puts the metrics of the objectives first.
func promote(metrics []string, t v1.Task) {
	place := func(name string) int {
		for i, o := range t.Objectives {
			if o.Metric == name {
				return i
			}
		}
		return len(t.Objectives)
	}
	slices.SortStableFunc(metrics, func(a, b string) int { return place(a) - place(b) })
}

// rows reads a task's experiments batch by batch.
func (a *API) rows(ctx context.Context, f store.ExperimentFilter) iter.Seq2[v1.Experiment, error] {
	return func(yield func(v1.Experiment, error) bool) {
		for f.Limit = exportBatch; ; {
			list, err := a.store.ListExperiments(ctx, f)
			if err != nil {
				yield(v1.Experiment{}, err)
				return
			}
			for _, e := range list {
				if !yield(experimentDocument(e), nil) {
					return
				}
			}
			if len(list) < exportBatch {
				return
			}
			f.After = list[len(list)-1].Number
		}
	}
}
