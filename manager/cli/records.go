package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/client"
	"github.com/fleetune/fleetune/manager/records"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/google/uuid"
	"github.com/spf13/cobra"
)

func (a *app) recordsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "records", Short: "Look up, list, pin and carry what tuning has measured",
		Long: `Look up, list, pin and carry what tuning has measured.

Tasks that end leave their measurements as records, under a key that says what
was measured, on what work, where and how. A runtime asks for the winner when it
starts:

    fleetune records get gemm -w m=4096,dtype=fp16 -e device="NVIDIA H100"`,
		Args: none, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(a.recordsGetCommand(), a.recordsListCommand(), a.recordsShowCommand(), a.recordsPinCommand(), a.recordsUnpinCommand(),
		a.recordsExportCommand(), a.recordsImportCommand(), a.recordsMergeCommand())
	return cmd
}

func (a *app) recordsGetCommand() *cobra.Command {
	var workload, extras, environment, files []string
	q := records.Question{}
	cmd := &cobra.Command{Use: "get OPERATION", Short: "Print the winner for a workload",
		Long: `Print the winner for a workload. Exit code 3 says that no record serves.

Facts are NAME=VALUE, several separated by commas or given again; a value may be
JSON, and the environment's may be "*", which agrees with everything. Facts of
the workload and extras have to agree, save numbers of the workload with
--nearest. A fact of the environment that is left out is not known: then the
winner is marked soft.

With --file, the records of files answer where the manager knows none or cannot
be reached: a pin goes before the winner, the manager before the files.`,
		Args: one("the name of an operation"),
		RunE: a.interruptible(func(ctx context.Context, _ *cobra.Command, args []string) error {
			q.Operation = args[0]
			typed := func(_, text string) any { return records.ParseFact(text) }
			for _, part := range []struct {
				given []string
				into  *records.Facts
				parse func(name, text string) any
			}{{workload, &q.Workload, typed}, {extras, &q.Extras, typed}, {environment, &q.Environment, records.ParsePlace}} {
				var err error
				if *part.into, err = facts(part.given, part.parse); err != nil {
					return usage(err)
				}
			}
			w, err := a.winner(ctx, q, files)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(w)
			}
			return a.printWinner(w)
		})}
	flags := cmd.Flags()
	flags.StringArrayVarP(&workload, "workload", "w", nil, "facts of the workload, as in m=4096,dtype=fp16")
	flags.StringArrayVar(&extras, "extras", nil, "facts that set the runner apart, as in layout=8x4")
	flags.StringArrayVarP(&environment, "env", "e", nil, "facts of the place, as in device=\"NVIDIA H100\"")
	flags.StringVar(&q.Version, "version", "", "version of the operation")
	flags.StringVar(&q.Runner, "runner", "", "only what ran under this digest")
	flags.StringVar(&q.Objective, "objective", "", "such as minimize_time_ms")
	flags.BoolVar(&q.Nearest, "nearest", false, "take the nearest workload where none agrees")
	flags.StringArrayVarP(&files, "file", "f", nil, "records to ask where the manager has none, as fleetune records export writes them")
	a.jsonFlag(cmd)
	return cmd
}

// facts reads NAME=VALUE. A comma separates facts where a name and = follow it,
// so that lists and texts keep theirs.
func facts(given []string, parse func(name, text string) any) (records.Facts, error) {
	f := records.Facts{}
	for _, text := range given {
		name, value := "", ""
		for i, part := range strings.Split(text, ",") {
			key, v, ok := strings.Cut(part, "=")
			switch {
			case ok && key != "" && !strings.ContainsAny(key, `["{ `):
				if name != "" {
					f[name] = parse(name, value)
				}
				name, value = key, v
			case i == 0:
				return nil, fmt.Errorf("%q is no fact: write NAME=VALUE", text)
			default:
				value += "," + part
			}
		}
		f[name] = parse(name, value)
	}
	return f, nil
}

func (a *app) printWinner(w found) error {
	f := &fields{app: a}
	f.add("parameters", "%s", terminal.Point(w.Parameters, nil))
	style := terminal.Green
	if w.Match != records.MatchExact {
		style = terminal.Yellow
	}
	f.addStyled(style, "match", "%s", w.Match)
	for _, d := range w.Differences {
		f.addStyled(style, "", "%s", d.String())
	}
	a.addRecord(f, w.Record)
	f.add("points", "%d measured under this key", w.Points)
	f.add("file", "%s", w.File)
	return f.err
}

func (a *app) addRecord(f *fields, r v1.Record) {
	sign := ""
	for _, s := range []struct {
		is   bool
		name string
	}{{r.Pinned, "pinned"}, {r.Confirmed, "confirmed"}, {r.Imported, "imported"}} {
		if s.is {
			sign += ", " + s.name
		}
	}
	name := strconv.FormatInt(r.Number, 10)
	if r.Number == 0 { // a file counts none
		name = r.ID.String()
	}
	f.add("record", "%s%s", name, sign)
	for _, name := range sortedNames(r.Metrics) {
		m := r.Metrics[name]
		f.add("metric", "%s %s %s (spread %s, %d samples)", name, terminal.Number(m.Median), m.Unit, terminal.Number(m.Spread), m.Count)
	}
	f.add("outcome", "%s", r.Outcome)
	f.add("operation", "%s", strings.TrimSpace(r.Operation+" "+r.Version+" "+r.Extras.String()))
	f.add("workload", "%s", r.Workload.String())
	f.add("environment", "%s", r.Environment.String())
	f.add("measurement", "%s", r.Measurement.String())
	f.add("runner", "%s", r.Runner)
	f.add("task", "%s", r.Task)
	f.add("measured", "%s", terminal.Ago(&r.MeasuredAt, a.Now()))
}

func (a *app) recordsListCommand() *cobra.Command {
	var l client.RecordListing
	cmd := &cobra.Command{Use: "list", Short: "List records, in the order they were added", Args: none,
		RunE: a.calls(func(ctx context.Context, c *client.Client, _ []string) error {
			list, err := pages(l.Limit, func(after string, n int) (v1.Page[v1.Record], error) {
				l.After, l.Limit = after, n
				return c.Records(ctx, l)
			})
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list)
			}
			return a.printRecords(list)
		})}
	flags := cmd.Flags()
	flags.StringVar(&l.Operation, "operation", "", "only records of this operation")
	flags.StringVar(&l.Task, "task", "", "only those that this task measured")
	flags.StringVar(&l.Key, "key", "", "only those under this key")
	flags.IntVar(&l.Limit, "limit", 0, "how many at most; 0 means all")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) printRecords(list []v1.Record) error {
	if len(list) == 0 {
		return a.printf("no records; tasks leave theirs when they end\n")
	}
	t := terminal.Table{Columns: []terminal.Column{{Title: "#", Right: true}, {Title: "OPERATION", Least: 9}, {Title: "WORKLOAD", Least: 8},
		{Title: "DEVICE", Least: 6}, {Title: "SCORE", Right: true}, {Title: "PARAMETERS", Least: 10}, {Title: "OUTCOME", Least: 7}, {Title: "TASK", Least: 4}}}
	for _, r := range list {
		score := ""
		if r.Score != nil {
			score = terminal.Number(*r.Score)
		}
		sign := ""
		switch {
		case r.Pinned:
			sign = "p"
		case r.Confirmed:
			sign = "*"
		}
		t.Add(sign+strconv.FormatInt(r.Number, 10), r.Operation, r.Workload.String(), terminal.Value(r.Environment[records.FactDevice]), score,
			terminal.Point(r.Parameters, nil), r.Outcome, r.Task)
	}
	return t.Print(a.Out)
}

// recordCommand is a command about one record.
func (a *app) recordCommand(verb, short string, f func(context.Context, *client.Client, int64) (v1.Record, error)) *cobra.Command {
	cmd := &cobra.Command{Use: verb + " NUMBER", Short: short, Args: one("the number of a record"),
		RunE: a.calls(func(ctx context.Context, c *client.Client, args []string) error {
			number, err := strconv.ParseInt(strings.TrimPrefix(args[0], "#"), 10, 64)
			if err != nil || number < 1 {
				return usage(fmt.Errorf("%q is no number of a record: they count from 1", args[0]))
			}
			r, err := f(ctx, c, number)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			d := &fields{app: a}
			d.add("parameters", "%s", terminal.Point(r.Parameters, nil))
			a.addRecord(d, r)
			return d.err
		})}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) recordsShowCommand() *cobra.Command {
	return a.recordCommand("show", "Show a record", func(ctx context.Context, c *client.Client, n int64) (v1.Record, error) { return c.Record(ctx, n) })
}

func (a *app) recordsPinCommand() *cobra.Command {
	var note string
	cmd := a.recordCommand("pin", "Let a record serve its key before every winner",
		func(ctx context.Context, c *client.Client, n int64) (v1.Record, error) {
			return c.PinRecord(ctx, n, note)
		})
	cmd.Flags().StringVar(&note, "note", "", "why; kept with the pin")
	return cmd
}

func (a *app) recordsUnpinCommand() *cobra.Command {
	return a.recordCommand("unpin", "Take a pin back",
		func(ctx context.Context, c *client.Client, n int64) (v1.Record, error) { return c.UnpinRecord(ctx, n) })
}

func (a *app) recordsExportCommand() *cobra.Command {
	var l client.RecordListing
	var output string
	cmd := &cobra.Command{Use: "export", Short: "Write records to a file, merged with what it holds",
		Long: `Write records to a file, merged with what it holds. Damaged lines of the file
are dropped and reported; readers see the old file or the new one, never a part.`,
		Args: none,
		RunE: a.calls(func(ctx context.Context, c *client.Client, _ []string) error {
			body, err := c.ExportRecords(ctx, l)
			if err != nil {
				return err
			}
			defer func() { _ = body.Close() }() // it was only read
			if output == "" {
				if _, err := io.Copy(a.Out, body); err != nil {
					return fmt.Errorf("the export broke off: %w", err)
				}
				return nil
			}
			list, damaged, err := records.Read(body)
			if err != nil {
				return err
			}
			if len(damaged) > 0 { // the connection broke off within a line
				return fmt.Errorf("the export broke off: %s", damaged[0].Reason)
			}
			return a.saveRecords(ctx, output, list)
		})}
	flags := cmd.Flags()
	flags.StringVarP(&output, "output", "o", "", "file to merge into; standard output without it")
	flags.StringVar(&l.Operation, "operation", "", "only records of this operation")
	flags.StringVar(&l.Task, "task", "", "only those that this task measured")
	return cmd
}

func (a *app) reportDropped(file string, dropped []records.Dropped) {
	for _, d := range dropped {
		at := file
		if d.Line > 0 { // what concerns several lines has none
			at = fmt.Sprintf("%s:%d", file, d.Line)
		}
		a.complain(at + ": dropped: " + d.Reason)
	}
}

// importBatch is how many records one request carries.
const importBatch = 2000

func (a *app) recordsImportCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "import FILE…", Short: "Add the records of files",
		Args: upTo(-1, "one file of records or several"),
		RunE: a.calls(func(ctx context.Context, c *client.Client, args []string) error {
			total := v1.Import{Conflicts: []uuid.UUID{}, Dropped: []records.Dropped{}}
			for _, file := range args {
				if err := a.importFile(ctx, c, file, &total); err != nil {
					return err
				}
			}
			if a.json {
				return a.printJSON(total)
			}
			return a.printf("%d records added, %d known before\n", total.Added, total.Known)
		})}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) importFile(ctx context.Context, c *client.Client, file string, total *v1.Import) error {
	list, dropped, err := records.ReadFile(file)
	if errors.Is(err, records.ErrFormat) || errors.Is(err, os.ErrNotExist) {
		return usage(err)
	}
	if err != nil {
		return err
	}
	a.reportDropped(file, dropped)
	total.Dropped = append(total.Dropped, dropped...)
	for len(list) > 0 {
		n := min(importBatch, len(list))
		var text bytes.Buffer
		if err := records.Write(&text, list[:n]); err != nil {
			return err
		}
		result, err := c.ImportRecords(ctx, text.String())
		if err != nil {
			return err
		}
		total.Added, total.Known = total.Added+result.Added, total.Known+result.Known
		total.Conflicts = append(total.Conflicts, result.Conflicts...)
		for _, id := range result.Conflicts {
			a.complain(fmt.Sprintf("%s: record %s is told otherwise by the manager, which keeps its own", file, id))
		}
		list = list[n:]
	}
	return nil
}

// served says how records serve a task.
func served(s *v1.Served) string {
	if s == nil {
		return ""
	}
	var parts []string
	if s.Answers > 0 {
		parts = append(parts, fmt.Sprintf("answer %d points", s.Answers))
	}
	if s.Starts > 0 {
		parts = append(parts, fmt.Sprintf("start the search at %d points of %s", s.Starts, strings.Join(s.Sources, ", ")))
	}
	if s.Note != "" {
		parts = append(parts, "answer nothing: "+s.Note)
	}
	if len(parts) == 0 {
		return "none serves it"
	}
	return strings.Join(parts, "; ")
}
