package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/fleetune/fleetune/manager/client"
	"github.com/spf13/cobra"
)

func (a *app) reportCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{Use: "report TASK", Short: "Write what was found as one HTML page with charts",
		Long: `Write what was found as one HTML page: the best beside the baseline, the course
of the search, what matters, every experiment, and how it was made. The page
holds all it needs; it can be mailed, kept and printed.`,
		Args: one("a task's name or id"), ValidArgsFunction: a.completeTasks(false),
		RunE: a.calls(func(ctx context.Context, c *client.Client, args []string) error {
			if output == "" && a.Out.Live {
				return usage(errors.New("a page is not for a terminal; name a file with --output"))
			}
			page, err := c.Report(ctx, args[0])
			if err != nil {
				return err
			}
			defer func() { _ = page.Close() }()
			if err := a.save(page, output); err != nil {
				return err
			}
			if output != "" {
				_, err = fmt.Fprintf(a.Err, "%s is written; open it with a browser\n", output)
			}
			return err
		})}
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write; standard output without it")
	return cmd
}
