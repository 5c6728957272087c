package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/manager/search/gp"
	"github.com/fleetune/fleetune/manager/search/insight"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// What an insight reads and answers at most, so that asking costs about a
// second and some megabytes, however large the task.
const (
	insightRows      = 250_000 // successful experiments that are read
	insightTradeoffs = 20_000  // those compared with each other, with several objectives
	insightPoints    = 2_000   // those that effects are learned from
	insightSteps     = 200     // steps of progress
	insightFront     = 500     // points of the front
	// insightsAtOnce bounds the processors that insights may take.
	insightsAtOnce = 2
)

func (a *API) insightRoutes(api huma.API) {
	huma.Register(api, get("task-insight", "/tasks/{task}/insight", "What a task's results say: which parameters matter, and how the search went", "tasks"),
		func(ctx context.Context, in *struct {
			Reference
			Objective string `query:"objective" maxLength:"200" doc:"metric to explain the parameters by; the first objective without it"`
		}) (*answer[v1.Insight], error) {
			d, err := a.taskInsight(ctx, in.Task, in.Objective)
			return reply(ctx, a, d, err)
		})
}

func (a *API) taskInsight(ctx context.Context, ref, metric string) (v1.Insight, error) {
	t, err := a.task(ctx, ref)
	if err != nil {
		return v1.Insight{}, err
	}
	l, err := lensOf(t, metric)
	if err != nil {
		return v1.Insight{}, err
	}
	select {
	case a.insights <- struct{}{}:
		defer func() { <-a.insights }()
	case <-ctx.Done():
		return v1.Insight{}, ctx.Err()
	}
	if l.values, err = a.store.Values(ctx, t.ID, insightRows); err != nil {
		return v1.Insight{}, err
	}
	return a.look(ctx, l)
}

// A lens is a task with what an insight is taken from.
type lens struct {
	task       store.Task
	objectives []task.Objective
	objective  int // the one that parameters are explained by
	values     []store.Value
}

func lensOf(t store.Task, metric string) (lens, error) {
	l := lens{task: t}
	if t.Spec == nil || len(t.Spec.Optimization.Objectives) == 0 {
		return l, problem(http.StatusConflict, "fleetune experiments lists what was measured", "task %s has no objective", t.Name)
	}
	l.objectives = t.Spec.Optimization.Objectives
	if metric == "" {
		return l, nil
	}
	var names []string
	for i, o := range l.objectives {
		if o.Metric == metric {
			l.objective = i
			return l, nil
		}
		names = append(names, o.Metric)
	}
	p := problem(http.StatusUnprocessableEntity, "its objectives are "+strings.Join(names, ", "), "task %s has no objective %q", t.Name, metric)
	p.Errors = []v1.Finding{{Severity: "error", Field: "objective", Message: p.Detail, Nearest: space.Nearest(metric, names)}}
	return l, p
}

func (a *API) look(ctx context.Context, l lens) (v1.Insight, error) {
	d := v1.Insight{Task: l.task.Name, Simulated: l.task.Simulated, Objective: l.objectives[l.objective].Metric, Penalised: sloOf(l.task.Spec) != nil, Objectives: l.objectives,
		Measured: len(l.values), Parameters: []v1.Influence{}, Progress: []v1.Progress{}}
	var notices []string
	if len(l.values) == insightRows {
		notices = append(notices, fmt.Sprintf("only the first %d results were read", insightRows))
	}
	compared := l.values
	if len(l.objectives) > 1 && len(compared) > insightTradeoffs {
		compared = l.sample(insightTradeoffs)
		notices = append(notices, fmt.Sprintf("progress and front come from %d of %d results", insightTradeoffs, len(l.values)))
	}
	d.Considered = len(compared)
	course := insight.Progress(l.objectives, observations(compared), nil, insightSteps)
	if len(course.Steps) < course.Changes {
		notices = append(notices, fmt.Sprintf("progress has %d of %d steps", len(course.Steps), course.Changes))
	}
	if len(l.objectives) > 1 && course.Reference == nil && len(course.Front) > 0 {
		notices = append(notices, "the front has too many points for its hypervolume")
	}
	ended := map[int]store.Value{}
	for _, v := range compared {
		ended[v.Number] = v
	}
	describeCourse(&d, course, ended)
	sampled := l.sample(insightPoints)
	if len(sampled) < len(l.values) {
		notices = append(notices, fmt.Sprintf("the parameters' effects come from %d of %d results, half of them the best", len(sampled), len(l.values)))
	}
	points, err := a.insightPoints(ctx, l, sampled, d.Front)
	if err != nil {
		return d, err
	}
	for i := range d.Front {
		d.Front[i].Parameters = points[d.Front[i].Number]
	}
	if len(sampled) > 0 {
		e, err := a.store.Experiment(ctx, l.task.ID, sampled[0].Number)
		if err != nil {
			return d, err
		}
		d.Unit = e.Metrics[d.Objective].Unit
	}
	missing, err := l.explain(&d, sampled, points)
	if missing != "" {
		notices = append(notices, missing)
	}
	d.Notice = strings.Join(notices, "; ")
	return d, err
}

// insightPoints reads the points of what is explained and of the front.
func (a *API) insightPoints(ctx context.Context, l lens, sampled []store.Value, front []v1.Tradeoff) (map[int]space.Point, error) {
	var numbers []int
	for _, v := range sampled {
		numbers = append(numbers, v.Number)
	}
	for _, f := range front {
		numbers = append(numbers, f.Number)
	}
	return a.store.Points(ctx, l.task.ID, numbers)
}

// sample keeps at most n of the values, in order: half of them the best by the
// explained objective, the rest evenly spread over the others.
func (l lens) sample(n int) []store.Value {
	if len(l.values) <= n {
		return l.values
	}
	loss := func(v store.Value) float64 {
		if l.objective >= len(v.Scores) || math.IsNaN(v.Scores[l.objective]) {
			return math.Inf(1)
		}
		if l.objectives[l.objective].Direction == task.Maximize {
			return -v.Scores[l.objective]
		}
		return v.Scores[l.objective]
	}
	byNumber := func(x, y store.Value) int { return cmp.Compare(x.Number, y.Number) }
	order := slices.Clone(l.values)
	slices.SortStableFunc(order, func(x, y store.Value) int { return cmp.Compare(loss(x), loss(y)) })
	rest := order[n/2:]
	slices.SortFunc(rest, byNumber)
	kept := slices.Concat(order[:n/2], insight.Thin(rest, n-n/2))
	slices.SortFunc(kept, byNumber)
	return kept
}

// within counts the results at points of the space: a baseline may lie outside.
func within(s space.Space, history []search.Observation) (n int, err error) {
	compiled, err := space.Compile(s)
	if err != nil {
		return 0, fmt.Errorf("counting the results inside the space: %w", err)
	}
	for _, o := range history {
		if len(o.Values) > 0 && compiled.Contains(o.Point) == nil {
			n++
		}
	}
	return n, nil
}

// explain adds the parameters' effects, or says why there are none.
func (l lens) explain(d *v1.Insight, sampled []store.Value, points map[int]space.Point) (missing string, err error) {
	history := observations(sampled)
	for i := range history {
		history[i].Point = points[history[i].Number]
	}
	effects, err := insight.Effects(search.Problem{Space: l.task.Spec.Space, Objectives: l.objectives,
		Seed: l.task.Spec.Optimization.Seed}, history, l.objective)
	if errors.Is(err, gp.ErrTooFew) {
		inside, err := within(l.task.Spec.Space, history)
		return fmt.Sprintf("what matters can be told from 3 results on that were measured in full at points of the space; there are %d", inside), err
	}
	if err != nil {
		return "", err
	}
	for _, e := range effects {
		i := v1.Influence{Name: e.Parameter, Importance: e.Importance, Effect: []v1.Level{}}
		for _, level := range e.Levels {
			if !math.IsInf(level.Mean, 0) && !math.IsNaN(level.Mean) {
				i.Effect = append(i.Effect, v1.Level{Value: level.Value, Mean: level.Mean, Measured: level.Measured})
			}
		}
		if len(i.Effect) > 1 { // one value alone acts on nothing
			d.Parameters = append(d.Parameters, i)
		}
	}
	d.Explained = len(history)
	if len(d.Parameters) == 0 {
		missing = "no parameter has more than one value"
	}
	return missing, nil
}

func observations(values []store.Value) []search.Observation {
	out := make([]search.Observation, len(values))
	for i, v := range values {
		out[i] = search.Observation{Number: v.Number, Values: v.Scores, Outcome: experiment.OutcomeSuccess}
	}
	return out
}

// describeCourse adds progress, front and hypervolume.
func describeCourse(d *v1.Insight, c insight.Course, ended map[int]store.Value) {
	volume := func(v float64) *float64 {
		if c.Reference == nil || math.IsInf(v, 0) {
			return nil
		}
		return &v
	}
	for _, s := range c.Steps {
		d.Progress = append(d.Progress, v1.Progress{Number: s.Number, At: ended[s.Number].FinishedAt.UTC(), Best: s.Best,
			Regret: min(s.Regret, math.MaxFloat64), Hypervolume: volume(s.Hypervolume)})
	}
	if len(d.Objectives) < 2 || len(c.Steps) == 0 {
		return
	}
	d.Hypervolume, d.Reference, d.FrontSize = volume(c.Steps[len(c.Steps)-1].Hypervolume), c.Reference, len(c.Front)
	front := slices.Clone(c.Front)
	slices.SortStableFunc(front, func(a, b search.Observation) int {
		if d.Objectives[0].Direction == task.Maximize {
			a, b = b, a
		}
		return cmp.Compare(a.Values[0], b.Values[0])
	})
	for _, o := range insight.Thin(front, insightFront) {
		d.Front = append(d.Front, v1.Tradeoff{Number: o.Number, Scores: o.Values})
	}
}
