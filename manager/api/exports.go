package api

import (
	"context"
	"io"
	"iter"
	"mime"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/export"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/task"
)

const (
	// exportBatch is how many rows are read at once; those with cells are heavy.
	exportBatch = 1000
	cellBatch   = 100
)

func (a *API) exportRoutes(api huma.API) {
	op := get("export-task", "/tasks/{task}/export", "A task's experiments, or their cells, as a file", "experiments")
	op.Responses = map[string]*huma.Response{"200": {Description: "the file", Content: map[string]*huma.MediaType{}}}
	for _, f := range export.Formats() {
		op.Responses["200"].Content[f.ContentType()] = &huma.MediaType{Schema: &huma.Schema{Type: "string", Format: "binary"}}
	}
	huma.Register(api, op, func(ctx context.Context, in *struct {
		Reference
		Choice
		Format string `query:"format" enum:"csv,json,jsonl,xlsx" default:"csv"`
		Cells  bool   `query:"cells" doc:"a row for each cell of each experiment; serving tasks only"`
	}) (*huma.StreamResponse, error) {
		response, err := a.export(ctx, in.Task, in.Choice, in.Format, in.Cells)
		if err != nil {
			return nil, failure(ctx, a.log, err)
		}
		return response, nil
	})
}

func (a *API) export(ctx context.Context, ref string, c Choice, name string, cells bool) (*huma.StreamResponse, error) {
	format, err := export.Parse(name)
	if err != nil {
		return nil, problem(http.StatusUnprocessableEntity, "choose one of csv, json, jsonl, xlsx", "%s", err.Error())
	}
	t, err := a.task(ctx, ref)
	if err != nil {
		return nil, err
	}
	file := t.Name + "." + string(format)
	var write func(io.Writer) error
	if cells {
		file = t.Name + "-cells." + string(format)
		write, err = a.cellTable(ctx, t, c, format)
	} else {
		write, err = a.experimentTable(ctx, t, c, format)
	}
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", format.ContentType())
		hc.SetHeader("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": file}))
		hc.SetStatus(http.StatusOK)
		if err := write(hc.BodyWriter()); err != nil {
			a.log.Warn().Err(err).Str("task", t.Name).Msg("export broke off")
			panic(http.ErrAbortHandler) // the only way left to say that the file is not whole
		}
	}}, nil
}

func (a *API) experimentTable(ctx context.Context, t store.Task, c Choice, format export.Format) (func(io.Writer) error, error) {
	document, err := a.describe(ctx, t)
	if err != nil {
		return nil, err
	}
	table := export.Table{Task: document, Parameters: document.Parameters, Rows: a.rows(ctx, t, c.filter(t))}
	if table.Metrics, err = a.store.MetricNames(ctx, t.ID); err != nil {
		return nil, err
	}
	promote(table.Metrics, document)
	return func(w io.Writer) error { return export.Write(w, format, table) }, nil
}

// cellTable makes the table of what serving experiments measured below their
// sums.
func (a *API) cellTable(ctx context.Context, t store.Task, c Choice, format export.Format) (func(io.Writer) error, error) {
	if t.Kind != task.KindServing {
		return nil, problem(http.StatusConflict, "fleetune export "+t.Name+" writes its experiments", "task %s starts no engine, so it has no cells", t.Name)
	}
	document, err := a.describe(ctx, t)
	if err != nil {
		return nil, err
	}
	table := export.Cells{Task: document, Parameters: document.Parameters, Rows: a.cellRows(ctx, t, c.filter(t))}
	if table.Metrics, err = a.store.CellMetricNames(ctx, t.ID); err != nil {
		return nil, err
	}
	promote(table.Metrics, document)
	return func(w io.Writer) error { return export.WriteCells(w, format, table) }, nil
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
func (a *API) rows(ctx context.Context, t store.Task, f store.ExperimentFilter) iter.Seq2[v1.Experiment, error] {
	return func(yield func(v1.Experiment, error) bool) {
		for f.Limit = exportBatch; ; {
			list, err := a.store.ListExperiments(ctx, f)
			if err != nil {
				yield(v1.Experiment{}, err)
				return
			}
			for _, e := range list {
				if !yield(experimentDocument(t, e), nil) {
					return
				}
			}
			if len(list) < f.Limit {
				return
			}
			f.After = list[len(list)-1].Number
		}
	}
}

// cellRows reads what a task's experiments measured, batch by batch.
func (a *API) cellRows(ctx context.Context, t store.Task, f store.ExperimentFilter) iter.Seq2[export.Cell, error] {
	return func(yield func(export.Cell, error) bool) {
		for f.Limit = cellBatch; ; {
			list, err := a.store.ListExperiments(ctx, f)
			if err != nil {
				yield(export.Cell{}, err)
				return
			}
			measured, err := a.store.Measurements(ctx, t.ID, numbersOf(list))
			if err != nil {
				yield(export.Cell{}, err)
				return
			}
			for _, e := range list {
				d := servingDocument(t, measured[e.Number])
				if d != nil && !yieldCells(experimentDocument(t, e), d, yield) {
					return
				}
			}
			if len(list) < f.Limit {
				return
			}
			f.After = list[len(list)-1].Number
		}
	}
}

func yieldCells(e v1.Experiment, d *v1.Serving, yield func(export.Cell, error) bool) bool {
	row := export.Cell{Number: e.Number, Purpose: string(e.Purpose), Confirms: e.Confirms, Outcome: e.Outcome,
		Simulated: d.Simulated, Parameters: e.Parameters}
	for _, side := range []struct {
		name  string
		cells []v1.Cell
	}{{export.Candidate, d.Cells}, {export.Reference, d.Reference}} {
		for _, c := range side.cells {
			row.Side, row.Cell = side.name, c
			if !yield(row, nil) {
				return false
			}
		}
	}
	return true
}

func numbersOf(list []store.Experiment) []int {
	numbers := make([]int, len(list))
	for i, e := range list {
		numbers[i] = e.Number
	}
	return numbers
}
