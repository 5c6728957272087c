package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/client"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/spf13/cobra"
)

// finals are the statuses of tasks that have ended.
var finals = []string{"completed", "failed", "cancelled"}

// deleting is what fleetune delete is asked for.
type deleting struct {
	statuses  []string
	olderThan task.Duration
	dry, yes  bool
}

func (a *app) deleteCommand() *cobra.Command {
	var how deleting
	cmd := &cobra.Command{Use: "delete [TASK…]", Short: "Delete tasks that have ended; tuning records are kept",
		Long: `Delete tasks that have ended, by name, or all that --status and --older-than
select.

What goes: the tasks with their experiments, attempts, metrics, output and
events, and their files where no other task refers to them. What stays: the
tuning records that their experiments made (fleetune records), and an event that
tells of the deletion.

A task that has not ended is refused: cancel it first. On a terminal you are
asked before anything is deleted; elsewhere --yes is needed.`,
		Args: cobra.ArbitraryArgs, ValidArgsFunction: a.completeTasks(true),
		Example: `  fleetune delete matmul
  fleetune delete --status failed,cancelled --older-than 30d --dry-run`,
	}
	cmd.RunE = a.calls(func(ctx context.Context, c *client.Client, args []string) error {
		if err := how.check(args); err != nil {
			return usage(err)
		}
		return a.delete(ctx, cmd, c, args, how)
	})
	flags := cmd.Flags()
	flags.StringSliceVar(&how.statuses, "status", nil, "all tasks with these statuses: completed, failed, cancelled")
	// An error would say that there is no such flag.
	_ = cmd.RegisterFlagCompletionFunc("status", cobra.FixedCompletions(finals, cobra.ShellCompDirectiveNoFileComp))
	flags.Var(&how.olderThan, "older-than", "all tasks that ended longer ago, such as 30d or 12h")
	flags.Lookup("older-than").DefValue = "" // none
	flags.BoolVar(&how.dry, "dry-run", false, "show what would go; delete nothing")
	flags.BoolVar(&how.yes, "yes", false, "do not ask")
	a.jsonFlag(cmd)
	return cmd
}

func (d deleting) selects() bool { return len(d.statuses) > 0 || d.olderThan > 0 }

func (d deleting) check(args []string) error {
	switch {
	case len(args) == 0 && !d.selects():
		return errors.New("it takes tasks, or --status and --older-than to select them")
	case len(args) > 0 && d.selects():
		return errors.New("name tasks, or select them with --status and --older-than; not both")
	case d.olderThan < 0:
		return errors.New("--older-than takes a time that has passed, such as 30d")
	}
	for _, status := range d.statuses {
		if slices.Contains(finals, status) {
			continue
		}
		if near := space.Nearest(status, finals); near != "" {
			return fmt.Errorf("--status %s: did you mean %s? only tasks that have ended are deleted", status, near)
		}
		return fmt.Errorf("--status %s: only tasks that have ended are deleted: %s", status, strings.Join(finals, ", "))
	}
	return nil
}

// delete weighs every task before any is deleted, so that what is asked is
// what will be done.
func (a *app) delete(ctx context.Context, cmd *cobra.Command, c *client.Client, refs []string, how deleting) error {
	if how.selects() {
		var err error
		if refs, err = a.ended(ctx, c, how); err != nil {
			return err
		}
	}
	var failed []error
	if how.dry || !how.yes {
		var weighed []v1.Deletion
		weighed, failed = each(refs, func(ref string) (v1.Deletion, error) { return c.Delete(ctx, ref, true) })
		if how.dry {
			return errors.Join(a.allButLast(cmd, failed), a.printWeighed(weighed, len(failed) > 0))
		}
		refs = refs[:0]
		for _, d := range weighed {
			if !d.Deleted { // what is gone already needs no leave
				refs = append(refs, d.ID.String())
			}
		}
		if len(refs) > 0 {
			if err := a.ask(weighed); err != nil {
				return a.allButLast(cmd, append(failed, err))
			}
		}
	}
	done, more := each(refs, func(ref string) (v1.Deletion, error) {
		d, err := c.Delete(ctx, ref, false)
		if err == nil && !a.json {
			err = a.printf("%s is deleted: %s\n", terminal.Clean(d.Name), goes(d))
		}
		return d, err
	})
	if failed = append(failed, more...); len(done) == 0 && len(failed) == 0 && !a.json {
		return a.printf("no tasks to delete\n")
	}
	return listed(a, cmd, done, failed)
}

// ended lists the tasks that --status and --older-than select, by id.
func (a *app) ended(ctx context.Context, c *client.Client, how deleting) ([]string, error) {
	statuses := how.statuses
	if len(statuses) == 0 {
		statuses = finals
	}
	before := a.Now().Add(-time.Duration(how.olderThan))
	var refs []string
	for _, status := range statuses {
		list, err := pages(0, func(after string, n int) (v1.Page[v1.Task], error) {
			return c.Tasks(ctx, client.Listing{Status: status, After: after, Limit: n})
		})
		if err != nil {
			return nil, err
		}
		for _, d := range list {
			if d.FinishedAt != nil && (how.olderThan == 0 || d.FinishedAt.Before(before)) {
				refs = append(refs, d.ID.String())
			}
		}
	}
	return refs, nil
}

// ask returns nil when somebody says yes.
func (a *app) ask(list []v1.Deletion) error {
	if !terminal.Asks(a.In) {
		return usage(errors.New("there is no terminal to ask on: --yes deletes without asking, --dry-run shows what would go"))
	}
	total := v1.Deletion{}
	for _, d := range list {
		total.Experiments += d.Experiments
		total.Records += d.Records
	}
	name := plural(len(list), "task", "tasks")
	if len(list) == 1 {
		name = "task " + terminal.Clean(list[0].Name)
	}
	if _, err := fmt.Fprintf(a.Err, "Delete %s? %s. [y/N] ", name, goes(total)); err != nil {
		return fmt.Errorf("asking: %w", err)
	}
	line, err := bufio.NewReader(a.In).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); err == nil && (answer == "y" || answer == "yes") {
		return nil
	}
	return &exitError{code: ExitFailure, err: errors.New("nothing is deleted"), next: "answer y, or give --yes"}
}

// goes says what goes with a task and what stays.
func goes(d v1.Deletion) string {
	text := plural(d.Experiments, "experiment goes", "experiments go")
	if d.Records > 0 {
		text += ", " + plural(d.Records, "tuning record stays", "tuning records stay")
	}
	return text
}

// printWeighed prints what would go; nothing where failures are all there is to
// tell.
func (a *app) printWeighed(list []v1.Deletion, failed bool) error {
	switch {
	case len(list) == 0 && failed:
		return nil
	case a.json:
		return a.printJSON(list)
	case len(list) == 0:
		return a.printf("no tasks to delete\n")
	}
	t := terminal.Table{Columns: []terminal.Column{{Title: "NAME", Least: 8}, {Title: "STATUS", Styled: true}, {Title: "FINISHED"},
		{Title: "EXPERIMENTS", Right: true}, {Title: "RECORDS KEPT", Right: true}}}
	for _, d := range list {
		t.Add(d.Name, d.Status, terminal.Ago(d.FinishedAt, a.Now()), fmt.Sprint(d.Experiments), fmt.Sprint(d.Records))
	}
	return t.Print(a.Out)
}
