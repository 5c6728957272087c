package api

import (
	"bytes"
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/report"
	"github.com/fleetune/fleetune/manager/search/insight"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
)

// What a report reads and shows at most, so that it stays a page of some
// megabytes that takes seconds, however large the task.
const (
	reportRead    = 20_000 // experiments that are read
	reportShown   = 2_000  // those that are drawn and listed
	reportLeaders = 6      // those whose cells are drawn
)

func (a *API) reportRoutes(api huma.API) {
	op := get("task-report", "/tasks/{task}/report", "What was found, as one self-contained HTML page", "tasks")
	op.Responses = map[string]*huma.Response{"200": {Description: "the page",
		Content: map[string]*huma.MediaType{"text/html; charset=utf-8": {Schema: &huma.Schema{Type: "string"}}}}}
	huma.Register(api, op, func(ctx context.Context, in *Reference) (*huma.StreamResponse, error) {
		page, err := a.report(ctx, in.Task)
		if err != nil {
			return nil, failure(ctx, a.log, err)
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			hc.SetHeader("Content-Type", "text/html; charset=utf-8")
			hc.SetHeader("X-Content-Type-Options", "nosniff")
			hc.SetHeader("Content-Security-Policy", "sandbox allow-scripts") // no part of this origin, whatever a task file holds
			if _, err := hc.BodyWriter().Write(page); err != nil {
				a.log.Debug().Err(err).Msg("the reader of a report left")
			}
		}}, nil
	})
}

func (a *API) report(ctx context.Context, ref string) ([]byte, error) {
	t, err := a.task(ctx, ref)
	if err != nil {
		return nil, err
	}
	in, err := a.reportInput(ctx, t)
	if err != nil {
		return nil, err
	}
	var page bytes.Buffer
	if err := report.Write(&page, in); err != nil {
		return nil, err
	}
	return page.Bytes(), nil
}

func (a *API) reportInput(ctx context.Context, t store.Task) (report.Input, error) {
	in := report.Input{Version: a.config.Version, At: time.Now()}
	var err error
	if in.Task, err = a.describe(ctx, t); err != nil {
		return in, err
	}
	if in.Source, err = a.store.TaskSource(ctx, t.ID); err != nil {
		return in, err
	}
	if in.Experiments, in.Read, err = a.reportExperiments(ctx, t, in.Task); err != nil {
		return in, err
	}
	if len(in.Task.Objectives) > 0 {
		if in.Insight, err = a.taskInsight(ctx, t.ID.String(), ""); err != nil {
			return in, err
		}
	}
	if best, baseline := in.Task.Best, in.Task.Baseline; best != nil && baseline != nil && best.Number != baseline.Number {
		d, err := a.compare(ctx, []string{t.ID.String() + "#baseline", t.ID.String() + "#best"})
		if err != nil {
			return in, err
		}
		in.Comparison = &d
	}
	if t.Kind != task.KindServing {
		return in, nil
	}
	return in, a.reportServings(ctx, t, &in)
}

// reportServings adds the cells of the leaders, and what the task promises.
func (a *API) reportServings(ctx context.Context, t store.Task, in *report.Input) error {
	measured, err := a.store.Measurements(ctx, t.ID, report.Leaders(in.Task, in.Experiments, reportLeaders))
	if err != nil {
		return err
	}
	in.Servings = map[int]*v1.Serving{}
	for number, m := range measured {
		if d := servingDocument(t, m); d != nil {
			in.Servings[number] = d
		}
	}
	if slo := sloOf(t.Spec); slo != nil {
		for _, term := range slo.Terms {
			in.SLO = append(in.SLO, v1.Promise{Metric: term.Metric, Threshold: term.Threshold})
		}
	}
	return nil
}

// reportExperiments reads the experiments; of many, the baseline and the best
// are kept, and others evenly spread.
func (a *API) reportExperiments(ctx context.Context, t store.Task, d v1.Task) (kept []v1.Experiment, read int, err error) {
	var all []v1.Experiment
	for e, err := range a.rows(ctx, t, store.ExperimentFilter{Task: t.ID}) {
		if err != nil {
			return nil, 0, err
		}
		if all = append(all, e); len(all) == reportRead {
			break
		}
	}
	if len(all) == reportRead {
		if all, err = a.withBest(ctx, t, d, all); err != nil {
			return nil, 0, err
		}
	}
	counted := d.Experiments.Total + d.Experiments.Confirmations
	if len(all) <= reportShown {
		return all, len(all), nil
	}
	var marked, others []v1.Experiment
	for _, e := range all {
		if e.Purpose != experiment.Search || d.Best != nil && d.Best.Number == e.Number || d.Baseline != nil && d.Baseline.Number == e.Number {
			marked = append(marked, e)
		} else {
			others = append(others, e)
		}
	}
	return merge(marked, insight.Thin(others, max(reportShown-len(marked), 1))), max(counted, len(all)), nil
}

// withBest adds the best, which may lie behind what was read.
func (a *API) withBest(ctx context.Context, t store.Task, d v1.Task, all []v1.Experiment) ([]v1.Experiment, error) {
	if d.Best == nil || d.Best.Number <= all[len(all)-1].Number {
		return all, nil
	}
	e, err := a.store.Experiment(ctx, t.ID, d.Best.Number)
	if err != nil {
		return nil, err
	}
	return append(all, experimentDocument(t, e)), nil
}

// merge joins two lists in order of their numbers.
func merge(a, b []v1.Experiment) []v1.Experiment {
	out := make([]v1.Experiment, 0, len(a)+len(b))
	for len(a) > 0 || len(b) > 0 {
		if len(b) == 0 || len(a) > 0 && a[0].Number < b[0].Number {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return out
}
