package cli

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/shared/terminal"
)

// headline lists the metrics of a serving experiment that are printed for
// people; --json has all.
func headline() []string {
	return []string{"mean_e2e_latency", "p90_e2e_latency", "p99_e2e_latency", "mean_ttft", "p90_ttft", "mean_tpot", "p99_itl",
		"mean_output_throughput", "mean_total_throughput", "mean_total_throughput_per_gpu", "request_throughput", "goodput",
		"error_rate", "cost_per_million_tokens", "energy_per_token", "mean_power", "gpu_utilization", "gpu_memory_used", "load_time"}
}

// servingMetrics are those of the headline that there are, the objectives in
// front.
func servingMetrics(objectives []string, metrics map[string]v1.Metric) []string {
	var names []string
	for _, name := range slices.Concat(objectives, headline()) {
		if _, ok := metrics[name]; ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// simulation labels figures that come from no real GPU.
func simulation(gpu string) string {
	if gpu == "" {
		return ""
	}
	return "simulated " + gpu
}

// labelled adds to a figure that it is simulated.
func labelled(figure, gpu string) string {
	if gpu == "" || figure == "" {
		return figure
	}
	return figure + " (" + simulation(gpu) + ")"
}

// simulatedLine says what figures are worth that come from no real GPU.
func simulatedLine(gpu string) string {
	if gpu == "" {
		return ""
	}
	return gpu + ": the figures are a model's, no GPU was measured"
}

// printSimulated labels a listing.
func (a *app) printSimulated(gpu string) error {
	if gpu == "" {
		return nil
	}
	return a.printf("%s\n", a.Out.Paint(terminal.Yellow, terminal.Clean("simulated "+simulatedLine(gpu))))
}

// servingOf is what the accepted attempt of an experiment measured, or else
// the last one that measured anything.
func servingOf(e v1.Detailed) *v1.Serving {
	var found *v1.Serving
	for _, at := range e.History {
		if at.Serving == nil {
			continue
		}
		found = at.Serving
		if at.Accepted {
			break
		}
	}
	return found
}

// addEngine says what ran.
func (a *app) addEngine(f *fields, s *v1.Serving) {
	if s.Version != "" {
		f.add("engine", "%s", s.Version)
	}
	if s.Image != "" {
		f.add("image", "%s %s", s.Image, s.ImageDigest)
	}
	f.add("world size", "%d", s.WorldSize)
	f.add("loaded in", "%s", terminal.Seconds(s.LoadSeconds))
	f.add("command", "%s", strings.Join(s.Command, " "))
	for _, l := range s.Launches {
		if l.Side == baselineSide {
			f.add("baseline's", "%s", strings.Join(l.Command, " "))
			break
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Effective)) {
		f.add("effective", "%s = %s", name, s.Effective[name])
	}
	for _, note := range s.Notes {
		f.add("note", "%s", note)
	}
}

// printServing prints the cells with what the SLO and the devices say of them.
func (a *app) printServing(s *v1.Serving) error {
	label := ""
	if s.Simulated != "" {
		label = ", " + simulation(s.Simulated) + ": no GPU was measured"
	}
	for _, part := range []struct {
		heading string
		cells   []v1.Cell
	}{{"cells" + label, s.Cells}, {"the baseline's cells, measured in alternation" + label, s.Reference}} {
		if len(part.cells) == 0 {
			continue
		}
		if err := a.section("%s", part.heading); err != nil {
			return err
		}
		if err := a.printCells(part.cells); err != nil {
			return err
		}
	}
	if err := a.printPromises(s.Cells); err != nil {
		return err
	}
	if err := a.printTelemetry(s.Cells); err != nil {
		return err
	}
	return a.printLaunches(s.Launches)
}

// baselineSide is a launch of the baseline, in a confirmation.
const baselineSide = "baseline"

// printLaunches lists the starts of an engine where there were several, with
// the name that their output has in fleetune logs.
func (a *app) printLaunches(launches []v1.Launch) error {
	if len(launches) < 2 {
		return nil
	}
	if err := a.section("launches, in their order"); err != nil {
		return err
	}
	t := &terminal.Table{Columns: []terminal.Column{{Title: "#", Right: true}, {Title: "SIDE"}, {Title: "LOADED IN", Right: true}, {Title: "OUTPUT", Least: 8}}}
	for i, l := range launches {
		loaded := "never served"
		if l.LoadSeconds > 0 {
			loaded = terminal.Seconds(l.LoadSeconds)
		}
		t.Add(fmt.Sprint(i+1), l.Side, loaded, l.Log)
	}
	return t.Print(a.Out)
}

// A cellColumn is one metric of a table of cells.
type cellColumn struct {
	title, metric string
}

func (a *app) printCells(cells []v1.Cell) error {
	columns := []cellColumn{{"TTFT", "mean_ttft"}, {"TPOT", "mean_tpot"}, {"LATENCY P50", "p50_e2e_latency"}, {"P90", "p90_e2e_latency"},
		{"P99", "p99_e2e_latency"}, {"OUTPUT", "mean_output_throughput"}, {"TOTAL", "mean_total_throughput"}, {"GOODPUT", "goodput"}}
	t := cellTable(columns, cells)
	t.Columns = append(t.Columns, terminal.Column{Title: "ERRORS", Right: true}, terminal.Column{Title: "STATE", Least: 10})
	for _, c := range cells {
		row := cellRow(t, columns, c)
		row = append(row, fmt.Sprintf("%d/%d", c.Errors, c.Requests+c.Errors), cellState(c))
		t.Add(row...)
	}
	return t.Print(a.Out)
}

// cellTable begins a table of cells with those columns that any cell fills.
func cellTable(columns []cellColumn, cells []v1.Cell) *terminal.Table {
	t := &terminal.Table{Columns: []terminal.Column{{Title: "SCENARIO", Least: 8}, {Title: "CONCURRENCY", Right: true}}}
	for _, column := range columns {
		if slices.ContainsFunc(cells, func(c v1.Cell) bool { _, ok := c.Metrics[column.metric]; return ok }) {
			t.Columns = append(t.Columns, terminal.Column{Title: column.title, Right: true})
		}
	}
	return t
}

func cellRow(t *terminal.Table, columns []cellColumn, c v1.Cell) []string {
	row := []string{c.Scenario, fmt.Sprint(c.Concurrency)}
	for _, column := range columns {
		if !slices.ContainsFunc(t.Columns, func(shown terminal.Column) bool { return shown.Title == column.title }) {
			continue
		}
		text := ""
		if m, ok := c.Metrics[column.metric]; ok {
			text = terminal.Quantity(m.Median, m.Unit)
		}
		row = append(row, text)
	}
	return row
}

// cellState says why a cell is missing, or which promises it misses.
func cellState(c v1.Cell) string {
	if c.Missing != "" {
		return "missing: " + c.Missing
	}
	var missed []string
	for _, p := range c.Promises {
		if p.Margin > 0 {
			missed = append(missed, p.Metric)
		}
	}
	switch {
	case len(missed) > 0:
		return "misses " + strings.Join(missed, ", ")
	case len(c.Promises) > 0:
		return "keeps the SLO"
	}
	return ""
}

func (a *app) printPromises(cells []v1.Cell) error {
	t := terminal.Table{Columns: []terminal.Column{{Title: "SCENARIO", Least: 8}, {Title: "CONCURRENCY", Right: true}, {Title: "METRIC"},
		{Title: "PROMISED", Right: true}, {Title: "ACTUAL", Right: true}, {Title: "MARGIN", Right: true}, {Title: "STATE"}}}
	promised := false
	for _, c := range cells {
		for _, p := range c.Promises {
			promised = true
			t.Add(c.Scenario, fmt.Sprint(c.Concurrency), p.Metric, terminal.Seconds(p.Threshold), terminal.Seconds(p.Actual),
				fmt.Sprintf("%+.1f %%", 100*p.Margin), p.Severity)
		}
	}
	if !promised {
		return nil
	}
	if err := a.section("the SLO, cell by cell"); err != nil {
		return err
	}
	return t.Print(a.Out)
}

func (a *app) printTelemetry(cells []v1.Cell) error {
	columns := []cellColumn{{"UTILIZATION", "gpu_utilization"}, {"MEMORY", "gpu_memory_used"}, {"POWER", "mean_power"}, {"ENERGY A TOKEN", "energy_per_token"}}
	t := cellTable(columns, cells)
	if len(t.Columns) == 2 {
		return nil
	}
	for _, c := range cells {
		t.Add(cellRow(t, columns, c)...)
	}
	if err := a.section("the devices under load"); err != nil {
		return err
	}
	return t.Print(a.Out)
}

// printBestServing prints the metrics of a task's best beside the baseline's,
// and how it stands with the SLO.
func (a *app) printBestServing(d v1.Task, best v1.Best, detail v1.Detailed) error {
	var names []string
	for _, o := range d.Objectives {
		names = append(names, o.Metric)
	}
	t := terminal.Table{Columns: []terminal.Column{{Title: "METRIC", Least: 10}, {Title: fmt.Sprintf("BEST #%d", best.Number), Right: true}}}
	var baseline map[string]v1.Metric
	if d.Baseline != nil && d.Baseline.Number != best.Number && len(d.Baseline.Metrics) > 0 {
		baseline = d.Baseline.Metrics
		t.Columns = append(t.Columns, terminal.Column{Title: fmt.Sprintf("BASELINE #%d", d.Baseline.Number), Right: true}, terminal.Column{Title: "CHANGE", Right: true})
	}
	for _, name := range servingMetrics(names, best.Metrics) {
		m := best.Metrics[name]
		row := []string{name, terminal.Quantity(m.Median, m.Unit)}
		if was, ok := baseline[name]; ok {
			row = append(row, terminal.Quantity(was.Median, was.Unit), change(was.Median, m.Median))
		}
		t.Add(row...)
	}
	if err := a.section("metrics over all cells%s", comma(simulation(best.Simulated))); err != nil {
		return err
	}
	if err := t.Print(a.Out); err != nil {
		return err
	}
	s := servingOf(detail)
	if s == nil {
		return nil
	}
	if err := a.section("cells%s", comma(simulation(s.Simulated))); err != nil {
		return err
	}
	if err := a.printCells(s.Cells); err != nil {
		return err
	}
	return a.printPromises(s.Cells)
}

// comma puts a comma in front of what there is.
func comma(text string) string {
	if text == "" {
		return ""
	}
	return ", " + text
}

// change writes how far a value lies from another: "+12.3 %".
func change(from, to float64) string {
	if from == 0 || math.IsNaN(to/from) {
		return ""
	}
	return fmt.Sprintf("%+.1f %%", 100*(to/from-1))
}

// promised sums up how cells stand with the SLO; empty without one.
func promised(s *v1.Serving) string {
	if s == nil {
		return ""
	}
	kept, all := 0, 0
	worst := v1.Promise{Margin: math.Inf(-1)}
	var where v1.Cell
	for _, c := range s.Cells {
		for _, p := range c.Promises {
			all++
			if p.Margin <= 0 {
				kept++
			}
			if p.Margin > worst.Margin {
				worst, where = p, c
			}
		}
	}
	switch {
	case all == 0:
		return ""
	case kept == all:
		return fmt.Sprintf("kept in every cell (%d of %d terms)", kept, all)
	}
	return fmt.Sprintf("missed: %d of %d terms are kept; the worst is %s, %s instead of %s in %s × %d (%s)",
		kept, all, worst.Metric, terminal.Seconds(worst.Actual), terminal.Seconds(worst.Threshold), where.Scenario, where.Concurrency, worst.Severity)
}
