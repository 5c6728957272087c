package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/client"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/spf13/cobra"
)

func (a *app) experimentsCommand() *cobra.Command {
	var l client.Listing
	var confirmations bool
	cmd := &cobra.Command{Use: "experiments TASK [NUMBER]", Short: "List a task's experiments, or show one with its attempts",
		Args: upTo(2, "a task and maybe an experiment's number"), ValidArgsFunction: a.completeTasks(false),
		RunE: a.calls(func(ctx context.Context, c *client.Client, args []string) error {
			if len(args) == 2 {
				return a.oneExperiment(ctx, c, args[0], args[1])
			}
			if confirmations {
				l.Purpose = "all"
			}
			return a.listExperiments(ctx, c, args[0], l)
		})}
	flags := cmd.Flags()
	statusFlag(cmd, &l.Status)
	choiceFlag(cmd, &l.Outcome, "outcome", "only those that ended as ", outcomes()...)
	flags.BoolVar(&confirmations, "confirmations", false, "list confirmations too")
	flags.IntVar(&l.Limit, "limit", 0, "how many at most; 0 means all")
	a.jsonFlag(cmd)
	return cmd
}

// outcomes are the words for how an experiment may end.
func outcomes() []string {
	var words []string
	for _, o := range experiment.Outcomes() {
		words = append(words, string(o))
	}
	return words
}

// statusFlag gives a command --status of experiments.
func statusFlag(cmd *cobra.Command, status *string) {
	choiceFlag(cmd, status, "status", "only these: ", "queued", "running", "success", "failed", "cancelled")
}

func (a *app) listExperiments(ctx context.Context, c *client.Client, ref string, l client.Listing) error {
	list, err := pages(l.Limit, func(after string, n int) (v1.Page[v1.Experiment], error) {
		l.After, l.Limit = after, n
		return c.Experiments(ctx, ref, l)
	})
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(list)
	}
	d, err := c.Task(ctx, ref)
	if err != nil {
		return err
	}
	if err := a.printSimulated(d.Simulated); err != nil {
		return err
	}
	return a.printExperiments(d, list)
}

func (a *app) printExperiments(d v1.Task, list []v1.Experiment) error {
	if len(list) == 0 {
		return a.printf("no experiments; fleetune why %s tells what the task waits for\n", terminal.Clean(d.Name))
	}
	t := terminal.Table{Columns: []terminal.Column{{Title: "#", Right: true}, {Title: "STATUS", Styled: true}, {Title: "OUTCOME", Least: 7},
		{Title: strings.ToUpper(metric(d)), Right: true, Least: 7}}}
	promises := slices.ContainsFunc(list, func(e v1.Experiment) bool { return missedPromises(e.Metrics) != "" })
	if promises {
		t.Columns = append(t.Columns, terminal.Column{Title: "SLO", Least: 8})
	}
	t.Columns = append(t.Columns, terminal.Column{Title: "PARAMETERS", Least: 10}, terminal.Column{Title: "WORKER", Least: 6},
		terminal.Column{Title: "TOOK", Right: true}, terminal.Column{Title: "DETAIL", Least: 6})
	scored := &t.Columns[3] // what was measured is never cut, only the title
	for _, e := range list {
		value, took, detail := "", "", e.Detail
		if e.Score != nil {
			value = score(d, *e.Score, e.Metrics)
			measured, _, more := strings.Cut(value, " (")
			if more {
				measured += "…"
			}
			scored.Least = max(scored.Least, terminal.Width(measured))
		}
		parameters := terminal.Point(e.Parameters, d.Parameters)
		if e.Fidelity != nil {
			parameters += fmt.Sprintf(" (%s=%s)", d.Fidelity, terminal.Number(*e.Fidelity))
		}
		if e.StartedAt != nil && e.FinishedAt != nil {
			took = terminal.Duration(e.FinishedAt.Sub(*e.StartedAt))
		} else if e.StartedAt != nil {
			took = terminal.Duration(max(a.Now().Sub(*e.StartedAt), 0))
		}
		if e.Error != nil {
			detail = e.Error.Phase + ": " + e.Error.Message
		}
		row := []string{mark(d, e), string(e.Status), outcome(e), value}
		if promises {
			row = append(row, missedPromises(e.Metrics))
		}
		t.Add(append(row, parameters, measuredBy(e), took, detail)...)
	}
	return t.Print(a.Out)
}

// outcome is how an experiment ended, or what is done for it now; nothing where
// its status says the same.
func outcome(e v1.Experiment) string {
	said := cmp.Or(e.Outcome, e.Phase)
	if said == string(e.Status) {
		return ""
	}
	return said
}

// missedPromises says how an experiment stands with the SLO: "kept", or which
// terms it misses and how far, in its worst cell; empty without one.
func missedPromises(metrics map[string]v1.Metric) string {
	var missed []string
	promised := false
	for _, name := range sortedNames(metrics) {
		term, ok := strings.CutPrefix(name, experiment.MarginMetric)
		if !ok {
			continue
		}
		promised = true
		if margin := metrics[name].Median; margin > 0 {
			missed = append(missed, fmt.Sprintf("%s %+.0f %%", term, 100*margin))
		}
	}
	switch {
	case !promised:
		return ""
	case len(missed) == 0:
		return "kept"
	}
	return "misses " + strings.Join(missed, ", ")
}

// measuredBy is the worker of an experiment, or the record that answered it.
func measuredBy(e v1.Experiment) string {
	if e.Record != nil {
		return fmt.Sprintf("(record %d)", *e.Record)
	}
	return e.Worker
}

// mark is an experiment's number with what is special about it: * the best,
// b the baseline, c a confirmation.
func mark(d v1.Task, e v1.Experiment) string {
	sign := ""
	switch {
	case d.Best != nil && d.Best.Number == e.Number:
		sign = "*"
	case e.Purpose == "confirm":
		sign = "c"
	case d.Baseline != nil && d.Baseline.Number == e.Number:
		sign = "b"
	}
	return sign + strconv.Itoa(e.Number)
}

// number reads an experiment's number.
func number(text string) (int, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(text, "#"))
	if err != nil || n < 1 {
		return 0, usage(fmt.Errorf("%q is no number of an experiment: they count from 1", text))
	}
	return n, nil
}

func (a *app) oneExperiment(ctx context.Context, c *client.Client, ref, text string) error {
	n, err := number(text)
	if err != nil {
		return err
	}
	e, err := c.Experiment(ctx, ref, n)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(e)
	}
	return a.printExperiment(ref, e)
}

func (a *app) printExperiment(ref string, e v1.Detailed) error {
	f := &fields{app: a}
	f.add("experiment", "#%d of %s (%s)", e.Number, ref, e.Purpose)
	f.addStyled(terminal.StatusStyle(string(e.Status)), "status", "%s", strings.TrimSpace(string(e.Status)+" "+outcome(e.Experiment)))
	f.add("now", "%s", e.Detail)
	f.add("parameters", "%s", terminal.Point(e.Parameters, nil))
	if e.Fidelity != nil {
		f.add("fidelity", "%s, less than a full measurement", terminal.Number(*e.Fidelity))
	}
	f.addStyled(terminal.Yellow, "simulated", "%s", simulatedLine(e.Simulated))
	serving := servingOf(e)
	names := sortedNames(e.Metrics)
	if serving != nil {
		names = servingMetrics(nil, e.Metrics)
	}
	for _, name := range names {
		m := e.Metrics[name]
		if serving != nil && m.Count == 1 {
			f.add("metric", "%s %s", name, terminal.Quantity(m.Median, m.Unit))
			continue
		}
		if serving != nil {
			f.add("metric", "%s %s (spread %s, %d samples)", name, terminal.Quantity(m.Median, m.Unit), terminal.Quantity(m.Spread, m.Unit), m.Count)
			continue
		}
		f.add("metric", "%s %s %s (spread %s, %d samples)", name, terminal.Number(m.Median), m.Unit, terminal.Number(m.Spread), m.Count)
	}
	if e.Record != nil {
		f.add("measured", "before: the result is that of record %d (fleetune records show %d)", *e.Record, *e.Record)
	}
	if e.Outcome == string(experiment.OutcomeStoppedEarly) && e.Error != nil {
		f.add("ended", "%s", e.Error.Message) // by the race, which is no error
	} else {
		a.addError(f, e.Error)
	}
	if serving != nil {
		a.addEngine(f, serving)
	}
	for _, at := range e.History {
		accepted := ""
		if at.Accepted {
			accepted = ", accepted"
		}
		took := ""
		if at.StartedAt != nil {
			took = " after " + terminal.Duration(at.FinishedAt.Sub(*at.StartedAt))
		}
		devices := ""
		if len(at.Devices) > 0 {
			devices = " (" + strings.Join(at.Devices, " ") + ")"
		}
		f.add("attempt", "%d on %s%s: %s%s%s", at.Attempt, at.Worker, devices, at.Outcome, took, accepted)
	}
	if serving == nil || f.err != nil {
		return f.err
	}
	return a.printServing(serving)
}

func (a *app) addError(f *fields, e *v1.Error) {
	if e == nil {
		return
	}
	f.addStyled(terminal.Red, "error", "%s: %s", e.Phase, e.Message)
	f.add("cause", "%s", e.Cause)
	f.add("hint", "%s", e.Hint)
	if e.ExitCode != nil {
		f.add("exit code", "%s", strings.TrimSpace(fmt.Sprint(*e.ExitCode, " ", e.Signal)))
	}
	f.add("time-out", "%s", e.Timeout)
	for line := range strings.Lines(e.LogTail) {
		f.addStyled(terminal.Dim, "output", "%s", strings.TrimRight(line, "\n"))
	}
}
