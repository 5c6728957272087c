package replay

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/terminal"
)

// options are what a person types.
type options struct {
	Settings
	Columns
	directions []string
	levels     string
	eta        float64
	json       bool
}

// Command builds `fleetune replay`.
func Command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "replay TABLE…",
		Short: "Compare samplers on recorded tables, without a device",
		Long: `Compare samplers on recorded tables: every point that a sampler proposes is
looked up instead of measured.

A table is an export of a task's experiments (CSV, JSON or JSON lines), a Kernel
Tuner cache, a T4 result file, any other CSV file, an index.json that describes
CSV files, or a folder of these; each file may be compressed (.gz). Where a CSV
file does not say which columns are parameters, those before "status" or
"outcome" are, or else the first ones that tell its rows apart; the answer says
which. Points that are there more than once count by their median.

Several metrics make a front: then shares are of its hypervolume. A metric, and
--failed, may be an expression over columns.`,
		Example: `  fleetune export my-task -o results.json && fleetune replay results.json
  fleetune replay loads.csv.gz --by model --failed 'n_failed > 0' \
      --direction maximize \
      --metric 'per_user=tok_s / users' --metric 'per_gpu=tok_s / n_gpus'
  fleetune replay cache.json --sampler bayesian,tpe,random --batch 8 --json`,
		RunE: func(cmd *cobra.Command, paths []string) error {
			if err := o.check(paths); err != nil {
				return err
			}
			return o.run(cmd, paths)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.Samplers, "sampler", []string{"bayesian", "random"}, "samplers to compare")
	f.IntVar(&o.Seeds, "seeds", 30, "runs of each sampler")
	f.Int64Var(&o.FirstSeed, "first-seed", 0, "seed of the first run, which the others follow; other seeds tell whether a choice was luck")
	f.IntVar(&o.Budget, "budget", 200, "evaluations of each run")
	f.IntVar(&o.Batch, "batch", 1, "points proposed at a time")
	f.IntVar(&o.Jobs, "jobs", runtime.GOMAXPROCS(0), "runs at a time; 1 to measure what asking takes")
	f.BoolVar(&o.json, "json", false, "print an array of results")
	f.StringArrayVar(&o.Metrics, "metric", nil, "metric to optimise, or NAME=EXPRESSION; several for a front (default: what the file says)")
	f.StringSliceVar(&o.directions, "direction", nil, "minimize or maximize, one for all metrics or one each (default: what the file says, else minimize)")
	f.StringSliceVar(&o.Parameters, "parameters", nil, "columns that are parameters")
	f.StringToStringVar(&o.Where, "where", nil, "keep the rows with COLUMN=VALUE")
	f.StringSliceVar(&o.By, "by", nil, "make a table of the rows with each value of these columns")
	f.StringVar(&o.Failed, "failed", "", "expression that is true of rows that failed")
	f.StringVar(&o.levels, "levels", "", "column with the level of each measurement, and its values with their costs, rising, as in window_s=10,30,full:120; for asha and hyperband, whose evaluations then count by their cost")
	f.Float64Var(&o.eta, "eta", 3, "one of so many points goes on to the next level")
	return cmd
}

func (o *options) check(paths []string) error {
	if len(paths) == 0 {
		return mistakef("it takes one table or several: fleetune replay TABLE…")
	}
	for name, v := range map[string]int{"--seeds": o.Seeds, "--budget": o.Budget, "--batch": o.Batch, "--jobs": o.Jobs} {
		if v < 1 {
			return mistakef("%s must be at least 1, not %d", name, v)
		}
	}
	if o.FirstSeed < 0 {
		return mistakef("--first-seed must be at least 0, not %d", o.FirstSeed)
	}
	var known []string
	for _, s := range search.Strategies() {
		known = append(known, s.Name)
	}
	for _, name := range o.Samplers {
		if slices.Contains(known, name) {
			continue
		}
		if near := space.Nearest(name, known); near != "" {
			return mistakef("no sampler is named %q; did you mean %q?", name, near)
		}
		return mistakef("no sampler is named %q; there are %s", name, strings.Join(known, ", "))
	}
	for _, d := range o.directions {
		direction := task.Direction(d)
		if direction != task.Minimize && direction != task.Maximize {
			return mistakef("--direction is minimize or maximize, not %q", d)
		}
		o.Directions = append(o.Directions, direction)
	}
	if o.levels == "" {
		return nil
	}
	var err error
	if o.Levels, err = ParseLevels(o.levels); err != nil {
		return mistakef("--levels: %w", err)
	}
	o.Levels.Eta = o.eta
	return nil
}

func (o *options) run(cmd *cobra.Command, paths []string) error {
	out, notes := screen(cmd.OutOrStdout()), screen(cmd.ErrOrStderr())
	var tables []*Table
	for _, path := range paths {
		loaded, skipped, err := Load(path, o.Columns)
		if err != nil {
			return err
		}
		for _, why := range skipped {
			fmt.Fprintln(notes, terminal.Clean("left out: "+why))
		}
		tables = append(tables, loaded...)
	}
	if notes.Live {
		o.Progress = func(table, sampler string, done, of int) {
			fmt.Fprintf(notes, "\r\x1b[K%s", terminal.Cut(terminal.Clean(fmt.Sprintf("%s: %s, %d of %d runs", table, sampler, done, of)), max(notes.Width-1, 20)))
		}
	}
	results := []Result{}
	for _, t := range tables {
		r, err := Compare(cmd.Context(), t, o.Settings)
		if notes.Live {
			fmt.Fprint(notes, "\r\x1b[K")
		}
		if err != nil {
			return err
		}
		results = append(results, r...)
	}
	if o.json {
		return writeJSON(out, results)
	}
	if err := write(out, results, o.Budget); err != nil {
		return err
	}
	return explain(out, tables)
}

// screen is the terminal behind a writer, if there is one.
func screen(w io.Writer) terminal.Screen {
	if f, ok := w.(*os.File); ok {
		return terminal.Open(f, os.Getenv)
	}
	return terminal.Screen{Writer: w}
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
func write(out terminal.Screen, results []Result, budget int) error {
	t := terminal.Table{Columns: []terminal.Column{{Title: "TABLE", Least: 12}, {Title: "SIZE", Right: true}, {Title: "SAMPLER"}}}
	for _, goal := range goals() {
		t.Columns = append(t.Columns, terminal.Column{Title: fmt.Sprintf("TO %d%%", goal), Right: true})
	}
	for _, at := range checkpoints() {
		if at <= budget {
			t.Columns = append(t.Columns, terminal.Column{Title: fmt.Sprintf("AT %d", at), Right: true})
		}
	}
	for _, title := range []string{"ASK P50", "P99", "MEMORY"} {
		t.Columns = append(t.Columns, terminal.Column{Title: title, Right: true})
	}
	for _, r := range results {
		line := []string{r.Table, fmt.Sprint(r.Size), r.Sampler}
		for _, goal := range goals() {
			line = append(line, r.EvaluationsTo[fmt.Sprint(goal)].text(r.Budget))
		}
		for _, at := range checkpoints() {
			if at <= budget {
				line = append(line, fmt.Sprintf("%.3f", r.BestAt[fmt.Sprint(at)]))
			}
		}
		t.Add(append(line, fmt.Sprintf("%.1f ms", r.Ask.P50), fmt.Sprintf("%.1f ms", r.Ask.P99), fmt.Sprintf("%.0f MB", r.MemoryMB))...)
	}
	if err := t.Print(out); err != nil {
		return fmt.Errorf("writing the results: %w", err)
	}
	return nil
}

func (r Reach) text(budget int) string {
	if r.Median == nil {
		return fmt.Sprintf(">%d (%.0f%%)", budget, 100*r.Share)
	}
	return fmt.Sprintf("%.4g (%.0f%%)", *r.Median, 100*r.Share)
}

// explain says what the figures are of, and what was guessed.
func explain(w terminal.Screen, tables []*Table) error {
	told := map[string]bool{}
	for _, t := range tables {
		var aims, names []string
		for _, o := range t.Objectives {
			aims = append(aims, string(o.Direction)+" "+o.Metric)
		}
		text := "shares are of the optimum: " + aims[0]
		if len(aims) > 1 {
			text = "shares are of the hypervolume of the front: " + strings.Join(aims, ", ")
		}
		if t.Guessed {
			for _, p := range t.Space.Parameters {
				names = append(names, p.Name)
			}
			text += "; parameters, by their place in the file: " + strings.Join(names, ", ")
		}
		if told[text] {
			continue
		}
		told[text] = true
		lines := []string{terminal.Clean(text)}
		if w.Width > 0 {
			lines = terminal.Wrap(lines[0], w.Width)
		}
		for _, line := range lines {
			if _, err := fmt.Fprintln(w, line); err != nil {
				return fmt.Errorf("writing the results: %w", err)
			}
		}
	}
	return nil
}
