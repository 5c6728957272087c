package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/client"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/spf13/cobra"
)

func (a *app) tasksCommand() *cobra.Command {
	var status string
	var limit int
	cmd := &cobra.Command{Use: "tasks", Short: "List tasks, newest first", Args: none,
		RunE: a.calls(func(ctx context.Context, c *client.Client, _ []string) error {
			list, err := pages(limit, func(after string, n int) (v1.Page[v1.Task], error) {
				return c.Tasks(ctx, client.Listing{Status: status, After: after, Limit: n})
			})
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list)
			}
			return a.printTasks(list)
		})}
	choiceFlag(cmd, &status, "status", "only these: ", "waiting", "running", "paused", "completed", "failed", "cancelled")
	cmd.Flags().IntVar(&limit, "limit", 50, "how many at most; 0 means all")
	a.jsonFlag(cmd)
	return cmd
}

// pageSize is how many documents are asked for at once.
const pageSize = 500

// pages reads a listing page by page, up to limit documents; 0 means all.
func pages[T any](limit int, read func(after string, n int) (v1.Page[T], error)) ([]T, error) {
	list := []T{}
	for after := ""; ; {
		n := pageSize
		if limit > 0 {
			n = min(n, limit-len(list))
		}
		page, err := read(after, n)
		if err != nil {
			return nil, err
		}
		list = append(list, page.Items...)
		if after = page.Next; after == "" || limit > 0 && len(list) >= limit {
			return list, nil
		}
	}
}

func (a *app) printTasks(list []v1.Task) error {
	if len(list) == 0 {
		return a.printf("no tasks; hand one in with fleetune submit FILE\n")
	}
	t := terminal.Table{Columns: []terminal.Column{{Title: "NAME", Least: 8}, {Title: "STATUS", Styled: true}, {Title: "DONE", Right: true},
		{Title: "FAILED", Right: true}, {Title: "BEST", Right: true, Least: 8}, {Title: "SPEED-UP", Right: true}, {Title: "PRIORITY"}, {Title: "CREATED"}}}
	for _, d := range list {
		best, speedup := "", ""
		if d.Best != nil {
			best, speedup = labelled(score(d, d.Best.Score, d.Best.Metrics), d.Simulated), times(d.Best.Speedup)
		}
		t.Add(d.Name, d.Status, fmt.Sprintf("%d/%d", d.Experiments.Finished(), d.Experiments.Planned), count(d.Experiments.Failed),
			best, speedup, string(d.Priority), terminal.Ago(&d.CreatedAt, a.Now()))
	}
	return t.Print(a.Out)
}

func count(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// score writes what was measured of the first objective. Where missed promises
// make the score another number, that stands behind it.
func score(d v1.Task, value float64, metrics map[string]v1.Metric) string {
	m, ok := metrics[metric(d)]
	if !ok {
		return terminal.Number(value)
	}
	text := quantity(value, m.Unit)
	if v1.Penalised(value, m) {
		text = quantity(m.Median, m.Unit) + fmt.Sprintf(" (score %s)", terminal.Number(value))
	}
	return text
}

// metric is the name of the first objective's metric.
func metric(d v1.Task) string {
	if len(d.Objectives) == 0 {
		return "score"
	}
	return d.Objectives[0].Metric
}

// times writes a speed-up: "3.02×".
func times(s *v1.Speedup) string {
	if s == nil {
		return ""
	}
	return fmt.Sprintf("%.2f×", s.Ratio)
}

// comparison writes a best's speed-up with what is known of its certainty.
func comparison(d v1.Task, best v1.Best) string {
	s, of := best.Speedup, yardstick(d, best)
	switch {
	case s == nil:
		return ""
	case d.Baseline != nil && d.Baseline.Number == best.Number:
		return times(s) + ": the best is the baseline itself"
	case (s.Low == nil || s.High == nil) && d.Final():
		return times(s) + " " + of + ", not confirmed"
	case s.Low == nil || s.High == nil:
		return times(s) + " " + of + ", not confirmed yet"
	case !s.Significant:
		return fmt.Sprintf("%s %s: no significant difference (%s %.2f–%.2f)", times(s), of, confidence(s), *s.Low, *s.High)
	default:
		return fmt.Sprintf("%s %s (%s %.2f–%.2f)", times(s), of, confidence(s), *s.Low, *s.High)
	}
}

// yardstick is what a best is compared by: its speed, or the score where missed
// promises make that another number.
func yardstick(d v1.Task, best v1.Best) string {
	penalised := v1.Penalised(best.Score, best.Metrics[metric(d)])
	if b := d.Baseline; b != nil && b.Score != nil {
		penalised = penalised || v1.Penalised(*b.Score, b.Metrics[metric(d)])
	}
	if penalised {
		return "the baseline's score, missed promises counted in"
	}
	return "the baseline's speed"
}

func confidence(s *v1.Speedup) string {
	if s.Confidence == nil {
		return "interval"
	}
	return fmt.Sprintf("%.4g %% confidence", *s.Confidence*100)
}

func (a *app) showCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show TASK", Short: "Show how a task stands", Args: one("a task's name or id"),
		ValidArgsFunction: a.completeTasks(false),
		RunE: a.calls(func(ctx context.Context, c *client.Client, args []string) error {
			d, err := c.Task(ctx, args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(d)
			}
			return a.printTask(d)
		})}
	a.jsonFlag(cmd)
	return cmd
}

// fields prints name and value, line by line, aligned and wrapped to the screen.
type fields struct {
	app *app
	err error
}

func (f *fields) add(name, format string, args ...any) {
	f.addStyled(terminal.Plain, name, format, args...)
}

func (f *fields) addStyled(style terminal.Style, name, format string, args ...any) {
	value := terminal.Clean(fmt.Sprintf(format, args...))
	if value == "" || f.err != nil {
		return
	}
	const label = 13
	lines := []string{value}
	if width := f.app.Out.Width; width > 0 {
		lines = terminal.Wrap(value, max(width-label, 10))
	}
	for i, line := range lines {
		if i > 0 {
			name = ""
		}
		if _, f.err = fmt.Fprintf(f.app.Out, "%-*s%s\n", label, name, f.app.Out.Paint(style, line)); f.err != nil {
			return
		}
	}
}

func (a *app) printTask(d v1.Task) error {
	f := &fields{app: a}
	status := d.Status
	if d.Cause != "" {
		status += ": " + d.Cause
	}
	f.add("task", "%s", d.Name)
	f.addStyled(terminal.StatusStyle(d.Status), "status", "%s", status)
	f.add("description", "%s", d.Description)
	f.addStyled(terminal.Yellow, "simulated", "%s", simulatedLine(d.Simulated))
	f.add("objective", "%s", objectives(d))
	f.add("strategy", "%s", strategy(d))
	if s := d.Search; s != nil {
		f.add("space", "%s", size(s.Points, s.Valid, s.Exact))
	}
	f.add("priority", "%s", string(d.Priority))
	f.add("depends on", "%s", strings.Join(d.DependsOn, ", "))
	f.add("experiments", "%s", counts(d.Experiments))
	for _, h := range d.Running {
		f.add("running", "%s", doing(h))
	}
	f.add("records", "%s", served(d.Records))
	f.add("search over", "%s", stopped(d))
	f.add("created", "%s", terminal.Ago(&d.CreatedAt, a.Now()))
	f.add("started", "%s", terminal.Ago(d.StartedAt, a.Now()))
	if d.FinishedAt != nil {
		f.add("finished", "%s%s", terminal.Ago(d.FinishedAt, a.Now()), took(d))
	} else if d.DeadlineAt != nil {
		f.add("deadline", "in %s", terminal.Duration(max(d.DeadlineAt.Sub(a.Now()), 0)))
	}
	if b := d.Baseline; b != nil {
		value := "not measured yet"
		if b.Score != nil {
			value = metric(d) + " " + score(d, *b.Score, b.Metrics)
		}
		f.add("baseline", "#%d  %s  %s", b.Number, value, terminal.Point(b.Parameters, d.Parameters))
	}
	if b := d.Best; b != nil {
		f.addStyled(terminal.Green, "best", "#%d  %s %s  %s", b.Number, metric(d), score(d, b.Score, b.Metrics), terminal.Point(b.Parameters, d.Parameters))
		f.add("speed-up", "%s", comparison(d, *b))
	}
	return f.err
}

// doing says what a worker does for an experiment: "#3 on node-a: load".
func doing(h v1.Held) string {
	text := fmt.Sprintf("#%d on %s: %s", h.Number, h.Worker, h.Phase)
	if h.Detail != "" {
		text += ", " + h.Detail
	}
	return text
}

// strategy names the sampler, and how it works for the task.
func strategy(d v1.Task) string {
	if d.Search == nil || d.Search.How == "" {
		return d.Strategy
	}
	return d.Strategy + ": " + d.Search.How
}

// stopped tells which limit ended a search, where the cause does not.
func stopped(d v1.Task) string {
	if d.Stopped == nil || d.Cause != "" && strings.Contains(d.Cause, d.Stopped.Message) {
		return ""
	}
	return d.Stopped.Message
}

func took(d v1.Task) string {
	if d.StartedAt == nil || d.FinishedAt == nil {
		return ""
	}
	return ", took " + terminal.Duration(d.FinishedAt.Sub(*d.StartedAt).Round(time.Millisecond))
}

func objectives(d v1.Task) string {
	var list []string
	for _, o := range d.Objectives {
		list = append(list, string(o.Direction)+" "+o.Metric)
	}
	return strings.Join(list, ", then ")
}

// counts writes the counts that are not zero.
func counts(c v1.Counts) string {
	text := fmt.Sprintf("%d of %d finished", c.Finished(), c.Planned)
	for _, part := range []struct {
		n    int
		name string
	}{{c.Running - c.Staging, "running"}, {c.Staging, "staging"}, {c.Queued, "queued"}, {c.Success, "success"}, {c.Failed, "failed"}, {c.Cancelled, "cancelled"}} {
		if part.n > 0 {
			text += fmt.Sprintf(" · %d %s", part.n, part.name)
		}
	}
	if c.Confirmations > 0 {
		text += fmt.Sprintf(" · %d of %d confirmations", c.Confirmed, c.Confirmations)
	}
	return text
}

func (a *app) bestCommand() *cobra.Command {
	var choice recipeChoice
	cmd := &cobra.Command{Use: "best TASK", Short: "Show a task's best configuration", Args: one("a task's name or id"),
		ValidArgsFunction: a.completeTasks(false),
		RunE: a.calls(func(ctx context.Context, c *client.Client, args []string) error {
			if choice.format != "" {
				r, err := choice.fetch(ctx, c, args[0])
				if err != nil {
					return err
				}
				return a.printRecipe(r)
			}
			best, err := c.Best(ctx, args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(best)
			}
			d, err := c.Task(ctx, args[0])
			if err != nil {
				return err
			}
			return a.printBest(ctx, c, d, best)
		})}
	choice.flags(cmd)
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) printBest(ctx context.Context, c *client.Client, d v1.Task, best v1.Best) error {
	var detail v1.Detailed
	var serving *v1.Serving
	if d.Kind == task.KindServing {
		var err error
		if detail, err = c.Experiment(ctx, d.ID.String(), best.Number); err != nil {
			return err
		}
		serving = servingOf(detail)
	}
	f := &fields{app: a}
	f.add("experiment", "#%d of %s (%s)", best.Number, d.Name, d.Status)
	f.addStyled(terminal.Green, "score", "%s %s", metric(d), labelled(score(d, best.Score, best.Metrics), best.Simulated))
	f.add("speed-up", "%s", comparison(d, best))
	f.add("SLO", "%s", promised(serving))
	if serving != nil {
		f.add("devices", "%d (%s on %s)", serving.WorldSize, strings.Join(detail.Devices, " "), detail.Worker)
	}
	for _, name := range terminal.Names(best.Parameters, d.Parameters) {
		f.add("parameter", "%s = %s", name, terminal.Value(best.Parameters[name]))
	}
	switch {
	case d.Kind == task.KindServing:
		f.add("to use it", "fleetune apply %s --as command", d.Name)
	case d.Status == "completed" && d.Applicable:
		f.add("to use it", "fleetune apply %s", d.Name)
	}
	if d.Kind != task.KindServing || f.err != nil {
		return f.err
	}
	return a.printBestServing(d, best, detail)
}
