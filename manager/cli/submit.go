package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/client"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/spf13/cobra"
)

func (a *app) submitCommand() *cobra.Command {
	var name string
	var watch, dry, paused bool
	var examples int
	cmd := &cobra.Command{Use: "submit FILE…", Short: "Hand task files in and print the tasks' names",
		Long: `Hand task files in and print the tasks' names. The files that a task names as
sources are read beside it and travel with it. "-" reads a task from standard
input. Of several files none is handed in before all are found good.

--dry-run checks without a manager, and shows the size of the space, how much of
it the constraints leave, and the first rendered commands.`,
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
			files := a.readTasks(args)
			if dry {
				return a.dryRun(files, examples)
			}
			if err := mistakes(files); err != nil {
				return err
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

func (a *app) submit(ctx context.Context, files []taskFile, how v1.Submission, watch bool) error {
	c, err := a.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := agreed(ctx, c, files); err != nil {
		return err
	}
	list := []v1.Task{}
	for _, f := range files {
		answer, err := c.Submit(ctx, f.submission(how))
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
	for _, d := range list {
		d, err := a.watch(ctx, c, d.Name, !a.json)
		if err != nil {
			return err
		}
		ended = append(ended, d)
	}
	return a.printEnded(ended)
}

// printEnded prints tasks as they ended, with --json, and returns the error of
// those that did not complete.
func (a *app) printEnded(list []v1.Task) error {
	if a.json {
		if err := a.printJSON(list); err != nil {
			return err
		}
	}
	var worst error
	for _, d := range list {
		worst = errors.Join(worst, verdict(d))
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
