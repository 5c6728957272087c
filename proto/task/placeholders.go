package task

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/fleetune/fleetune/proto/render/placeholder"
	"github.com/fleetune/fleetune/proto/task/internal/document"
)

var secretName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

// placeholders checks every {{NAME}} that stands in the task file itself; what
// stands in files beside it is checked when they are rendered.
func (d *decoder) placeholders(t *Task) {
	parameters := d.root.Get("parameters")
	if parameters == nil || parameters.Kind != document.Map {
		return
	}
	c := t.Command
	u := &usage{d: d, when: map[string]string{}, used: map[string]bool{}}
	for _, e := range parameters.Entries { // those with a mistake of their own too
		if d.leftOut(e.Key) == "" {
			u.names = append(u.names, e.Key)
			u.when[e.Key] = ""
		}
	}
	for _, p := range t.Space.Parameters {
		u.when[p.Name] = p.When
	}
	fidelity := ""
	if f := d.form.Optimization.Fidelity; f != nil && f.Name != "" {
		fidelity = f.Name
		u.names, u.when[fidelity] = append(u.names, fidelity), ""
	}
	for _, s := range []struct {
		name string
		step *Step
	}{{"build", c.Build}, {"inputs", c.Inputs}, {"reference", c.Reference}, {"check", c.Check}, {"run", &c.Run}} {
		if s.step == nil {
			continue
		}
		at := "command." + s.name
		if d.index.Has(at + ".argv") {
			at += ".argv"
		}
		for i, arg := range s.step.Argv {
			u.text(document.Item(at, i), arg, placeholder.BuiltinsOf(s.name), "in "+s.name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Env.Set)) {
		u.text("command.env.set."+name, c.Env.Set[name], placeholder.Builtins(), "here")
	}
	elsewhere := false
	for i := range c.Files {
		elsewhere = u.file(document.Item("command.files", i), &c.Files[i]) || elsewhere
	}
	if elsewhere || !d.clean("command", "parameters") {
		return
	}
	for _, name := range u.names {
		if !u.used[name] && name == fidelity {
			d.Fail("optimization.fidelity.name", fmt.Sprintf("has no effect: no argument, variable or rendered file uses {{%s}}", name),
				"an argument such as {{"+name+"}}, so that an experiment can be made cheaper")
		} else if !u.used[name] {
			d.warn("parameters."+name, fmt.Sprintf("has no effect: no argument, variable or rendered file uses {{%s}}", name), "")
		}
	}
}

// usage finds out which parameters a task's texts use.
type usage struct {
	d     *decoder
	names []string
	when  map[string]string
	used  map[string]bool
}

// file says whether the file's content is not at hand.
func (u *usage) file(at string, f *File) (elsewhere bool) {
	if f.Source != "" {
		return f.Render
	}
	if f.Render {
		u.text(at+".content", f.Content, nil, "in a file, which is rendered before the experiment runs")
		return false
	}
	for _, name := range placeholder.Names(f.Content) {
		if slices.Contains(u.names, name) {
			u.d.warn(at+".content", fmt.Sprintf("holds {{%s}}, but the file is copied as it is", name), "render: true")
		}
	}
	return false
}

func (u *usage) text(at, template string, builtins []string, where string) {
	seen := map[string]bool{}
	for _, s := range placeholder.Parse(template) {
		if s.Name == "" || seen[s.Name] || len(u.d.Problems) == document.MaxProblems {
			continue
		}
		seen[s.Name] = true
		u.segment(at, s, builtins, where)
	}
}

func (u *usage) segment(at string, s placeholder.Segment, builtins []string, where string) {
	when, isParameter := u.when[s.Name]
	switch {
	case isParameter && when != "" && !s.Fallback:
		u.used[s.Name] = true
		u.d.warn(at, fmt.Sprintf("uses {{%s}}, which has no value where its condition is false", s.Name),
			fmt.Sprintf("a fallback, as in {{%s:-0}}", s.Name))
	case isParameter:
		u.used[s.Name] = true
	case slices.Contains(builtins, s.Name):
	case slices.Contains(placeholder.Builtins(), s.Name):
		u.d.Fail(at, fmt.Sprintf("uses {{%s}}, which has no value %s", s.Name, where), "")
	default:
		known := slices.Concat(u.names, builtins)
		nearest := closest(s.Name, known)
		expected := ""
		if nearest == "" {
			expected = "a parameter or one of Fleetune's own names, such as EXP_DIR"
		}
		u.d.nearest(at, fmt.Sprintf("uses {{%s}}, which is no parameter", document.Clip(s.Name))+u.d.leftOut(s.Name), expected, nearest)
	}
}
