package cli

import (
	"context"
	"maps"
	"slices"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/client"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/spf13/cobra"
)

// change makes a command that moves tasks to another status.
func (a *app) change(verb, short string, f func(context.Context, *client.Client, string) (v1.Task, error)) *cobra.Command {
	cmd := &cobra.Command{Use: verb + " TASK…", Short: short, Args: upTo(-1, "one task or several"),
		ValidArgsFunction: a.completeTasks(true),
	}
	cmd.RunE = a.calls(func(ctx context.Context, c *client.Client, args []string) error {
		done, failed := each(args, func(ref string) (v1.Task, error) {
			d, err := f(ctx, c, ref)
			if err == nil && !a.json {
				err = a.printf("%s is %s\n", terminal.Clean(d.Name), d.Status)
			}
			return d, err
		})
		return listed(a, cmd, done, failed)
	})
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) pauseCommand() *cobra.Command {
	return a.change("pause", "Hold tasks back: what runs goes on, nothing new starts",
		func(ctx context.Context, c *client.Client, ref string) (v1.Task, error) { return c.Pause(ctx, ref) })
}

func (a *app) resumeCommand() *cobra.Command {
	return a.change("resume", "Let paused tasks go on",
		func(ctx context.Context, c *client.Client, ref string) (v1.Task, error) { return c.Resume(ctx, ref) })
}

func (a *app) cancelCommand() *cobra.Command {
	var cause string
	cmd := a.change("cancel", "End tasks and stop what runs of them",
		func(ctx context.Context, c *client.Client, ref string) (v1.Task, error) {
			return c.Cancel(ctx, ref, cause)
		})
	cmd.Flags().StringVar(&cause, "cause", "", "why; kept with the task")
	return cmd
}

func sortedNames[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
