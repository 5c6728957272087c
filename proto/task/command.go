package task

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task/internal/document"
	"github.com/fleetune/fleetune/proto/task/internal/form"
)

func (d *decoder) command(t *Task) {
	f := d.form.Command
	c := &Command{
		Build: step(f.Build), Inputs: step(f.Inputs), Reference: step(f.Reference), Check: step(f.Check), Run: *step(&f.Run),
		Tolerance: Tolerance{Absolute: f.Tolerance.Absolute, Relative: f.Tolerance.Relative},
		Measure:   Measure(f.Measure), Warmups: int(f.Warmups),
		MinDuration: Duration(f.MinDuration), Cooldown: Duration(f.Cooldown),
		Finalists: int(f.Finalists), Thresholds: Thresholds{Improve: f.Thresholds.Improve, Promote: f.Thresholds.Promote},
	}
	t.Command = c
	d.files(c, f)
	d.outputs(c, f)
	d.gate(c)
	c.Env = d.environment("command.env", &f.Env)
	d.apply(c, f.Apply)
	d.baseline(t, f.Baseline)
	if c.MinDuration > 0 && c.Measure != MeasureWallTime && d.clean("command.measure") {
		d.warn("command.min_duration", "is only told to the program (EXP_MIN_DURATION), which measures by itself", "measure: wall_time for the worker to keep to it")
	}
	d.placeholders(t)
}

func step(f *form.Step) *Step {
	if f == nil {
		return nil
	}
	s := &Step{Timeout: Duration(f.Timeout)}
	for _, a := range f.Argv {
		s.Argv = append(s.Argv, string(a))
	}
	return s
}

func (d *decoder) files(c *Command, f *form.Command) {
	for i, in := range f.Files {
		at := document.Item("command.files", i)
		out := File{Path: string(in.Path), Source: string(in.Source), Content: in.Content, Render: in.Render,
			Encoding: in.Encoding, Executable: in.Executable}
		inline := d.index.Has(at + ".content")
		switch {
		case inline && out.Source != "":
			d.Fail(at+".content", "stands beside source", "one of the two")
		case !inline && out.Source == "":
			out.Source = out.Path
		}
		if out.Encoding != "" && !out.Render {
			d.warn(at+".encoding", "has no effect on a file that is copied", "render: true")
		}
		if out.Render && out.Encoding == "" {
			out.Encoding = "raw"
		}
		if d.clean(at) {
			d.distinct(c.Files, at, out.Path)
		}
		c.Files = append(c.Files, out)
	}
}

// distinct refuses a file that takes another's place, or its folder's.
func (d *decoder) distinct(files []File, at, path string) {
	for j, other := range files {
		switch {
		case other.Path == path:
			d.Fail(at, fmt.Sprintf("goes to %q, where files[%d] is already", path, j), "every path once")
			return
		case strings.HasPrefix(path, other.Path+"/") || strings.HasPrefix(other.Path, path+"/"):
			d.Fail(at, fmt.Sprintf("goes to %q, but files[%d] goes to %q: one name cannot be a file and a folder", path, j, other.Path), "")
			return
		}
	}
}

// maxElements keeps the size of an output's array in bounds.
const maxElements = 1 << 40

func (d *decoder) outputs(c *Command, f *form.Command) {
	for i, in := range f.Outputs {
		at := document.Item("command.outputs", i)
		out := Output{Path: string(in.Path), DType: in.DType}
		elements := int64(1)
		for k, n := range in.Shape {
			if n < 1 || elements > maxElements/n {
				d.Fail(document.Item(at+".shape", k), fmt.Sprintf("is %d", n), "dimensions of at least 1, with at most 2^40 elements together")
				break
			}
			elements *= n
			out.Shape = append(out.Shape, int(n))
		}
		if in.DType == "npy" && in.Shape != nil {
			d.Fail(at+".shape", "is given twice: an npy file says its own shape", "no shape")
		}
		for j, other := range c.Outputs {
			if other.Path == out.Path && d.clean(at) {
				d.Fail(at, fmt.Sprintf("compares %q, as outputs[%d] does", out.Path, j), "every path once")
			}
		}
		c.Outputs = append(c.Outputs, out)
	}
}

// gate checks that the correctness gate has all its parts.
func (d *decoder) gate(c *Command) {
	if !d.clean("command.inputs", "command.reference", "command.check", "command.outputs") {
		return
	}
	has := func(name string) bool { return d.index.Has("command." + name) }
	if (c.Inputs != nil || c.Reference != nil || len(c.Outputs) > 0) && c.Check == nil {
		for _, name := range []string{"inputs", "reference", "outputs"} {
			if has(name) {
				d.Fail("command.check", "is missing beside "+name, "the program that writes the candidate's outputs")
				return
			}
		}
	}
	switch {
	case c.Reference == nil && len(c.Outputs) > 0:
		d.Fail("command.reference", "is missing beside outputs", "the program that writes the outputs to trust")
	case c.Reference != nil && len(c.Outputs) == 0:
		d.Fail("command.outputs", "is missing beside reference, so nothing would be compared", "the files to compare, as in [{path: c.bin, dtype: float32}]")
	}
}

// environment reads what programs see; section is its place in the file.
func (d *decoder) environment(section string, f *form.Env) Env {
	var env Env
	taken := map[string]string{}
	claim := func(name, at, where string) {
		if reason := form.CheckVariable(name); reason != "" {
			d.Fail(at, fmt.Sprintf("sets %q, %s", name, reason), form.VariableExpected)
		} else if other := taken[name]; other != "" {
			d.Fail(at, fmt.Sprintf("names %s, which env.%s does too", name, other), "every variable once")
		}
		taken[name] = where
	}
	for i, name := range f.Pass {
		if name != "" {
			claim(string(name), document.Item(section+".pass", i), "pass")
			env.Pass = append(env.Pass, string(name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.Set)) {
		claim(name, section+".set."+name, "set")
		if env.Set == nil {
			env.Set = map[string]string{}
		}
		env.Set[name] = string(f.Set[name])
	}
	for _, name := range slices.Sorted(maps.Keys(f.Secrets)) {
		at := section + ".secrets." + name
		claim(name, at, "secrets")
		if secret := f.Secrets[name]; d.clean(at) && !secretName.MatchString(secret) {
			d.Fail(at, fmt.Sprintf("is the text %q", document.Clip(secret)), "the name of a secret that the worker knows, not the secret itself: letters, digits, dots, dashes and underscores")
		}
		if env.Secrets == nil {
			env.Secrets = map[string]string{}
		}
		env.Secrets[name] = f.Secrets[name]
	}
	return env
}

func (d *decoder) apply(c *Command, f *form.Apply) {
	if f == nil {
		return
	}
	c.Apply = &Apply{Template: string(f.Template), Target: string(f.Target), Encoding: f.Encoding, Verify: step(f.Verify)}
	if f.Template != "" && f.Template == f.Target {
		d.Fail("command.apply.target", "is the template itself, which apply would overwrite", "another file")
	}
}

// baseline checks the point and gives its values the types of the space.
func (d *decoder) baseline(t *Task, p form.Point) {
	const at = "command.baseline"
	if p == nil || !d.clean(at, "parameters", "conditions", "constraints") {
		return
	}
	compiled, err := space.Compile(t.Space)
	if err != nil {
		return // reported with the space
	}
	names := parameterNames(&t.Space)
	for _, name := range slices.Sorted(maps.Keys(p)) {
		i, ok := compiled.Position(name)
		if !ok {
			d.nearest(at+"."+name, "is no parameter"+d.leftOut(name), "", closest(name, names))
		} else if _, err := compiled.Domain(i).Rank(p[name]); err != nil {
			d.Fail(at+"."+name, err.Error(), valuesExpected(&t.Space.Parameters[i]))
		}
	}
	if !d.clean(at) {
		return
	}
	if err := compiled.Contains(space.Point(p)); err != nil {
		d.Fail(at, "is no configuration of the space: "+err.Error(), "")
		return
	}
	if t.Command.Baseline, err = compiled.Normalize(space.Point(p)); err != nil {
		d.Fail(at, err.Error(), "")
	}
}

// valuesExpected lists the values of a choice as far as they fit in a line.
func valuesExpected(p *space.Parameter) string {
	const most = 12
	if len(p.Values) == 0 || len(p.Values) > most {
		return ""
	}
	words := make([]string, len(p.Values))
	for i, v := range p.Values {
		words[i] = fmt.Sprintf("%#v", v)
	}
	return "one of " + strings.Join(words, ", ")
}
