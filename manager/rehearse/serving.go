package rehearse

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/render"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/engine"
	"github.com/fleetune/fleetune/shared/hardware"
)

// lookAt bounds how many points are planned to find those that are the same or
// refused.
const lookAt = 4096

// examplePort stands in command lines that are shown; a worker chooses one
// that is free.
const examplePort = 30000

// serving plans the first points as a worker will.
func (r *Rehearsal) serving(t *task.Task, examples int) {
	s := t.Serving
	r.Cells = s.Benchmark.Cells()
	e, err := engine.Of(s)
	if err != nil {
		r.fail("base_runtime", err.Error(), "")
		return
	}
	if s.Launcher == "docker" || s.Launcher == "kubernetes" {
		r.Image = e.Image(s)
	}
	if s.Simulate != nil {
		r.Image, r.Simulated = "", s.Simulate.GPU
		r.simulated(s, e)
	} else if r.Image == "" && s.Launcher != "local" && s.Endpoint == nil {
		r.fail("image", "is missing: no image of "+e.Name()+" is known", "the name of a container image")
	}
	for _, f := range e.Check(s, t.Space) {
		p := task.Problem{Field: f.Path, Severity: task.Error, Message: f.Message, Expected: f.Expected, Nearest: f.Nearest}
		if f.Warning {
			p.Severity = task.Warning
		}
		r.Problems = append(r.Problems, p)
	}
	if s.Endpoint != nil {
		for _, p := range t.Space.Parameters {
			r.fail("parameters."+p.Name, "cannot vary on a server that runs already", "no parameters: only the load is measured")
		}
	}
	if r.Failed() {
		return
	}
	if !s.NoBaseline && examples > 0 {
		r.Examples = append(r.Examples, r.example(e, t, experiment.Baseline, s.Baseline))
	}
	points, err := search.First(t.Space)
	if err != nil {
		r.fail("parameters", err.Error(), "")
		return
	}
	r.look(e, t, points, examples)
}

// simulated refuses what the simulated engine cannot stand in for.
func (r *Rehearsal) simulated(s *task.Serving, e *engine.Engine) {
	if _, err := hardware.Lookup(s.Simulate.GPU); err != nil {
		r.Problems = append(r.Problems, task.Problem{Field: "simulate.gpu", Severity: task.Error, Message: "names a GPU that is not simulated",
			Expected: "one of " + strings.Join(hardware.Names(), ", "), Nearest: space.Nearest(s.Simulate.GPU, hardware.Names())})
	}
	if e.Name() != engine.VLLM && e.Name() != engine.SGLang {
		r.fail("simulate", "stands beside "+e.Name()+", which is not simulated", "vllm or sglang as base_runtime")
	}
	if s.Benchmark.Task != "text-to-text" {
		r.fail("simulate", "stands beside "+s.Benchmark.Task+", which is not simulated", "text-to-text as benchmark.task")
	}
}

func (r *Rehearsal) look(e *engine.Engine, t *task.Task, points func(func(space.Point) bool), examples int) {
	seen := map[string]bool{}
	shown := 0
	var refusal error
	for p := range points {
		if r.Looked++; r.Looked > lookAt {
			r.Looked--
			break
		}
		plan, err := e.Plan(t.Serving, p)
		if err != nil {
			refusal = errors.Join(refusal, err)
			if r.Refused++; r.Refused > 1 {
				refusal = err
			}
		} else {
			key := plan.Key()
			if seen[key] {
				r.Same++
			}
			seen[key] = true
		}
		if shown < examples {
			r.Examples = append(r.Examples, r.example(e, t, experiment.Search, p))
			shown++
		}
	}
	switch {
	case r.Refused == r.Looked:
		r.fail("parameters", "has no configuration that the engine takes: "+refusal.Error(), "")
	case r.Refused > 0:
		r.warn("parameters", fmt.Sprintf("has %d configurations of %d that the engine refuses (%v); they end as infeasible", r.Refused, r.Looked, refusal), "a constraint that leaves them out")
	}
	if r.Same > 0 {
		r.warn("parameters", fmt.Sprintf("has %d configurations of %d that start the engine just like another one", r.Same, r.Looked), "")
	}
}

func (r *Rehearsal) warn(field, message, expected string) {
	r.Problems = append(r.Problems, task.Problem{Field: field, Severity: task.Warning, Message: message, Expected: expected})
}

// example shows how an experiment would start the engine.
func (r *Rehearsal) example(e *engine.Engine, t *task.Task, purpose experiment.Purpose, p space.Point) Example {
	s := t.Serving
	out := Example{Purpose: purpose, Parameters: p, Steps: []Step{}, Devices: 1}
	if s.Endpoint != nil {
		return out
	}
	plan, err := e.Plan(s, p)
	if err != nil {
		out.Refused = err.Error()
		return out
	}
	out.Notes = plan.Notes
	if s.Simulate == nil {
		out.Devices = plan.Devices()
	}
	var line string
	for _, set := range []map[string]string{s.Env.Set, plan.Env} {
		for _, name := range slices.Sorted(maps.Keys(set)) {
			line += name + "=" + render.ShellLine([]string{set[name]}) + " "
		}
	}
	line += render.ShellLine(plan.Command(engine.CommandOptions{Program: s.Program, ServedName: s.Benchmark.ModelName,
		Port: examplePort, Container: s.Launcher != "local", Metrics: true}))
	out.Steps = append(out.Steps, Step{Step: "engine", Command: line})
	if a := plan.Model.Architecture; a != nil {
		estimate := e.Estimate(*a, plan, t.Resources.Memory)
		out.Notes = append(slices.Clone(out.Notes), fmt.Sprintf("needs at least %s on each of %d devices", node.Bytes(estimate.Total), plan.Devices()))
		if !estimate.Fits {
			out.Refused = estimate.Why
		}
	}
	return out
}

// ConfigFile is where a bundle holds the config.json of a model that names
// none itself.
func ConfigFile(model int) string { return fmt.Sprintf("models/%d/config.json", model) }

// Shape reads the models' configurations from the bundle that came with the
// task, for the estimate of memory.
func Shape(s *task.Serving, files []byte) []task.Problem {
	sources, err := unpack(files)
	if err != nil {
		return []task.Problem{{Field: "model", Severity: task.Error, Message: err.Error()}}
	}
	var problems []task.Problem
	for i := range s.Models {
		m := &s.Models[i]
		field, name := "model", ConfigFile(i)
		if len(s.Models) > 1 {
			field = fmt.Sprintf("model[%d]", i)
		}
		if m.Config != "" {
			name = path.Clean(m.Config)
		}
		data, ok := sources[name]
		if !ok {
			if m.Config != "" {
				problems = append(problems, task.Problem{Field: field + ".config", Severity: task.Error, Message: fmt.Sprintf("the file %q is not in the bundle that came with the task", name)})
			}
			continue
		}
		a, err := engine.ParseConfig(data)
		if err != nil {
			problems = append(problems, task.Problem{Field: field + ".config", Severity: task.Error, Message: err.Error(), Expected: "the model's config.json"})
			continue
		}
		m.Architecture = &a
	}
	return problems
}
