package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"path"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/records/reuse"
	"github.com/fleetune/fleetune/manager/rehearse"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/bundle"
	"github.com/fleetune/fleetune/proto/task"
)

func (a *API) submitRoutes(api huma.API) {
	op := operation("submit-task", http.MethodPost, "/tasks", "Hand a task in", "tasks")
	op.Description = "The file is decoded and validated here, and every problem in it is answered at once: `errors` of the " +
		"problem document carries file, line, column, field, message, what was expected and the nearest valid name."
	op.DefaultStatus = http.StatusCreated
	op.Errors = []int{http.StatusUnauthorized, http.StatusConflict, http.StatusUnprocessableEntity}
	huma.Register(api, op, func(ctx context.Context, in *struct{ Body v1.Submission }) (*submitAnswer, error) {
		d, err := a.submit(ctx, in.Body)
		if err != nil {
			return nil, failure(ctx, a.log, err)
		}
		out := &submitAnswer{Status: http.StatusCreated, Body: d}
		if d.Task == nil {
			out.Status = http.StatusOK
		} else {
			out.Location = v1.Base + "/tasks/" + d.Task.Name
		}
		return out, nil
	})
}

type submitAnswer struct {
	Status   int
	Location string `header:"Location"`
	Body     v1.Submitted
}

func (a *API) submit(ctx context.Context, s v1.Submission) (v1.Submitted, error) {
	return a.accept(ctx, s, a.store.CreateTask)
}

// accept checks what was handed in and gives it to keep, unless it is checked only.
func (a *API) accept(ctx context.Context, s v1.Submission, keep func(context.Context, store.NewTask) (store.Task, error)) (v1.Submitted, error) {
	n, answer, err := a.prepare(s)
	if err != nil || s.DryRun {
		return answer, err
	}
	if err := a.freeze(ctx, &n); err != nil {
		return answer, err
	}
	name := path.Base(filepath.ToSlash(s.File))
	if served := n.Served; served != nil && served.Note != "" && served.Note != reuse.None {
		answer.Warnings = append(answer.Warnings, v1.Finding{File: name, Field: "records.reuse", Severity: string(task.Warning),
			Message: "nothing is answered from records: " + served.Note})
	}
	created, err := keep(ctx, n)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrNeverStarts) {
		return answer, refused(name, []v1.Finding{{File: name, Field: "depends_on", Severity: "error", Message: err.Error()}}, answer.Warnings)
	}
	if err != nil {
		return answer, err
	}
	d, err := a.describe(ctx, created)
	if err != nil {
		return answer, err
	}
	answer.Task = &d
	return answer, nil
}

// prepare decodes and checks a submission; the answer has its warnings.
func (a *API) prepare(s v1.Submission) (store.NewTask, v1.Submitted, error) {
	name := path.Base(filepath.ToSlash(s.File))
	spec, problems := task.Decode(name, []byte(s.Source))
	answer := v1.Submitted{Warnings: []v1.Finding{}}
	var wrong []v1.Finding
	for _, p := range problems {
		if p.Severity == task.Error {
			wrong = append(wrong, finding(p))
		} else {
			answer.Warnings = append(answer.Warnings, finding(p))
		}
	}
	if spec == nil {
		return store.NewTask{}, answer, refused(name, wrong, answer.Warnings)
	}
	if s.Name != "" {
		if !validName(s.Name) {
			return store.NewTask{}, answer, refusedName(s.Name)
		}
		spec.Rename(s.Name)
	}
	data, err := attach(spec, s.Bundle)
	if err != nil {
		return store.NewTask{}, answer, refused(name, []v1.Finding{{File: name, Field: "command.files", Severity: "error", Message: err.Error()}}, answer.Warnings)
	}
	rehearsal, err := check(name, s.Source, spec, data, &answer)
	if err != nil {
		return store.NewTask{}, answer, err
	}
	return store.NewTask{Spec: spec, Source: s.Source, Planned: rehearsal.Planned, Bundle: data, Search: searchOf(&rehearsal), Paused: s.Paused}, answer, nil
}

func refusedName(name string) error {
	return refused("name", []v1.Finding{{Field: "name", Severity: "error",
		Message:  fmt.Sprintf("%q cannot be a task's name", name),
		Expected: fmt.Sprintf("lower-case letters, digits and dashes, %d at most, a letter or digit first and last", longestName)}}, nil)
}

// searchOf keeps what a rehearsal says of the search.
func searchOf(r *rehearse.Rehearsal) *store.Search {
	s := &store.Search{How: r.How, Exact: r.Exact}
	if !math.IsInf(r.Points, 0) {
		s.Points, s.Valid = &r.Points, &r.Valid
	}
	return s
}

// taskName is what a task file's task_name must match as well.
var taskName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// longestName is a task's, in bytes.
const longestName = 63

func validName(name string) bool { return len(name) <= longestName && taskName.MatchString(name) }

func finding(p task.Problem) v1.Finding {
	return v1.Finding{File: p.File, Line: p.Line, Column: p.Column, Field: p.Field, Severity: string(p.Severity),
		Message: p.Message, Expected: p.Expected, Nearest: p.Nearest}
}

// refused is the answer to a task that cannot be accepted.
func refused(name string, wrong, warnings []v1.Finding) error {
	what := "1 error"
	if len(wrong) != 1 {
		what = fmt.Sprintf("%d errors", len(wrong))
	}
	p := problem(http.StatusUnprocessableEntity, "correct the file; fleetune submit --dry-run checks it without starting anything",
		"%s: %s", name, what)
	p.Errors = slices.Concat(wrong, warnings)
	return p
}

// check rehearses a task and refuses one that would fail; warnings go into the
// answer.
func check(name, source string, spec *task.Task, data []byte, answer *v1.Submitted) (rehearse.Rehearsal, error) {
	var problems []task.Problem
	if spec.Serving != nil {
		problems = rehearse.Shape(spec.Serving, data)
	}
	r := rehearse.Task(spec, data, 0)
	problems = task.Locate(name, []byte(source), append(problems, r.Problems...))
	var wrong []v1.Finding
	for _, p := range problems {
		if p.Severity == task.Error {
			wrong = append(wrong, finding(p))
		} else {
			answer.Warnings = append(answer.Warnings, finding(p))
		}
	}
	if len(wrong) > 0 {
		return r, refused(name, wrong, answer.Warnings)
	}
	return r, nil
}

// attach checks the bundle against the sources that the task names, and notes
// its digest and that of the template that apply renders.
func attach(t *task.Task, data []byte) ([]byte, error) {
	if t.Serving != nil {
		return data, nil // the models' shapes, if any
	}
	if t.Command == nil {
		return nil, nil
	}
	wanted := map[string]bool{}
	for _, f := range t.Command.Files {
		if f.Source != "" {
			wanted[slashed(f.Source)] = true
		}
	}
	template := ""
	if t.Command.Apply != nil && t.Command.Apply.Template != "" {
		template = slashed(t.Command.Apply.Template)
		wanted[template] = true
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	contents, err := bundle.Unpack(bytes.NewReader(data), "")
	if len(data) == 0 {
		contents, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	for name := range wanted {
		if _, ok := contents[name]; !ok {
			return nil, fmt.Errorf("the file %q is not in the bundle that came with the task", name)
		}
	}
	t.Command.Bundle = bundle.Digest(data)
	if template != "" {
		t.Command.Apply.Digest = bundle.Digest(contents[template])
	}
	return data, nil
}

func slashed(name string) string { return filepath.ToSlash(filepath.Clean(name)) }
