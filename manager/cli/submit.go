package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/client"
	"github.com/fleetune/fleetune/manager/rehearse"
	"github.com/fleetune/fleetune/proto/bundle"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/spf13/cobra"
)

func (a *app) submitCommand() *cobra.Command {
	var name string
	var watch, dry, paused bool
	var examples int
	cmd := &cobra.Command{Use: "submit FILE…", Short: "Hand task files in and print the tasks' names",
		Long: `Hand task files in and print the tasks' names. The files that a task names as
sources are read beside it and travel with it. "-" reads a task from standard input.

--dry-run checks without a manager, and shows the size of the space, how much of it
the constraints leave, and the first rendered commands.`,
		Args: upTo(-1, "one task file or several"),
		RunE: a.interruptible(func(ctx context.Context, _ *cobra.Command, args []string) error {
			if name != "" && len(args) > 1 {
				return usage(errors.New("--name goes with one file"))
			}
			if watch && dry {
				return usage(errors.New("--watch and --dry-run exclude each other"))
			}
			if paused && (watch || dry) {
				return usage(errors.New("--paused goes with neither --watch nor --dry-run: nothing runs before fleetune resume"))
			}
			files, err := a.readTasks(args)
			if err != nil {
				return err
			}
			if dry {
				return a.dryRun(files, examples)
			}
			return a.submit(ctx, files, v1.Submission{Name: name, Paused: paused}, watch)
		})}
	flags := cmd.Flags()
	flags.StringVar(&name, "name", "", "take this name instead of the file's task_name")
	flags.BoolVar(&watch, "watch", false, "show how it goes until the task has ended")
	flags.BoolVar(&paused, "paused", false, "hold the tasks back until fleetune resume lets them go")
	flags.BoolVar(&dry, "dry-run", false, "check and show what would run; start nothing")
	flags.IntVar(&examples, "examples", 2, "how many experiments --dry-run shows, the baseline aside")
	a.jsonFlag(cmd)
	return cmd
}

// A taskFile is a task file that was read, with its sources.
type taskFile struct {
	path, name string
	source     []byte
	spec       *task.Task
	warnings   []task.Problem
	bundle     []byte
}

// maxTaskFile bounds a task file, in bytes; the decoder's own limit is lower
// or equal, so a longer one is read no further.
const maxTaskFile = 1<<20 + 1

// readTasks reads and checks every file before any is handed in.
func (a *app) readTasks(paths []string) ([]taskFile, error) {
	var files []taskFile
	failed := 0
	for _, path := range paths {
		f, err := a.readTask(path)
		if errors.Is(err, errQuiet) {
			failed++
			continue
		}
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	if failed > 0 {
		return nil, mistaken(failed)
	}
	return files, nil
}

// mistaken is the error of task files whose mistakes are printed already.
func mistaken(files int) error {
	return &exitError{code: ExitUsage, err: fmt.Errorf("%s", plural(files, "task file has errors", "task files have errors")),
		next: "correct them; --dry-run checks without starting anything"}
}

// readTask reads one file. Errors in it are printed and make errQuiet.
func (a *app) readTask(path string) (taskFile, error) {
	f := taskFile{path: path, name: filepath.Base(path)}
	dir := filepath.Dir(path)
	var in io.Reader
	if path == "-" {
		f.name, dir, in = "stdin.yaml", ".", a.In
	} else {
		file, err := os.Open(path)
		if err != nil {
			return f, usage(fmt.Errorf("reading the task file: %w", err))
		}
		defer func() { _ = file.Close() }()
		in = file
	}
	var err error
	if f.source, err = io.ReadAll(io.LimitReader(in, maxTaskFile)); err != nil {
		return f, usage(fmt.Errorf("reading the task file: %w", err))
	}
	var problems []task.Problem
	f.spec, problems = task.Decode(f.name, f.source)
	for _, p := range problems {
		p.File = path
		if p.Severity == task.Warning {
			f.warnings = append(f.warnings, p)
		}
		if p.Severity == task.Error || !a.json {
			a.complain(p.String())
		}
	}
	if f.spec == nil {
		return f, errQuiet
	}
	if f.spec.Serving != nil {
		var wrong []task.Problem
		if f.bundle, wrong = attachShapes(dir, f.spec.Serving); len(wrong) == 0 {
			wrong = rehearse.Shape(f.spec.Serving, f.bundle)
		}
		if len(wrong) > 0 {
			for _, p := range task.Locate(f.name, f.source, wrong) {
				p.File = path
				a.complain(p.String())
			}
			return f, errQuiet
		}
	}
	if f.spec.Command != nil {
		if f.bundle, err = bundle.Attach(dir, f.spec.Command); err != nil {
			return f, usage(fmt.Errorf("%s: command.files: %w", path, err))
		}
	}
	return f, nil
}

func (a *app) submit(ctx context.Context, files []taskFile, how v1.Submission, watch bool) error {
	c, err := a.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	list := []v1.Task{}
	for _, f := range files {
		how.File, how.Source, how.Bundle = f.name, string(f.source), f.bundle
		answer, err := c.Submit(ctx, how)
		if err != nil {
			return errors.Join(err, a.printSubmitted(list, watch))
		}
		list = append(list, *answer.Task)
	}
	if err := a.printSubmitted(list, watch); err != nil || !watch {
		return err
	}
	return a.watchAll(ctx, c, list)
}

// printSubmitted prints the names, one a line. With --json and --watch the
// tasks are printed when they have ended.
func (a *app) printSubmitted(list []v1.Task, watch bool) error {
	if a.json {
		if watch {
			return nil
		}
		return a.printJSON(list)
	}
	for _, d := range list {
		if err := a.printf("%s\n", terminal.Clean(d.Name)); err != nil {
			return err
		}
	}
	return nil
}

// watchAll watches tasks one after the other.
func (a *app) watchAll(ctx context.Context, c *client.Client, list []v1.Task) error {
	ended := []v1.Task{}
	var worst error
	for _, d := range list {
		d, err := a.watch(ctx, c, d.Name, !a.json)
		if err != nil {
			return err
		}
		ended = append(ended, d)
		worst = errors.Join(worst, verdict(d))
	}
	if a.json {
		if err := a.printJSON(ended); err != nil {
			return err
		}
	}
	return worst
}

// verdict is the error of a task that did not complete.
func verdict(d v1.Task) error {
	if d.Status == "completed" {
		return nil
	}
	text := fmt.Sprintf("task %s is %s", d.Name, d.Status)
	if d.Cause != "" {
		text += ": " + d.Cause
	}
	return &exitError{code: ExitTask, err: errors.New(text), next: "fleetune experiments " + d.Name + " tells what each one came to"}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
