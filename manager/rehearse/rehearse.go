// Package rehearse says what a task would do before it does anything: how large
// its space is, what the sampler and the engine make of it, and how its first
// experiments would run. The API refuses by it, and the command line shows it.
package rehearse

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/proto/bundle"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/render"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// A Rehearsal is what a task would do.
type Rehearsal struct {
	// Problems that only the sampler, the engine or the whole space show, by
	// the field of the task.
	Problems []task.Problem
	// How the sampler works for the task, in a sentence; "" where there is no more
	// to say than its name.
	How string
	// Points of the space without its constraints, and those that meet them;
	// infinite where a parameter is continuous.
	Points, Valid float64
	// Exact says that Valid was counted, not estimated.
	Exact bool
	// Planned is how many experiments the budget and the space allow.
	Planned int
	// Cells that every experiment of a serving task measures; the container
	// image that it starts, where it starts one; the device that is simulated.
	Cells     []task.Cell
	Image     string
	Simulated string
	Examples  []Example
	// Same is how many points start the engine like one before them, and
	// Refused how many it would not take, of Looked that were looked at.
	Same, Refused, Looked int
}

// Failed says whether a problem is an error.
func (r *Rehearsal) Failed() bool {
	for _, p := range r.Problems {
		if p.Severity == task.Error {
			return true
		}
	}
	return false
}

// An Example is one experiment as a worker would run it.
type Example struct {
	Purpose    experiment.Purpose
	Parameters space.Point
	Steps      []Step
	// Devices that it needs.
	Devices int
	// Notes say what was replaced or suppressed; Refused why it cannot run.
	Notes   []string
	Refused string
}

// A Step is one program of an experiment, as a line for a shell.
type Step struct {
	Step    string `json:"step"`
	Command string `json:"command"`
}

// Task rehearses a task with its files, and shows so many of its first
// experiments. Problems of the task are in the rehearsal.
func Task(t *task.Task, files []byte, examples int) Rehearsal {
	r := Rehearsal{Problems: []task.Problem{}}
	r.plan(t)
	sources, err := unpack(files)
	if err != nil {
		r.fail("command.files", err.Error(), "")
	}
	if r.Failed() {
		return r
	}
	if t.Serving != nil {
		r.serving(t, examples)
		return r
	}
	r.command(t, sources, examples)
	return r
}

func (r *Rehearsal) fail(field, message, expected string) {
	r.Problems = append(r.Problems, task.Problem{Field: field, Severity: task.Error, Message: message, Expected: expected})
}

// plan asks the sampler and counts the space.
func (r *Rehearsal) plan(t *task.Task) {
	s, err := search.New(t.Optimization.Strategy, search.ProblemOf(t))
	if err != nil {
		r.fail("optimization.strategy", err.Error(), "")
		return
	}
	if stop := t.Optimization.Stop; stop != nil && stop.ExpectedImprovement > 0 && (!search.Expects(s) || len(t.Optimization.Objectives) > 1) {
		r.fail("optimization.stop.expected_improvement", "cannot be told by "+t.Optimization.Strategy+", or for several objectives",
			"strategy: bayesian or gp, and one objective")
	}
	r.How = search.Reason(s)
	count, err := search.CountFor(t.Optimization.Strategy, search.ProblemOf(t))
	if err != nil {
		r.fail("parameters", err.Error(), "")
		return
	}
	switch {
	case count.Valid == 0 && count.Exact:
		r.fail("constraints", errEmpty.Error(), "")
		return
	case count.Share == 0:
		r.Problems = append(r.Problems, task.Problem{Field: "constraints", Severity: task.Warning,
			Message: fmt.Sprintf("none of %d points drawn at random meets them all: there may be none that does", count.Draws)})
	}
	r.Points, r.Valid, r.Exact = count.Total, count.Valid, count.Exact
	most := max(count.Valid, 1)
	if f := t.Optimization.Fidelity; f != nil {
		most *= float64(len(f.Levels)) // a point may be measured at each
	}
	// A baseline that is no point of the space is an experiment more.
	most += float64(t.Budget() - t.Optimization.MaxIterations)
	r.Planned = int(math.Min(float64(t.Budget()), most))
}

var errEmpty = errors.New("no point of the space meets all constraints")

// command renders the first points as a worker will: a placeholder that is
// unknown or a parameter that is used nowhere would fail every experiment.
func (r *Rehearsal) command(t *task.Task, sources map[string][]byte, examples int) {
	points, err := search.First(t.Space)
	if err != nil {
		r.fail("parameters", err.Error(), "")
		return
	}
	for p := range points {
		e := Example{Purpose: experiment.Search, Parameters: p, Steps: []Step{}, Devices: max(t.Resources.Devices, 1)}
		if t.Command != nil {
			if e.Steps, err = steps(t.Command, t.At(p, 0), sources); err != nil {
				r.fail("command", err.Error(), "")
				return
			}
		}
		if r.Examples = append(r.Examples, e); len(r.Examples) >= max(examples, 1) {
			return
		}
	}
}

func steps(c *task.Command, p space.Point, sources map[string][]byte) ([]Step, error) {
	rendered, err := render.Command(c, p, sources)
	if err != nil {
		return nil, err
	}
	list := []Step{}
	for _, s := range []struct {
		name string
		step *render.Step
	}{{"build", rendered.Build}, {"inputs", rendered.Inputs}, {"reference", rendered.Reference}, {"check", rendered.Check}, {"run", rendered.Run}} {
		if s.step != nil {
			list = append(list, Step{Step: s.name, Command: s.step.Argv.Shell()})
		}
	}
	return list, nil
}

func unpack(files []byte) (map[string][]byte, error) {
	if len(files) == 0 {
		return map[string][]byte{}, nil
	}
	sources, err := bundle.Unpack(bytes.NewReader(files), "")
	if err != nil {
		return nil, fmt.Errorf("reading the sources: %w", err)
	}
	return sources, nil
}
