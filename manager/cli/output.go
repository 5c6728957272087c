package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/client"
	"github.com/fleetune/fleetune/manager/export"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/spf13/cobra"
)

func (a *app) logsCommand() *cobra.Command {
	var follow bool
	var attempt int
	cmd := &cobra.Command{Use: "logs TASK [NUMBER]", Short: "Print what an experiment's programs wrote",
		Long: `Print what an experiment's programs wrote: NUMBER, else one that runs, else the
last that ran. Output to a file or pipe is passed on as it is; on a terminal,
control characters are taken out.`,
		Args: upTo(2, "a task and maybe an experiment's number"), ValidArgsFunction: a.completeTasks(false),
		RunE: a.calls(func(ctx context.Context, c *client.Client, args []string) error {
			n, err := a.numberOrLatest(ctx, c, args)
			if err != nil {
				return err
			}
			if follow {
				return c.FollowLogs(ctx, args[0], n, attempt, (&logWriter{app: a}).write)
			}
			return a.printLogs(ctx, c, args[0], n, attempt)
		})}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the experiment has ended")
	cmd.Flags().IntVar(&attempt, "attempt", 0, "only this attempt; 0 means all")
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON lines with stable field names")
	return cmd
}

// printLogs prints what there is by now of an attempt; 0 means all.
func (a *app) printLogs(ctx context.Context, c *client.Client, ref string, number, attempt int) error {
	w := &logWriter{app: a}
	for after := ""; ; {
		page, err := c.Logs(ctx, ref, number, attempt, after)
		if err != nil {
			return err
		}
		for _, chunk := range page.Items {
			if err := w.write(chunk); err != nil {
				return err
			}
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if w.where == "" && !a.json {
		what := ""
		if attempt != 0 {
			what = fmt.Sprintf("attempt %d of ", attempt)
		}
		a.complain(fmt.Sprintf("fleetune: there is no output of %sexperiment %d of %s", what, number, ref))
		a.complain(fmt.Sprintf("  next: fleetune experiments %s %d tells its attempts and what they came to", ref, number))
	}
	return nil
}

// numberOrLatest is the experiment that is asked for, else one that runs, else
// the last that ran.
func (a *app) numberOrLatest(ctx context.Context, c *client.Client, args []string) (int, error) {
	if len(args) == 2 {
		return number(args[1])
	}
	running, latest := 0, 0
	for e, err := range c.AllExperiments(ctx, args[0], client.Listing{Purpose: "all"}) {
		if err != nil {
			return 0, err
		}
		if e.StartedAt != nil {
			latest = e.Number
			if e.Status == "running" {
				running = e.Number
			}
		}
	}
	if running > 0 {
		return running, nil
	}
	if latest == 0 {
		return 0, &exitError{code: ExitNotFound, err: fmt.Errorf("no experiment of %s has run yet", args[0]),
			next: "fleetune why " + args[0]}
	}
	return latest, nil
}

// A logWriter prints pieces of output, with a heading wherever the attempt or
// the stream changes.
type logWriter struct {
	app   *app
	where string
	open  bool // the last line has no end yet
}

func (w *logWriter) write(chunk v1.LogChunk) error {
	if w.app.json {
		return export.Line(w.app.Out, chunk)
	}
	where := fmt.Sprintf("attempt %d on %s, %s", chunk.Attempt, chunk.Worker, chunk.Stream)
	if where != w.where && chunk.Data != "" {
		heading := w.app.Out.Paint(terminal.Dim, "--- "+terminal.Clean(where))
		if w.open {
			heading = "\n" + heading
		}
		if err := w.app.printf("%s\n", heading); err != nil {
			return err
		}
		w.where = where
	}
	text := chunk.Data
	if w.app.Out.Live {
		text = terminal.CleanText(text)
	}
	if text != "" {
		w.open = !strings.HasSuffix(text, "\n")
	}
	_, err := io.WriteString(w.app.Out, text)
	return err
}

func (a *app) exportCommand() *cobra.Command {
	var format, output string
	var l client.Listing
	var confirmations, cells bool
	cmd := &cobra.Command{Use: "export TASK", Short: "Write experiments or cells as CSV, JSON, JSON lines or XLSX",
		Args: one("a task's name or id"), ValidArgsFunction: a.completeTasks(false),
		RunE: a.calls(func(ctx context.Context, c *client.Client, args []string) error {
			if format == "" {
				format = strings.TrimPrefix(filepath.Ext(output), ".")
			}
			if format == "" {
				format = string(export.CSV)
			}
			if _, err := export.Parse(format); err != nil {
				return usage(err) // from the file's ending
			}
			if format == string(export.XLSX) && output == "" && a.Out.Live {
				return usage(errors.New("a workbook is no text; name a file with --output"))
			}
			if confirmations {
				l.Purpose = "all"
			}
			open := c.Export
			if cells {
				open = c.ExportCells
			}
			body, err := open(ctx, args[0], format, l)
			if err != nil {
				return err
			}
			defer func() { _ = body.Close() }()
			return a.save(body, output)
		})}
	flags := cmd.Flags()
	choiceFlag(cmd, &format, "format", "what --output ends with, else csv, unless it is said: ", string(export.CSV), string(export.JSON), string(export.JSONL), string(export.XLSX))
	flags.StringVarP(&output, "output", "o", "", "file to write; standard output without it")
	statusFlag(cmd, &l.Status)
	flags.BoolVar(&confirmations, "confirmations", false, "confirmations too")
	flags.BoolVar(&cells, "cells", false, "a row for each cell of each experiment; serving tasks only")
	return cmd
}

// save copies to a file, or to standard output. A file that could not be
// written whole is removed.
func (a *app) save(body io.Reader, name string) (err error) {
	if name == "" {
		if _, err := io.Copy(a.Out, body); err != nil {
			return fmt.Errorf("the export broke off: %w", err)
		}
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".fleetune-export-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the error already tells that there is no file
		}
	}()
	if _, err := io.Copy(f, body); err != nil {
		_ = f.Close()
		return fmt.Errorf("the export broke off: %w", err)
	}
	if err := errors.Join(f.Chmod(0o644), f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}
