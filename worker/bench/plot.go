package bench

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fleetune/fleetune/worker/load/report"
)

func plotCommand() *cobra.Command {
	path := ""
	c := &cobra.Command{
		Use:               "plot REPORT.json…",
		Short:             "Draw reports side by side, as one self-contained page",
		Example:           "  fleetune bench plot before.json after.json -o plot.html",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: files("json"),
		SilenceUsage:      true,
		SilenceErrors:     true,
		RunE: func(cmd *cobra.Command, args []string) error {
			var runs []report.Run
			for _, name := range args {
				d, err := readReport(name)
				if err != nil {
					return err
				}
				runs = append(runs, report.Run{Name: strings.TrimSuffix(filepath.Base(name), ".json"), Document: d})
			}
			return page(cmd, path, func(w io.Writer) error { return report.WritePlot(w, runs) })
		},
	}
	c.Flags().StringVarP(&path, "output", "o", "plot.html", "page to write, - for standard output")
	return c
}

func lanesCommand() *cobra.Command {
	path := ""
	c := &cobra.Command{
		Use:               "swim-lane REQUESTS.jsonl",
		Short:             "Draw every request of a run on its session's lane, as a page",
		Example:           "  fleetune bench -f agents/ -c 8 --requests requests.jsonl\n  fleetune bench swim-lane requests.jsonl -o lanes.html",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: files("jsonl"),
		SilenceUsage:      true,
		SilenceErrors:     true,
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return fmt.Errorf("opening a file of requests: %w", err)
			}
			defer func() { _ = f.Close() }() // nothing was written
			lines, err := report.ReadLines(f)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return page(cmd, path, func(w io.Writer) error { return report.WriteLanes(w, lines) })
		},
	}
	c.Flags().StringVarP(&path, "output", "o", "lanes.html", "page to write, - for standard output")
	return c
}

// page writes a page and tells where it is.
func page(cmd *cobra.Command, path string, write func(io.Writer) error) error {
	if path == "-" {
		return write(cmd.OutOrStdout())
	}
	if err := report.WriteFile(path, write); err != nil {
		return err
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "wrote", path)
	return nil
}
