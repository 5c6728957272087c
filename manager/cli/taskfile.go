package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/client"
	"github.com/fleetune/fleetune/manager/rehearse"
	"github.com/fleetune/fleetune/proto/bundle"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// A taskFile is a task file that was read, with its sources. Where something is
// wrong, that is all it has.
type taskFile struct {
	path, name string
	source     []byte
	spec       *task.Task
	warnings   []task.Problem
	bundle     []byte
	wrong      []v1.Finding
}

// submission is what hands the file in.
func (f taskFile) submission(how v1.Submission) v1.Submission {
	how.File, how.Source, how.Bundle = f.name, string(f.source), f.bundle
	return how
}

// blame notes what is wrong.
func (f *taskFile) blame(problems ...task.Problem) {
	for _, p := range problems {
		f.wrong = append(f.wrong, v1.Finding{File: f.path, Line: p.Line, Column: p.Column, Field: p.Field,
			Severity: string(p.Severity), Message: p.Message, Expected: p.Expected, Nearest: p.Nearest})
	}
}

// mistakes is the error of the files that have any: all of them at once.
func mistakes(files []taskFile) error {
	var problems []v1.Finding
	failed := 0
	for _, f := range files {
		if len(f.wrong) > 0 {
			failed++
			problems = append(problems, f.wrong...)
		}
	}
	if failed == 0 {
		return nil
	}
	return &exitError{code: ExitUsage, err: errors.New(plural(failed, "task file has errors", "task files have errors")),
		next: "correct them; --dry-run checks without starting anything", problems: problems}
}

// maxTaskFile bounds a task file, in bytes; the decoder's own limit is lower
// or equal, so a longer one is read no further.
const maxTaskFile = 1<<20 + 1

// readTasks reads and checks every file. Warnings of those that are good are
// printed.
func (a *app) readTasks(paths []string) []taskFile {
	files := make([]taskFile, len(paths))
	for i, path := range paths {
		files[i] = a.readTask(path)
		if len(files[i].wrong) == 0 && !a.json {
			for _, p := range files[i].warnings {
				a.complain(p.String())
			}
		}
	}
	return files
}

func (a *app) readTask(path string) taskFile {
	f := taskFile{path: path, name: filepath.Base(path)}
	dir := filepath.Dir(path)
	var err error
	if path == "-" {
		f.name, dir = "stdin.yaml", "."
		f.source, err = io.ReadAll(io.LimitReader(a.In, maxTaskFile))
	} else {
		f.source, err = readFile(path)
	}
	if err != nil {
		p := task.Problem{Severity: task.Error, Message: "cannot be read: " + reason(err).Error()}
		if errors.Is(err, fs.ErrNotExist) {
			p.Nearest = neighbour(path)
		}
		f.blame(p)
		return f
	}
	var problems []task.Problem
	f.spec, problems = task.Decode(f.name, f.source)
	for i := range problems {
		problems[i].File = path
	}
	if f.spec == nil {
		f.blame(problems...)
		return f
	}
	f.warnings = problems
	if f.spec.Serving != nil {
		var wrong []task.Problem
		if f.bundle, wrong = attachShapes(dir, f.spec.Serving); len(wrong) == 0 {
			wrong = rehearse.Shape(f.spec.Serving, f.bundle)
		}
		f.blame(task.Locate(f.name, f.source, wrong)...)
	}
	if f.spec.Command != nil {
		if f.bundle, err = bundle.Attach(dir, f.spec.Command); err != nil {
			f.blame(task.Locate(f.name, f.source, []task.Problem{{Field: "command.files", Severity: task.Error, Message: err.Error()}})...)
		}
	}
	return f
}

// readFile reads a task file, as far as one may be long.
func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return io.ReadAll(io.LimitReader(file, maxTaskFile))
}

// neighbour is the file beside a path that may have been meant by it, if any.
func neighbour(path string) string {
	dir, name := filepath.Split(path)
	entries, err := os.ReadDir(filepath.Join(".", dir))
	if filepath.IsAbs(path) {
		entries, err = os.ReadDir(dir)
	}
	if err != nil {
		return ""
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && e.Name() != name {
			names = append(names, e.Name())
		}
	}
	near := space.Nearest(name, names)
	if near == "" {
		return ""
	}
	return dir + near
}

// agreed asks the manager about every one of several files before the first is
// handed in, so that one that is refused leaves nothing half-done.
func agreed(ctx context.Context, c *client.Client, files []taskFile) error {
	if len(files) < 2 {
		return nil
	}
	var earlier []string
	for i := range files {
		f := &files[i]
		if err := f.agreed(ctx, c, earlier); err != nil {
			return err
		}
		earlier = append(earlier, f.spec.Name)
	}
	return mistakes(files)
}

// agreed notes what the manager would refuse the file for, once the earlier
// tasks are handed in.
func (f *taskFile) agreed(ctx context.Context, c *client.Client, earlier []string) error {
	refuse := func(field, format string, args ...any) {
		f.blame(task.Locate(f.name, f.source, []task.Problem{{Field: field, Severity: task.Error, Message: fmt.Sprintf(format, args...)}})...)
	}
	there, err := exists(ctx, c, f.spec.Name)
	if err != nil {
		return err
	}
	switch {
	case there:
		refuse("task_name", "there is a task %q already", f.spec.Name)
	case slices.Contains(earlier, f.spec.Name):
		refuse("task_name", "%q is the name of another of these files too", f.spec.Name)
	}
	for i, name := range f.spec.DependsOn {
		if slices.Contains(earlier, name) {
			continue
		}
		there, err := exists(ctx, c, name)
		if err != nil {
			return err
		}
		if !there {
			refuse(fmt.Sprintf("depends_on[%d]", i), "there is no task %q, neither at the manager nor in a file before this one", name)
		}
	}
	var refused *v1.Problem
	if _, err = c.Submit(ctx, f.submission(v1.Submission{DryRun: true})); !errors.As(err, &refused) || problemCode(refused.Status) != ExitUsage {
		return err
	}
	for _, finding := range refused.Errors {
		finding.File = f.path
		f.wrong = append(f.wrong, finding)
	}
	if len(refused.Errors) == 0 {
		f.blame(task.Problem{Severity: task.Error, Message: refused.Detail})
	}
	return nil
}

// exists asks whether there is a task of the name.
func exists(ctx context.Context, c *client.Client, name string) (bool, error) {
	_, err := c.Task(ctx, name)
	var p *v1.Problem
	if errors.As(err, &p) && p.Status == http.StatusNotFound {
		return false, nil
	}
	return err == nil, err
}
