package rehearse

import (
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
	points, err := search.First(t.Space)
	if err != nil {
		r.fail("parameters", err.Error(), "")
		return
	}
	p := planner{engine: e, task: t, memory: memoryOf(t)}
	if !s.NoBaseline && examples > 0 {
		r.Examples = append(r.Examples, p.example(experiment.Baseline, s.Baseline))
	}
	r.look(&p, points, examples)
}

// simulated refuses what the simulated engine cannot stand in for.
func (r *Rehearsal) simulated(s *task.Serving, e *engine.Engine) {
	if _, err := hardware.Lookup(s.Simulate.GPU); err != nil {
		r.Problems = append(r.Problems, task.Problem{Field: "simulate.gpu", Severity: task.Error, Message: "names a GPU that is not simulated",
			Expected: "one of " + strings.Join(hardware.Names(), ", "), Nearest: space.Nearest(s.Simulate.GPU, hardware.Names())})
	}
	if !e.Simulated() {
		r.fail("simulate", "stands beside "+e.Name()+", which is not simulated", "vllm or sglang as base_runtime")
	}
	if s.Benchmark.Task != "text-to-text" {
		r.fail("simulate", "stands beside "+s.Benchmark.Task+", which is not simulated", "text-to-text as benchmark.task")
	}
}

func (r *Rehearsal) look(p *planner, points func(func(space.Point) bool), examples int) {
	seen := map[string]bool{}
	shown := 0
	var refusal string
	for point := range points {
		if r.Looked++; r.Looked > lookAt {
			r.Looked--
			break
		}
		plan, refused := p.plan(point)
		if refused != "" {
			refusal = refused
			r.Refused++
		} else {
			key := plan.Key()
			if seen[key] {
				r.Same++
			}
			seen[key] = true
		}
		if shown < examples {
			r.Examples = append(r.Examples, p.example(experiment.Search, point))
			shown++
		}
	}
	switch {
	case r.Refused == r.Looked:
		r.fail("parameters", "has no configuration that can run: "+refusal, "")
	case r.Refused > 0:
		r.warn("parameters", fmt.Sprintf("%d of %d configurations cannot run; one of them: %s", r.Refused, r.Looked, refusal),
			"a constraint that leaves them out")
	}
	if r.Same > 0 {
		r.warn("parameters", fmt.Sprintf("%d of %d configurations start the engine just like another one", r.Same, r.Looked), "")
	}
}

func (r *Rehearsal) warn(field, message, expected string) {
	r.Problems = append(r.Problems, task.Problem{Field: field, Severity: task.Warning, Message: message, Expected: expected})
}

// A planner turns points into experiments as a worker will.
type planner struct {
	engine *engine.Engine
	task   *task.Task
	memory memory
}

// memory of the device that an experiment will have.
type memory struct {
	bytes int64 // 0 where it is not known
	of    string
}

// memoryOf is the memory that the task's devices have: that of the simulated
// GPU, else the largest of those that the task accepts where they are known,
// else the least that it asks for.
func memoryOf(t *task.Task) memory {
	if s := t.Serving.Simulate; s != nil {
		if gpu, err := hardware.Lookup(s.GPU); err == nil {
			return memory{gpu.Memory, gpu.Product}
		}
	}
	most, known := memory{}, 0
	accelerator := strings.ToLower(t.Resources.Accelerator)
	for _, gpu := range hardware.Table() {
		device := node.Device{Vendor: gpu.Vendor(), Model: gpu.Product, Memory: gpu.Memory, Health: node.Healthy}
		model := !slices.Contains([]string{"", node.AnyAccelerator, node.AnyGPU, device.Vendor}, accelerator)
		if !model || !t.Resources.Accepts(device) {
			continue
		}
		if known++; gpu.Memory > most.bytes {
			most = memory{gpu.Memory, gpu.Product}
		}
	}
	if known > 1 {
		most.of += ", the largest that the task takes"
	}
	if most.bytes == 0 && t.Resources.Memory > 0 {
		return memory{t.Resources.Memory, "a device of resources.memory"}
	}
	return most
}

// plan is the configuration of a point, and why it cannot run; "" where it
// can, as far as is known.
func (p *planner) plan(point space.Point) (plan engine.Plan, refused string) {
	plan, err := p.engine.Plan(p.task.Serving, point)
	if err != nil {
		return plan, err.Error()
	}
	if a := plan.Model.Architecture; a != nil {
		if estimate := p.engine.Estimate(*a, plan, p.memory.bytes); !estimate.Fits {
			return plan, "on " + p.memory.of + ": " + estimate.Why
		}
	}
	return plan, ""
}

// example shows how an experiment would start the engine.
func (p *planner) example(purpose experiment.Purpose, point space.Point) Example {
	s := p.task.Serving
	out := Example{Purpose: purpose, Parameters: point, Steps: []Step{}, Devices: 1}
	if s.Endpoint != nil {
		return out
	}
	plan, refused := p.plan(point)
	out.Refused = refused
	if len(plan.Engine) == 0 {
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
	if file, ok := plan.File(); ok {
		out.Notes = append(slices.Clone(out.Notes), file.Name+" says "+strings.ReplaceAll(strings.TrimSpace(file.Content), "\n", "; "))
	}
	if a := plan.Model.Architecture; a != nil && refused == "" {
		out.Notes = append(slices.Clone(out.Notes), p.engine.Estimate(*a, plan, p.memory.bytes).String())
	}
	return out
}

// ConfigFile is where a bundle holds the config.json of a model that names
// none itself.
func ConfigFile(model int) string { return fmt.Sprintf("models/%d/config.json", model) }

// ModelField is where a task file names a model.
func ModelField(s *task.Serving, model int) string {
	if len(s.Models) == 1 {
		return "model"
	}
	return fmt.Sprintf("model[%d]", model)
}

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
		field, name := ModelField(s, i), ConfigFile(i)
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
