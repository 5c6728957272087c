package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/records"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/spf13/cobra"
)

// A found is a winner with the file that it is from, "" for the manager.
type found struct {
	v1.Winner
	File string `json:"file,omitempty"`
}

// winner asks the manager, and where that knows none or is not there, the files.
func (a *app) winner(ctx context.Context, q records.Question, files []string) (found, error) {
	w, err := a.managerWinner(ctx, q)
	if err == nil || len(files) == 0 || !passesOn(err) {
		return found{Winner: w}, err
	}
	var list []records.Record
	from := make(map[string]string, len(files))
	for _, file := range files {
		more, err := a.readRecords(file)
		if err != nil {
			return found{}, err
		}
		for _, r := range more {
			from[r.ID.String()] = file
		}
		list = append(list, more...)
	}
	merged, _ := records.Merge(list)
	best, answer, chosen := records.Find(q, merged)
	switch {
	case errors.Is(chosen, records.ErrNotFound):
		return found{}, &exitError{code: ExitNotFound, next: "fleetune records list shows the records there are; --nearest takes the nearest workload",
			err: fmt.Errorf("%s; and in %s: %w", err.Error(), strings.Join(files, ", "), chosen)}
	case chosen != nil:
		return found{}, &exitError{code: ExitFailure, next: "add that fact to --env", err: chosen}
	}
	d := v1.RecordOf(best.Record)
	d.Confirmed, d.Imported = best.Confirmed, true
	return found{Winner: v1.Winner{Record: d, Match: answer.Match, Differences: append([]records.Difference{}, answer.Differences...),
		Distance: answer.Distance, Median: best.Median, Points: best.Points}, File: from[best.Record.ID.String()]}, nil
}

func (a *app) managerWinner(ctx context.Context, q records.Question) (v1.Winner, error) {
	c, err := a.dial()
	if err != nil {
		return v1.Winner{}, err
	}
	defer c.Close()
	return c.Winner(ctx, q)
}

// passesOn says whether files may answer instead: the manager knows no record, or
// cannot be asked.
func passesOn(err error) bool {
	var p *v1.Problem
	if errors.As(err, &p) && p.Status == http.StatusNotFound {
		return true
	}
	return exitCode(err) == ExitUnreachable
}

// readRecords reads a file and reports its damage.
func (a *app) readRecords(file string) ([]records.Record, error) {
	list, dropped, err := records.ReadFile(file)
	if errors.Is(err, records.ErrFormat) || errors.Is(err, os.ErrNotExist) {
		return nil, usage(err)
	}
	if err != nil {
		return nil, err
	}
	a.reportDropped(file, dropped)
	return list, nil
}

func (a *app) recordsMergeCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{Use: "merge FILE… --output FILE", Short: "Merge files of records into one, without a manager",
		Long: `Merge files of records into one, without a manager. It is the union of all that
they and the output hold, in whatever order: a record that is in several is
there once. Damaged lines are dropped and reported; readers see the old file or
the new one.`,
		Args: upTo(-1, "one file of records or several"),
		RunE: a.interruptible(func(ctx context.Context, _ *cobra.Command, args []string) error {
			if output == "" {
				return usage(errors.New("say which file to merge them into with --output"))
			}
			var list []records.Record
			for _, file := range args {
				more, err := a.readRecords(file)
				if err != nil {
					return err
				}
				list = append(list, more...)
			}
			return a.saveRecords(ctx, output, list)
		})}
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to merge into; it need not exist")
	a.jsonFlag(cmd)
	return cmd
}

// saved is what --json prints of a merge.
type saved struct {
	File    string `json:"file"`
	Records int    `json:"records"`
	Added   int    `json:"added"`
}

// saveRecords merges records into a file and says what became of it.
func (a *app) saveRecords(ctx context.Context, output string, list []records.Record) error {
	s, err := records.Save(ctx, output, list)
	if err != nil {
		return err
	}
	a.reportDropped(output, s.Dropped)
	for _, id := range s.Conflicts {
		a.complain(fmt.Sprintf("%s: record %s is told in two ways; one was kept", output, id))
	}
	if a.json {
		return a.printJSON(saved{output, s.Records, s.Added})
	}
	return a.printf("%s: %d records, %d of them new\n", terminal.Clean(output), s.Records, s.Added)
}
