package replay

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fleetune/fleetune/proto/task"
)

// Command builds `fleetune replay`.
func Command() *cobra.Command {
	var s Settings
	var c Columns
	var direction, levels string
	var eta float64
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "replay TABLE…",
		Short: "Compare samplers on recorded tables, without a device",
		Long: `Replay runs samplers on recorded tables: every point a sampler proposes is
looked up instead of measured. A table is a folder with an index.json, a CSV
file, an export of experiments as JSON, a Kernel Tuner cache or a T4 file.`,
		Example: `  fleetune replay results.json --metric time_ms --sampler bayesian,random --seeds 30`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, paths []string) error {
			if s.Seeds < 1 || s.Budget < 1 || s.Batch < 1 {
				return fmt.Errorf("--seeds, --budget and --batch must be at least 1")
			}
			c.Direction = task.Direction(direction)
			if c.Direction != task.Minimize && c.Direction != task.Maximize {
				return fmt.Errorf("--direction is minimize or maximize, not %q", direction)
			}
			if levels != "" {
				var err error
				if c.Levels, err = ParseLevels(levels); err != nil {
					return fmt.Errorf("--levels: %w", err)
				}
				c.Levels.Eta = eta
			}
			var tables []*Table
			for _, path := range paths {
				loaded, err := Load(path, c)
				if err != nil {
					return err
				}
				tables = append(tables, loaded...)
			}
			results := []Result{}
			for _, t := range tables {
				r, err := Compare(cmd.Context(), t, s)
				if err != nil {
					return err
				}
				results = append(results, r...)
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), results)
			}
			return write(cmd.OutOrStdout(), results, s)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&s.Samplers, "sampler", []string{"bayesian", "random"}, "samplers to compare")
	f.IntVar(&s.Seeds, "seeds", 30, "runs of each sampler")
	f.IntVar(&s.Budget, "budget", 200, "evaluations of each run")
	f.IntVar(&s.Batch, "batch", 1, "points proposed at a time")
	f.BoolVar(&asJSON, "json", false, "print an array of results")
	f.StringVar(&c.Metric, "metric", "", "metric to optimise")
	f.StringVar(&direction, "direction", string(task.Minimize), "minimize or maximize")
	f.StringSliceVar(&c.Parameters, "parameters", nil, "columns of a CSV file that are parameters")
	f.StringVar(&levels, "levels", "", "column of a CSV file with the level of each measurement, and its values with their costs, rising, as in window_s=10,30,full:120; for asha and hyperband, whose evaluations then count by their cost")
	f.Float64Var(&eta, "eta", 3, "one of so many points goes on to the next level")
	f.StringToStringVar(&c.Where, "where", nil, "keep the rows of a CSV file with column=value")
	return cmd
}

func writeJSON(w io.Writer, results []Result) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(results); err != nil {
		return fmt.Errorf("writing the results: %w", err)
	}
	return nil
}

// write prints one line a result.
func write(w io.Writer, results []Result, s Settings) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	header := []string{"TABLE", "SIZE", "SAMPLER"}
	for _, goal := range goals() {
		header = append(header, fmt.Sprintf("TO %d%%", goal))
	}
	for _, at := range checkpoints() {
		if at <= s.Budget {
			header = append(header, fmt.Sprintf("BEST@%d", at))
		}
	}
	header = append(header, "ASK P50", "ASK P99")
	fmt.Fprintln(table, strings.Join(header, "\t"))
	for _, r := range results {
		line := []string{r.Table, fmt.Sprint(r.Size), r.Sampler}
		for _, goal := range goals() {
			line = append(line, r.EvaluationsTo[fmt.Sprint(goal)].text(r.Budget))
		}
		for _, at := range checkpoints() {
			if at <= s.Budget {
				line = append(line, fmt.Sprintf("%.3f", r.BestAt[fmt.Sprint(at)]))
			}
		}
		line = append(line, fmt.Sprintf("%.1f ms", r.Ask.P50), fmt.Sprintf("%.1f ms", r.Ask.P99))
		fmt.Fprintln(table, strings.Join(line, "\t"))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("writing the results: %w", err)
	}
	return nil
}

func (r Reach) text(budget int) string {
	if r.Median == nil {
		return fmt.Sprintf(">%d (%.0f%%)", budget, 100*r.Share)
	}
	return fmt.Sprintf("%g (%.0f%%)", *r.Median, 100*r.Share)
}
