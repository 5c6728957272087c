package cli

import (
	"context"
	"errors"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/client"
	"github.com/spf13/cobra"
)

func (a *app) retryCommand() *cobra.Command {
	var how v1.Retry
	var watch bool
	cmd := &cobra.Command{Use: "retry TASK", Short: "Hand a task that has ended in again, under another name",
		Long: `Hand a task that has ended in again, as it was, and print the new task's name:
the next free NAME-runN, or --name. The task itself stays as it ended, and its
results with it; fleetune compare shows both side by side.

--failures measures only what did not succeed. Tuning records answer the points
that did, which takes a place like the one they were measured at.`,
		Args: one("a task's name or id"), ValidArgsFunction: a.completeTasks(false),
		RunE: a.calls(func(ctx context.Context, c *client.Client, args []string) error {
			if how.Paused && watch {
				return usage(errors.New("--paused does not go with --watch: nothing runs before fleetune resume"))
			}
			d, err := c.Retry(ctx, args[0], how)
			if err != nil {
				return err
			}
			if how.Failures && d.Records != nil && d.Records.Note != "" {
				a.complain("warning: everything is measured again: " + d.Records.Note)
			}
			if err := a.printSubmitted([]v1.Task{d}, watch); err != nil || !watch {
				return err
			}
			return a.watchAll(ctx, c, []v1.Task{d})
		})}
	flags := cmd.Flags()
	flags.StringVar(&how.Name, "name", "", "the new task's name")
	flags.BoolVar(&how.Failures, "failures", false, "measure only what did not succeed")
	flags.BoolVar(&how.Paused, "paused", false, "hold it back until fleetune resume lets it go")
	flags.BoolVar(&watch, "watch", false, "show how it goes until it has ended")
	a.jsonFlag(cmd)
	return cmd
}
