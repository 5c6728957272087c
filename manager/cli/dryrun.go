package cli

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"github.com/fleetune/fleetune/manager/cli/terminal"
	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/proto/bundle"
	"github.com/fleetune/fleetune/proto/render"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// examples is how many rendered experiments a dry run shows.
const examples = 2

// A rehearsal is what --dry-run tells about a task file, and its JSON.
type rehearsal struct {
	File     string         `json:"file"`
	Task     string         `json:"task"`
	Warnings []task.Problem `json:"warnings"`
	// Points of the space without its constraints; null when unlimited.
	Points *float64 `json:"points"`
	// Valid points, and whether that is counted or estimated.
	Valid *float64 `json:"valid"`
	Exact bool     `json:"exact"`
	// Planned is how many experiments the budget and the space allow.
	Planned  int       `json:"planned"`
	Examples []example `json:"examples"`
}

// An example is one experiment as a worker would run it.
type example struct {
	Parameters space.Point `json:"parameters"`
	Steps      []stepLine  `json:"steps"`
	order      []string
}

// A stepLine is one program of an experiment, as a line for a shell.
type stepLine struct {
	Step    string `json:"step"`
	Command string `json:"command"`
}

func (a *app) dryRun(files []taskFile) error {
	list := []rehearsal{}
	for _, f := range files {
		r, err := rehearse(f)
		if err != nil {
			return usage(fmt.Errorf("%s: %w", f.path, err))
		}
		list = append(list, r)
		if !a.json {
			if err := a.printRehearsal(r); err != nil {
				return err
			}
		}
	}
	if a.json {
		return a.printJSON(list)
	}
	return nil
}

func rehearse(f taskFile) (rehearsal, error) {
	r := rehearsal{File: f.path, Task: f.spec.Name, Warnings: f.warnings, Examples: []example{}}
	if r.Warnings == nil {
		r.Warnings = []task.Problem{}
	}
	o := f.spec.Optimization
	if _, err := search.New(o.Strategy, search.Problem{Space: f.spec.Space, Objectives: o.Objectives, Seed: o.Seed,
		Budget: o.MaxIterations, Options: o.Options}); err != nil {
		return r, fmt.Errorf("optimization.strategy: %w", err)
	}
	count, err := search.Count(f.spec.Space)
	if err != nil {
		return r, fmt.Errorf("counting the space: %w", err)
	}
	if count.Valid == 0 {
		return r, errors.New("no point of the space meets all constraints")
	}
	r.Points, r.Valid, r.Exact = finite(count.Total), finite(count.Valid), count.Exact
	r.Planned = int(math.Min(float64(o.MaxIterations), count.Valid))
	points, err := search.First(f.spec.Space)
	if err != nil {
		return r, fmt.Errorf("listing the space: %w", err)
	}
	sources := map[string][]byte{}
	if len(f.bundle) > 0 {
		if sources, err = bundle.Unpack(bytes.NewReader(f.bundle), ""); err != nil {
			return r, fmt.Errorf("reading the sources: %w", err)
		}
	}
	for p := range points {
		if len(r.Examples) == examples {
			break
		}
		e, err := show(f.spec, p, sources)
		if err != nil {
			return r, err
		}
		r.Examples = append(r.Examples, e)
	}
	return r, nil
}

func finite(f float64) *float64 {
	if math.IsInf(f, 0) {
		return nil
	}
	return &f
}

// show renders a task at a point, as the worker will.
func show(t *task.Task, p space.Point, sources map[string][]byte) (example, error) {
	e := example{Parameters: p, Steps: []stepLine{}}
	for _, parameter := range t.Space.Parameters {
		e.order = append(e.order, parameter.Name)
	}
	if t.Command == nil {
		return e, nil
	}
	rendered, err := render.Command(t.Command, p, sources)
	if err != nil {
		return e, err
	}
	for _, s := range []struct {
		name string
		step *render.Step
	}{{"build", rendered.Build}, {"inputs", rendered.Inputs}, {"reference", rendered.Reference}, {"check", rendered.Check}, {"run", rendered.Run}} {
		if s.step != nil {
			e.Steps = append(e.Steps, stepLine{Step: s.name, Command: s.step.Argv.Shell()})
		}
	}
	return e, nil
}

func (a *app) printRehearsal(r rehearsal) error {
	f := &fields{app: a}
	f.add("task", "%s", r.Task)
	f.add("space", "%s", size(r))
	f.add("measures", "%s", plural(r.Planned, "experiment at most", "experiments at most"))
	for i, e := range r.Examples {
		f.add("example "+fmt.Sprint(i+1), "%s", terminal.Point(e.Parameters, e.order))
		for _, s := range e.Steps {
			f.add("  "+s.Step, "%s", s.Command)
		}
	}
	return f.err
}

func size(r rehearsal) string {
	if r.Points == nil || r.Valid == nil {
		return "unlimited: a parameter is continuous"
	}
	about := ""
	if !r.Exact {
		about = "about "
	}
	text := terminal.Count(*r.Points) + " points"
	if *r.Points == 1 {
		text = "1 point"
	}
	if *r.Valid < *r.Points {
		text += fmt.Sprintf(", of which the constraints leave %s%s (%s %%)", about, terminal.Count(*r.Valid), terminal.Number(100**r.Valid / *r.Points))
	}
	return text
}
