package task

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task/internal/document"
	"github.com/fleetune/fleetune/proto/task/internal/form"
)

// MetricWallTime is the metric of a command measured by MeasureWallTime, in
// seconds.
const MetricWallTime = "wall_time_s"

// Decode reads a task file. The name appears in problems, and its suffix says
// whether the file is YAML or JSON. Every problem is returned at once, in the
// order of the file; with an error among them the task is nil.
func Decode(name string, data []byte) (*Task, []Problem) {
	root, problems := document.Parse(name, data)
	if root == nil {
		return nil, problemsOf(name, problems)
	}
	d := &decoder{root: root, index: document.NewIndex(root)}
	d.adapt()
	d.Bind(root, "", &d.form)
	var t *Task
	if root.Kind == document.Map {
		t = d.task()
	}
	d.index.Locate(d.Problems)
	if d.Failed() {
		t = nil
	}
	return t, problemsOf(name, d.Problems)
}

// Locate fills in file, line and column of problems that name a field only, in
// a file that was decoded before.
func Locate(name string, data []byte, problems []Problem) []Problem {
	root, wrong := document.Parse(name, data)
	if root == nil || len(wrong) > 0 {
		return problems
	}
	index := document.NewIndex(root)
	d := &decoder{root: root, index: index}
	d.adapt()
	d.aliases()
	for i := range problems {
		problems[i].File = name
		problems[i].Line, problems[i].Column = index.Place(problems[i].Field)
		problems[i].Field = index.Written(problems[i].Field)
	}
	return problems
}

// decoder turns the bound form into a task. Its parts check what was bound
// without error, so that one mistake is not reported twice.
type decoder struct {
	document.Binder
	form  form.Task
	root  *document.Node
	index *document.Index
	// dropped lists parameters without values.
	dropped []string
}

func (d *decoder) task() *Task {
	f := &d.form
	t := &Task{
		Name: f.TaskName, Description: f.Description, Priority: Priority(f.Priority),
		Resources: resources(&f.Resources), Space: space.Space{Parameters: f.Parameters, Constraints: f.Constraints},
	}
	serves := d.index.Has("base_runtime")
	if serves {
		d.serving(t)
		d.axes(t)
	}
	d.space(&t.Space)
	d.dependencies(t)
	switch {
	case f.Command != nil && f.Noop:
		d.Fail("noop", "stands beside command", "one of the two")
	case serves && (f.Command != nil || f.Noop):
		d.Fail("base_runtime", "stands beside command or noop", "one of them")
	case f.Command != nil:
		d.command(t)
	case serves:
		d.servingBaseline(t)
	case !f.Noop && !d.index.Has("command"):
		d.Fail("command", "is missing", "what an experiment runs, as in command: {run: [./bench]}, or base_runtime: vllm to tune an inference server")
	}
	t.Resources.Kind = t.Kind()
	d.records(t)
	d.optimization(t)
	d.timeouts(t)
	return t
}

// clean says whether nothing at or below the paths was reported as an error.
func (d *decoder) clean(paths ...string) bool {
	for i := range d.Problems {
		for _, path := range paths {
			rest, below := strings.CutPrefix(d.Problems[i].Field, path)
			if !d.Problems[i].Warning && below && (rest == "" || rest[0] == '.' || rest[0] == '[') {
				return false
			}
		}
	}
	return true
}

func (d *decoder) warn(path, message, expected string) {
	d.Add(document.Problem{Field: path, Warning: true, Message: message, Expected: expected})
}

func (d *decoder) nearest(path, message, expected, nearest string) {
	d.Add(document.Problem{Field: path, Message: message, Expected: expected, Nearest: nearest})
}

func resources(f *form.Resources) node.Requirements {
	r := node.Requirements{Pool: f.Pool, Accelerator: f.Accelerator, Devices: int(f.Devices), Memory: int64(f.Memory)}
	if len(f.Labels) > 0 {
		r.Labels = map[string]string{}
		for k, v := range f.Labels {
			r.Labels[k] = string(v)
		}
	}
	return r
}

// space attaches conditions to parameters and lets the space check itself.
func (d *decoder) space(s *space.Space) {
	for i := range d.Problems {
		if p := &d.Problems[i]; p.Warning && strings.HasSuffix(p.Message, form.LeftOut) {
			d.dropped = append(d.dropped, strings.TrimPrefix(p.Field, "parameters."))
		}
	}
	if !d.clean("parameters", "conditions", "constraints") {
		return
	}
	d.conditions(s)
	for _, issue := range s.Check() {
		path := issue.Path
		if short := strings.Replace(path, ".values[", "[", 1); !d.index.Has(path) && d.index.Has(short) {
			path = short
		}
		message := issue.Message
		for _, name := range d.dropped {
			if strings.Contains(message, strconv.Quote(name)) {
				message += d.leftOut(name)
			}
		}
		d.nearest(path, message, "", issue.Nearest)
	}
	if d.clean("parameters") && len(s.Parameters) == 0 {
		d.warn("parameters", "names nothing that varies, so there is one configuration only", "")
	}
}

func (d *decoder) conditions(s *space.Space) {
	names := parameterNames(s)
	for _, c := range d.form.Conditions {
		d.index.Alias("conditions."+c.Parameter, c.Path)
		found := false
		for i := range s.Parameters {
			p := &s.Parameters[i]
			if p.Name != c.Parameter {
				continue
			}
			found = true
			if p.When != "" {
				d.Fail(c.Path, fmt.Sprintf("is a second condition for %q", c.Parameter), "one expression, parts joined with &&")
			}
			p.When = c.When
		}
		if !found {
			d.nearest(c.Path, fmt.Sprintf("is a condition for %q, which is no parameter", c.Parameter)+d.leftOut(c.Parameter),
				"", closest(c.Parameter, names))
		}
	}
}

func parameterNames(s *space.Space) []string {
	names := make([]string, len(s.Parameters))
	for i := range s.Parameters {
		names[i] = s.Parameters[i].Name
	}
	return names
}

// closest is space.Nearest where a space could be valid: its time grows with
// the number of names and the square of their length.
func closest(name string, known []string) string {
	if len(name) > 100 || len(known) > 300 {
		return ""
	}
	return space.Nearest(name, known)
}

// leftOut explains why a name that the file has is no parameter.
func (d *decoder) leftOut(name string) string {
	for _, n := range d.dropped {
		if n == name {
			return " (it has no values)"
		}
	}
	return ""
}

var taskName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func (d *decoder) dependencies(t *Task) {
	seen := map[string]bool{}
	for i, name := range d.form.DependsOn {
		at := document.Item("depends_on", i)
		switch {
		case !d.clean(at):
			continue
		case !taskName.MatchString(name):
			d.Fail(at, fmt.Sprintf("is the text %q, which is no name of a task", document.Clip(name)), "the task_name of another task")
		case name == t.Name:
			d.Fail(at, "is this task itself, which would wait for ever", "the task_name of another task")
		case seen[name]:
			d.Fail(at, fmt.Sprintf("names %q a second time", name), "every task once")
		}
		seen[name] = true
		t.DependsOn = append(t.DependsOn, name)
	}
}
