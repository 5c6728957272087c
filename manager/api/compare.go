package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/compare"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
)

// maxSides bounds what is compared at once.
const maxSides = 8

func (a *API) compareRoutes(api huma.API) {
	op := get("compare", "/compare", "Experiments side by side", "experiments")
	op.Description = "`of` is TASK, which stands for its best experiment, TASK#NUMBER or TASK#baseline; everything is told against the first."
	huma.Register(api, op, func(ctx context.Context, in *struct {
		Of []string `query:"of,explode" required:"true" minItems:"2" maxItems:"8" doc:"what to compare, two to eight times"`
	}) (*answer[v1.Comparison], error) {
		d, err := a.compare(ctx, in.Of)
		return reply(ctx, a, d, err)
	})
}

func (a *API) compare(ctx context.Context, refs []string) (v1.Comparison, error) {
	if len(refs) < 2 || len(refs) > maxSides {
		return v1.Comparison{}, problem(http.StatusUnprocessableEntity, "name two to eight experiments or tasks", "%d were named", len(refs))
	}
	workers, err := a.store.Workers(ctx)
	if err != nil {
		return v1.Comparison{}, err
	}
	found := make([]located, len(refs))
	for i, ref := range refs {
		if found[i], err = a.locate(ctx, ref); err != nil {
			return v1.Comparison{}, err
		}
	}
	sides := make([]compare.Side, len(refs))
	for i, l := range found {
		sides[i] = l.side(workers)
	}
	notice, err := a.pair(ctx, found, sides)
	if err != nil {
		return v1.Comparison{}, err
	}
	d := compare.Sides(sides)
	d.Notice = notice
	return d, nil
}

// located is an experiment with what it measured.
type located struct {
	of         string
	task       store.Task
	experiment store.Experiment
	measured   *experiment.Measurement
}

// locate finds what TASK, TASK#NUMBER, TASK#best or TASK#baseline names.
func (a *API) locate(ctx context.Context, ref string) (located, error) {
	name, which := ref, "best"
	if at := strings.LastIndexByte(ref, '#'); at >= 0 {
		name, which = ref[:at], ref[at+1:]
	}
	l := located{of: ref}
	t, err := a.task(ctx, name)
	if err != nil {
		return l, err
	}
	number, err := a.numberOf(ctx, t, which)
	if err != nil {
		return l, err
	}
	if l.task, l.experiment, err = a.experiment(ctx, t.ID.String(), number); err != nil {
		return l, err
	}
	measured, err := a.store.Measurements(ctx, t.ID, []int{number})
	l.measured = measured[number]
	return l, err
}

func (a *API) numberOf(ctx context.Context, t store.Task, which string) (int, error) {
	switch which {
	case "best":
		d, err := a.describe(ctx, t)
		if err != nil {
			return 0, err
		}
		if d.Best == nil {
			return 0, problem(http.StatusNotFound, "name one of its experiments, as in "+t.Name+"#1", "task %s has no successful experiment yet", t.Name)
		}
		return d.Best.Number, nil
	case "baseline":
		if t.Baseline == nil {
			return 0, problem(http.StatusNotFound, "name one of its experiments, as in "+t.Name+"#1", "task %s has no baseline", t.Name)
		}
		return *t.Baseline, nil
	}
	number, err := strconv.Atoi(which)
	if err != nil || number < 1 {
		return 0, problem(http.StatusUnprocessableEntity, "write TASK, TASK#7 or TASK#baseline", "%q is no experiment of %s", which, t.Name)
	}
	return number, nil
}

// side is an experiment as it is compared.
func (l located) side(workers []store.Worker) compare.Side {
	e := l.experiment
	s := compare.Side{Of: l.of, Task: l.task.Spec, Number: e.Number, Purpose: e.Purpose, Score: firstScore(e.Scores), Point: e.Parameters,
		Fidelity: e.Fidelity, Metrics: map[string]experiment.Metric{}}
	if e.Outcome != nil {
		s.Outcome = string(*e.Outcome)
	}
	if e.Worker != nil {
		s.Worker = *e.Worker
		s.Devices = models(workers, s.Worker, e.Devices)
	}
	for name, m := range e.Metrics { // of a record's answer, that is all there is
		s.Metrics[name] = experiment.Metric{Unit: m.Unit, Median: m.Median, Spread: m.Spread}
	}
	if l.measured != nil {
		s.Metrics, s.Serving = l.measured.Metrics, l.measured.Serving
	}
	return s
}

// models says how many devices of which model were held: "2 × NVIDIA H100".
func models(workers []store.Worker, worker string, held []string) string {
	counts := map[string]int{}
	var order []string
	for _, w := range workers {
		if w.Name != worker {
			continue
		}
		for _, d := range w.Node.Devices {
			if d.Model == "" || !slices.Contains(held, d.ID) {
				continue
			}
			if counts[d.Model]++; counts[d.Model] == 1 {
				order = append(order, d.Model)
			}
		}
	}
	for i, model := range order {
		order[i] = fmt.Sprintf("%d × %s", counts[model], model)
	}
	return strings.Join(order, ", ")
}

// pair puts in the place of a baseline and of an experiment that was confirmed
// beside it what that confirmation measured: in alternation, which is worth
// more than two measurements apart.
func (a *API) pair(ctx context.Context, found []located, sides []compare.Side) (notice string, err error) {
	if len(found) != 2 || found[0].task.ID != found[1].task.ID || found[0].task.Baseline == nil {
		return "", nil
	}
	base, other := 0, 1
	if found[1].experiment.Number == *found[1].task.Baseline {
		base, other = 1, 0
	}
	number := found[other].experiment.Number
	if found[base].experiment.Number != *found[base].task.Baseline || number == found[base].experiment.Number {
		return "", nil
	}
	confirmations, err := a.store.Confirmations(ctx, found[base].task.ID)
	if err != nil {
		return "", err
	}
	m, ok := confirmations[number]
	if !ok || len(m.Reference) == 0 {
		return "", nil
	}
	sides[base].Metrics, sides[other].Metrics = m.Reference, m.Metrics
	if m.Serving != nil {
		sides[other].Serving = m.Serving
		if s := sides[base].Serving; s != nil && len(m.Serving.Reference) > 0 {
			reference := *s
			reference.Cells = m.Serving.Reference
			sides[base].Serving = &reference
		}
	}
	return fmt.Sprintf("both were measured in alternation, when experiment %d was confirmed", number), nil
}
