package cli

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/client"
	"github.com/fleetune/fleetune/manager/search/insight"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/spf13/cobra"
)

// What is printed at most; --json has more.
const (
	insightRows   = 12
	insightLevels = 24
	// flat is the share of the widest effect below which a parameter's own is
	// noise of the prediction, and no value of it better than another.
	flat = 0.01
)

func (a *app) insightCommand() *cobra.Command {
	var objective string
	cmd := &cobra.Command{
		Use: "insight TASK", Short: "Say which parameters matter, and how the search went",
		Long: `Say which parameters matter, how each one acts, and how the search went.

Importance is the share of the predicted variance over the valid points that a
parameter alone explains. By value draws the objective as predicted for each
value of the parameter, averaged over the others, in the order of the values and
on one scale for all parameters.`,
		Args: one("a task's name or id"), ValidArgsFunction: a.completeTasks(false),
		RunE: a.calls(func(ctx context.Context, c *client.Client, args []string) error {
			d, err := c.Insight(ctx, args[0], objective)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(d)
			}
			return a.printInsight(d)
		}),
	}
	cmd.Flags().StringVar(&objective, "objective", "", "metric to explain the parameters by (default: the first objective)")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) printInsight(d v1.Insight) error {
	f := &fields{app: a}
	f.add("task", "%s", d.Task)
	f.add("objective", "%s", objectives(v1.Task{Objectives: d.Objectives}))
	f.add("results", "%d", d.Measured)
	f.addStyled(terminal.Yellow, "simulated", "%s", simulatedLine(d.Simulated))
	if d.Hypervolume != nil {
		f.add("hypervolume", "%s", terminal.Number(*d.Hypervolume))
	}
	if f.err != nil {
		return f.err
	}
	if d.Notice != "" {
		if err := a.printf("%s\n", a.Out.Paint(terminal.Yellow, terminal.Clean("note: "+d.Notice))); err != nil {
			return err
		}
	}
	for _, part := range []func(v1.Insight) error{a.printInfluences, a.printProgress, a.printFront} {
		if err := part(d); err != nil {
			return err
		}
	}
	return nil
}

// section prints a heading.
func (a *app) section(format string, args ...any) error {
	text := terminal.Clean(fmt.Sprintf(format, args...))
	if a.Out.Width > 0 {
		text = terminal.Cut(text, a.Out.Width)
	}
	return a.printf("\n%s\n", a.Out.Paint(terminal.Dim, text))
}

func (a *app) printInfluences(d v1.Insight) error {
	if len(d.Parameters) == 0 {
		return nil
	}
	what := d.Objective
	if d.Penalised {
		what = "the score (" + d.Objective + ", worse where promises are missed)"
	}
	if err := a.section("what %s depends on, as predicted from %d results", what, d.Explained); err != nil {
		return err
	}
	width := 16
	if a.Out.Width > 0 && a.Out.Width < 80 {
		width = 8
	}
	maximize := directionOf(d) == task.Maximize
	widest := 0.0
	for _, p := range d.Parameters {
		widest = max(widest, extent(p.Effect))
	}
	t := terminal.Table{Columns: []terminal.Column{{Title: "PARAMETER", Least: 8}, {Title: "IMPORTANCE", Right: true}, {Title: ""},
		{Title: "BY VALUE"}, {Title: "BEST AT", Least: 7}, {Title: "WORST AT", Least: 8}}}
	for _, p := range d.Parameters {
		low, high := extremes(p.Effect)
		if maximize {
			low, high = high, low
		}
		best, worst := level(p.Effect[low], d.Unit), level(p.Effect[high], d.Unit)
		if extent(p.Effect) <= flat*widest {
			best, worst = "any value", ""
		}
		t.Add(p.Name, fmt.Sprintf("%.0f %%", p.Importance*100), share(p.Importance, width), sparkline(p.Effect, widest), best, worst)
	}
	return t.Print(a.Out)
}

// directionOf is the direction of the objective that is explained.
func directionOf(d v1.Insight) task.Direction {
	for _, o := range d.Objectives {
		if o.Metric == d.Objective {
			return o.Direction
		}
	}
	return task.Minimize
}

// share draws a share of 1. A share that is not nothing shows.
func share(of float64, width int) string {
	full := int(math.Round(of * float64(width)))
	if full == 0 && of >= 0.005 {
		full = 1
	}
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}

// extremes finds the least and the greatest mean, the first among equals.
func extremes(effect []v1.Level) (low, high int) {
	for i, l := range effect {
		if l.Mean < effect[low].Mean {
			low = i
		}
		if l.Mean > effect[high].Mean {
			high = i
		}
	}
	return low, high
}

// extent is how far apart the means lie.
func extent(effect []v1.Level) float64 {
	low, high := extremes(effect)
	return effect[high].Mean - effect[low].Mean
}

// sparkline draws the means above the least, in the order of the values, on a
// scale that all parameters share.
func sparkline(effect []v1.Level, scale float64) string {
	marks := []rune("▁▂▃▄▅▆▇█")
	low, _ := extremes(effect)
	var b strings.Builder
	for i, l := range effect {
		if i == insightLevels {
			b.WriteString("…")
			break
		}
		at := 0
		if scale > 0 {
			at = int(math.Round((l.Mean - effect[low].Mean) / scale * float64(len(marks)-1)))
		}
		b.WriteRune(marks[at])
	}
	return b.String()
}

func level(l v1.Level, unit string) string {
	value := terminal.Value(l.Value)
	if number, ok := l.Value.(float64); ok {
		value = terminal.Number(number)
	}
	return value + ": " + quantity(l.Mean, unit)
}

// quantity writes a number with its unit.
func quantity(value float64, unit string) string {
	return strings.TrimSpace(terminal.Number(value) + " " + unit)
}

func (a *app) printProgress(d v1.Insight) error {
	if len(d.Progress) == 0 {
		return nil
	}
	shown := insight.Thin(d.Progress, insightRows)
	if err := a.section("the best so far%s", part(len(shown), len(d.Progress), "steps")); err != nil {
		return err
	}
	first := d.Objectives[0].Metric
	title := strings.ToUpper(first)
	if d.Penalised {
		title = "SCORE"
	}
	t := terminal.Table{Columns: []terminal.Column{{Title: "#", Right: true}, {Title: title, Right: true, Least: 7},
		{Title: "REGRET", Right: true}, {Title: "ENDED"}}}
	if d.Hypervolume != nil {
		t.Columns = append(t.Columns, terminal.Column{Title: "HYPERVOLUME", Right: true})
	}
	unit := ""
	if first == d.Objective {
		unit = d.Unit
	}
	for _, p := range shown {
		row := []string{strconv.Itoa(p.Number), quantity(p.Best, unit), terminal.Number(p.Regret), terminal.Ago(&p.At, a.Now())}
		if p.Hypervolume != nil {
			row = append(row, terminal.Number(*p.Hypervolume))
		}
		t.Add(row...)
	}
	return t.Print(a.Out)
}

func (a *app) printFront(d v1.Insight) error {
	if len(d.Front) == 0 {
		return nil
	}
	shown := insight.Thin(d.Front, insightRows)
	if err := a.section("the front: no experiment beats one of these in every objective%s", part(len(shown), d.FrontSize, "experiments")); err != nil {
		return err
	}
	t := terminal.Table{Columns: []terminal.Column{{Title: "#", Right: true}}}
	for _, o := range d.Objectives {
		t.Columns = append(t.Columns, terminal.Column{Title: strings.ToUpper(o.Metric), Right: true, Least: 7})
	}
	t.Columns = append(t.Columns, terminal.Column{Title: "PARAMETERS", Least: 10})
	for _, f := range shown {
		row := []string{strconv.Itoa(f.Number)}
		for i, s := range f.Scores {
			unit := ""
			if i < len(d.Objectives) && d.Objectives[i].Metric == d.Objective {
				unit = d.Unit
			}
			row = append(row, quantity(s, unit))
		}
		t.Add(append(row, terminal.Point(f.Parameters, nil))...)
	}
	return t.Print(a.Out)
}

// part says that not all is shown.
func part(shown, all int, what string) string {
	if shown >= all {
		return ""
	}
	return fmt.Sprintf(" (%d of %d %s)", shown, all, what)
}
