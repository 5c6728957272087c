package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/apply"
	"github.com/fleetune/fleetune/manager/client"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/spf13/cobra"
)

func (a *app) applyCommand() *cobra.Command {
	var dir, to string
	var force, dry bool
	var choice recipeChoice
	cmd := &cobra.Command{Use: "apply TASK", Short: "Put a task's best configuration to use",
		Long: `Put a task's best configuration to use: render the task's apply template with
the winner's values into its target, and test it. The task must have completed,
the winner must be confirmed and fast enough, and the template must be the one
that was submitted. When the test fails the old file comes back.

A task that tunes an inference server is applied with --as: its best
configuration is written as a file for the place where it will run.`,
		Args: one("a task's name or id"), ValidArgsFunction: a.completeTasks(false),
		RunE: a.calls(func(ctx context.Context, c *client.Client, args []string) error {
			d, err := c.Task(ctx, args[0])
			if err != nil {
				return err
			}
			if choice.format != "" {
				return a.applyRecipe(ctx, c, d, choice, to, force, dry)
			}
			command, err := commandOf(ctx, c, args[0])
			if err != nil {
				return err
			}
			if d.Kind == task.KindServing {
				return usage(fmt.Errorf("task %s tunes an inference server: say how to write its configuration with --as", d.Name))
			}
			change, err := apply.Plan(request(d, command, dir, force))
			if err != nil {
				return refusedApply(d, err)
			}
			if !dry {
				if err := apply.Do(ctx, change, os.Stderr); err != nil {
					return err
				}
			}
			return a.printApplied(d, change, dry)
		})}
	flags := cmd.Flags()
	flags.StringVar(&dir, "dir", ".", "the task file's folder")
	flags.StringVar(&to, "to", "", "with --as: the file to write")
	choice.flags(cmd)
	flags.BoolVar(&force, "force", false, "apply a winner below the promote threshold too")
	flags.BoolVar(&dry, "dry-run", false, "print the new file; write nothing")
	a.jsonFlag(cmd)
	return cmd
}

// commandOf is a task's command, as it was validated when it was submitted.
func commandOf(ctx context.Context, c *client.Client, ref string) (*task.Command, error) {
	source, err := c.Source(ctx, ref)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(source.Spec)
	if err != nil {
		return nil, fmt.Errorf("reading the task: %w", err)
	}
	var spec task.Task
	if err := json.Unmarshal(data, &spec); err != nil {
		return nil, fmt.Errorf("reading the task: %w", err)
	}
	return spec.Command, nil
}

func request(d v1.Task, command *task.Command, dir string, force bool) apply.Request {
	r := apply.Request{Dir: dir, Command: command, Succeeded: d.Status == "completed", Force: force}
	if b := d.Best; b != nil {
		r.Winner = &apply.Winner{Number: b.Number, Parameters: b.Parameters}
		if s := b.Speedup; s != nil {
			r.Winner.Confirmed, r.Winner.Speedup = s.Low != nil && s.High != nil, s.Ratio
		}
	}
	return r
}

// refusedApply says what to do about a gate that is closed.
func refusedApply(d v1.Task, err error) error {
	next := "fleetune show " + d.Name + " tells how it stands"
	switch {
	case errors.Is(err, os.ErrNotExist):
		next = "name the task file's folder with --dir"
	case errors.Is(err, apply.ErrTemplateChanged):
		next = "restore the template, or submit the task again"
	case errors.Is(err, apply.ErrNoTemplate):
		next = "add an apply section to the task file; fleetune best " + d.Name + " prints the configuration"
	case errors.Is(err, apply.ErrBelowThreshold):
		next = "--force applies it all the same"
	}
	return &exitError{code: ExitFailure, err: err, next: next}
}

func (a *app) printApplied(d v1.Task, change *apply.Change, dry bool) error {
	if a.json {
		return a.printJSON(map[string]any{"task": d.Name, "number": d.Best.Number, "target": change.Target,
			"changed": !change.Unchanged(), "applied": !dry})
	}
	switch {
	case dry:
		return a.printf("%s", strings.TrimRight(string(change.New), "\n")+"\n")
	case change.Unchanged():
		return a.printf("%s already holds experiment %d of %s\n", change.Target, d.Best.Number, d.Name)
	}
	return a.printf("%s now holds experiment %d of %s\n", change.Target, d.Best.Number, d.Name)
}
