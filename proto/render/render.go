// Package render turns a command task and one point of its space into the
// files and argument lists of an experiment. Workers use it to stage an
// experiment and the command line to show one (`submit --dry-run`), so what is
// shown is what runs. It starts nothing and writes nothing.
//
// Templates are read in a single pass: a value that looks like a placeholder
// is not substituted again. A placeholder without a value, and a parameter
// that no template uses, are both errors: either would measure something other
// than the point says.
package render

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/proto/render/placeholder"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// ErrRender is what every error of this package wraps.
var ErrRender = errors.New("rendering")

// A File is a rendered file.
type File struct {
	Path       string // inside the experiment's folder, slash-separated
	Content    []byte
	Executable bool
}

// An Argv is an argument list in which only builtins are still open.
type Argv [][]placeholder.Segment

// A Step is a rendered program.
type Step struct {
	Argv    Argv
	Timeout task.Duration
}

// A Rendering is everything that an experiment runs. Steps that the task does
// not have are nil.
type Rendering struct {
	Files     []File
	Build     *Step
	Inputs    *Step
	Reference *Step
	Check     *Step
	Run       *Step
	// Env holds the variables that the task sets, builtins still open.
	Env map[string][]placeholder.Segment
}

// Command renders a command task at a point. sources holds the contents of the
// task's source files by their path (see package bundle).
func Command(c *task.Command, p space.Point, sources map[string][]byte) (*Rendering, error) {
	r := &renderer{point: p, used: map[string]bool{}}
	out := &Rendering{Env: map[string][]placeholder.Segment{}}
	for i := range c.Files {
		out.Files = append(out.Files, r.file(&c.Files[i], sources))
	}
	out.Build = r.step("build", c.Build)
	out.Inputs = r.step("inputs", c.Inputs)
	out.Reference = r.step("reference", c.Reference)
	out.Check = r.step("check", c.Check)
	out.Run = r.step("run", &c.Run)
	for _, name := range slices.Sorted(maps.Keys(c.Env.Set)) {
		out.Env[name] = r.open("env.set."+name, c.Env.Set[name], placeholder.Builtins())
	}
	r.unused()
	if err := errors.Join(r.errs...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRender, err)
	}
	return out, nil
}

// Text renders one text at a point in which every name must have a value;
// names that are not used are allowed. `apply` renders its template with it.
func Text(template string, p space.Point, encoding string) (string, error) {
	r := &renderer{point: p, used: map[string]bool{}}
	s := r.text("template", template, encoding)
	if err := errors.Join(r.errs...); err != nil {
		return "", fmt.Errorf("%w: %w", ErrRender, err)
	}
	return s, nil
}

// Program renders one program at a point in which every name must have a
// value, EXP_DIR aside; names that are not used are allowed. `apply` renders
// its test with it.
func Program(s task.Step, p space.Point) (*Step, error) {
	r := &renderer{point: p, used: map[string]bool{}}
	out := &Step{Timeout: s.Timeout}
	if len(s.Argv) == 0 {
		r.fail("argv", "it is empty")
	}
	for i, arg := range s.Argv {
		out.Argv = append(out.Argv, r.open(fmt.Sprintf("argv[%d]", i), arg, []string{"EXP_DIR"}))
	}
	if err := errors.Join(r.errs...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRender, err)
	}
	return out, nil
}

// renderer collects every error of one rendering, so that a user sees all of
// them at once.
type renderer struct {
	point space.Point
	used  map[string]bool
	errs  []error
}

func (r *renderer) fail(where, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("%s: %s", where, fmt.Sprintf(format, args...)))
}

func (r *renderer) file(f *task.File, sources map[string][]byte) File {
	out := File{Path: filepath.ToSlash(filepath.Clean(f.Path)), Executable: f.Executable}
	if !filepath.IsLocal(f.Path) || out.Path == "." {
		r.fail("files", "path %q leaves the experiment's folder", f.Path)
		return out
	}
	content := []byte(f.Content)
	if f.Source != "" {
		var ok bool
		if content, ok = sources[filepath.ToSlash(filepath.Clean(f.Source))]; !ok {
			r.fail(f.Path, "its source %q is not in the bundle", f.Source)
			return out
		}
	}
	if f.Render {
		content = []byte(r.text(f.Path, string(content), f.Encoding))
	}
	out.Content = content
	return out
}

func (r *renderer) step(name string, s *task.Step) *Step {
	if s == nil {
		return nil
	}
	if len(s.Argv) == 0 {
		r.fail(name, "argv is empty")
		return nil
	}
	out := &Step{Timeout: s.Timeout}
	for i, arg := range s.Argv {
		out.Argv = append(out.Argv, r.open(fmt.Sprintf("%s.argv[%d]", name, i), arg, placeholder.BuiltinsOf(name)))
	}
	return out
}

// open substitutes values and leaves the builtins that will have one.
func (r *renderer) open(where, template string, builtins []string) []placeholder.Segment {
	var out []placeholder.Segment
	for _, s := range placeholder.Parse(template) {
		if _, bound := r.point[s.Name]; !bound && slices.Contains(builtins, s.Name) {
			out = append(out, s)
			continue
		}
		out = append(out, placeholder.Segment{Text: r.segment(where, s, Raw), Offset: s.Offset})
	}
	return out
}

func (r *renderer) text(where, template, encoding string) string {
	var b strings.Builder
	for _, s := range placeholder.Parse(template) {
		b.WriteString(r.segment(where, s, encoding))
	}
	return b.String()
}

func (r *renderer) segment(where string, s placeholder.Segment, encoding string) string {
	if s.Name == "" {
		return s.Text
	}
	value, ok := r.point[s.Name]
	switch {
	case ok:
		r.used[s.Name] = true
		text, err := Encode(value, encoding)
		if err != nil {
			r.fail(where, "{{%s}}: %v", s.Name, err)
		}
		return text
	case s.Fallback:
		return s.Text
	case slices.Contains(placeholder.Builtins(), s.Name):
		r.fail(where, "{{%s}} has no value here, only in the arguments of a step that has it and in its environment", s.Name)
	default:
		r.fail(where, "{{%s}} has no value here; a parameter with a condition needs a fallback, as in {{%s:-0}}",
			s.Name, s.Name)
	}
	return ""
}

func (r *renderer) unused() {
	for _, name := range slices.Sorted(maps.Keys(r.point)) {
		if !r.used[name] {
			r.fail("parameters."+name, "no file, argument or variable uses {{%s}}, so it cannot have an effect", name)
		}
	}
}
