package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/shared/chart"
	"github.com/fleetune/fleetune/shared/terminal"
)

// Data is what a report says, before it is drawn.
type Data struct {
	Task        string    `json:"task"`
	Description string    `json:"description"`
	Status      string    `json:"status"`
	Cause       string    `json:"cause"`
	At          time.Time `json:"at"`
	// Simulated says what was simulated; empty where all is measured.
	Simulated string `json:"simulated"`
	// Caveats are what a reader has to know before the figures.
	Caveats []string `json:"caveats"`
	Cards   []Card   `json:"cards"`
	Facts   []Fact   `json:"facts"`
	Best    *Best    `json:"best"`
	// Metrics of the best beside the baseline.
	Metrics []Metric `json:"metrics"`
	Cells   []Cell   `json:"cells"`
	SLO     *SLO     `json:"slo"`
	// Search is how it went: scores, and what several objectives traded.
	Search []*chart.Plot `json:"search"`
	// Curves show the leaders under growing load.
	Curves   []chart.Plot `json:"curves"`
	Parallel *Parallel    `json:"parallel"`
	Effects  []Effect     `json:"effects"`
	Outcomes []Outcome    `json:"outcomes"`
	Table    Table        `json:"table"`
	// Commands are the engine's command lines of the best and the baseline.
	Commands []Fact `json:"commands"`
	Source   string `json:"source"`
	Version  string `json:"version"`
}

// A Fact is a name with what there is to say.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Best is the best configuration.
type Best struct {
	Number     int    `json:"number"`
	Parameters []Fact `json:"parameters"`
	// Use is the command that puts it to use.
	Use string `json:"use"`
}

// A Metric of the best beside the baseline's.
type Metric struct {
	Name     string `json:"name"`
	Best     string `json:"best"`
	Baseline string `json:"baseline"`
	Change   string `json:"change"`
	Verdict  string `json:"verdict"`
	// Class is good, bad or empty.
	Class string `json:"class,omitempty"`
}

// A Cell is what the best measured in one cell.
type Cell struct {
	Scenario    string   `json:"scenario"`
	Concurrency int      `json:"concurrency"`
	Values      []string `json:"values"`
	Errors      string   `json:"errors"`
	State       string   `json:"state"`
}

// An Effect says how one parameter acts on the objective.
type Effect struct {
	Name       string      `json:"name"`
	Importance float64     `json:"importance"`
	Plot       *chart.Plot `json:"plot"`
}

// An Outcome is how many experiments ended alike.
type Outcome struct {
	Name  string  `json:"name"`
	Count int     `json:"count"`
	Share float64 `json:"share"`
	Good  bool    `json:"good"`
}

// Build makes the data of a report.
func Build(in Input) Data {
	t := in.Task
	d := Data{Task: t.Name, Description: t.Description, Status: t.Status, Cause: t.Cause, At: in.At, Caveats: []string{},
		Facts: facts(in), Source: in.Source, Version: in.Version}
	if t.Simulated != "" {
		d.Simulated = "simulated " + t.Simulated
	}
	d.Caveats = caveats(in)
	d.Cards = cards(in)
	d.Best = best(in)
	d.Metrics = metrics(in)
	d.Outcomes = outcomes(in.Experiments)
	d.Search = search(in)
	d.Parallel = parallel(in)
	d.Effects = effects(in)
	d.Table = table(in)
	if in.Servings != nil {
		d.Curves = curves(in)
		d.Cells, d.SLO = cells(in), slo(in)
		d.Commands = commands(in)
	}
	return d
}

// cellMetrics are the columns of the best's cells.
func cellMetrics() []Fact {
	return []Fact{{"mean_ttft", "TTFT"}, {"mean_tpot", "TPOT"}, {"p50_e2e_latency", "Latency p50"}, {"p90_e2e_latency", "p90"},
		{"p99_e2e_latency", "p99"}, {"mean_output_throughput", "Output tokens/s"}, {"mean_total_throughput", "Total tokens/s"}, {"goodput", "Goodput requests/s"}}
}

// CellColumns are the headings of the best's cells.
func (d Data) CellColumns() []string {
	var names []string
	for _, m := range cellMetrics() {
		names = append(names, m.Value)
	}
	return names
}

// Compared says that the best's metrics stand beside the baseline's.
func (d Data) Compared() bool {
	return slices.ContainsFunc(d.Metrics, func(m Metric) bool { return m.Baseline != "" })
}

// AnyMissing says that a cell could not be measured.
func (d Data) AnyMissing() bool {
	return slices.ContainsFunc(d.Cells, func(c Cell) bool { return c.State != "" })
}

func facts(in Input) []Fact {
	t := in.Task
	var list []Fact
	add := func(name, value string) {
		if value != "" {
			list = append(list, Fact{name, value})
		}
	}
	var objectives []string
	for _, o := range t.Objectives {
		objectives = append(objectives, string(o.Direction)+" "+o.Metric)
	}
	add("Objective", strings.Join(objectives, ", then "))
	add("Strategy", t.Strategy)
	c := t.Experiments
	if c.Confirmations > 0 {
		add("Confirmations", fmt.Sprintf("%d of %d", c.Confirmed, c.Confirmations))
	}
	if t.Stopped != nil {
		add("Search over", t.Stopped.Message)
	}
	if s := serving(in); s != nil {
		add("Engine", s.Version)
		add("Image", strings.TrimSpace(s.Image+" "+s.ImageDigest))
		add("Devices", fmt.Sprint(s.WorldSize))
	}
	return list
}

// serving is what the best measured; nil of what starts no engine.
func serving(in Input) *v1.Serving {
	if in.Task.Best == nil {
		return nil
	}
	return in.Servings[in.Task.Best.Number]
}

func caveats(in Input) []string {
	t := in.Task
	list := []string{}
	if t.Simulated != "" {
		list = append(list, fmt.Sprintf("Every figure is that of a simulated %s. No GPU was measured.", t.Simulated))
	}
	if !t.Final() {
		list = append(list, "The task has not ended: what follows is how it stands.")
	}
	if b := t.Best; b != nil && (t.Baseline == nil || t.Baseline.Number != b.Number) {
		switch s := b.Speedup; {
		case t.Baseline == nil:
			list = append(list, "There is no baseline to compare the best with.")
		case s == nil || s.Low == nil:
			list = append(list, "The best was not measured again beside the baseline: its advantage is not confirmed.")
		case !s.Significant:
			list = append(list, "Measured again beside the baseline, the best shows no significant difference.")
		}
	}
	if in.Read > len(in.Experiments) {
		list = append(list, fmt.Sprintf("Charts and table show %d of %d experiments, the best among them.", len(in.Experiments), in.Read))
	}
	if in.Insight.Notice != "" {
		list = append(list, strings.ToUpper(in.Insight.Notice[:1])+in.Insight.Notice[1:]+".")
	}
	return list
}

func best(in Input) *Best {
	t := in.Task
	if t.Best == nil {
		return nil
	}
	b := &Best{Number: t.Best.Number, Parameters: points(t, t.Best.Parameters), Use: "fleetune best " + t.Name}
	if in.Servings != nil {
		b.Use = "fleetune apply " + t.Name + " --as command"
	}
	return b
}

func metricName(t v1.Task) string {
	if len(t.Objectives) == 0 {
		return "score"
	}
	return t.Objectives[0].Metric
}

func points(t v1.Task, p map[string]any) []Fact {
	list := []Fact{}
	for _, name := range terminal.Names(p, t.Parameters) {
		list = append(list, Fact{name, terminal.Value(p[name])})
	}
	return list
}

// metrics puts the best's beside the baseline's, with what is known of the
// differences.
func metrics(in Input) []Metric {
	if in.Task.Best == nil {
		return nil
	}
	var list []Metric
	if in.Comparison == nil || len(in.Comparison.Sides) != 2 {
		for _, name := range sorted(in.Task.Best.Metrics) {
			m := in.Task.Best.Metrics[name]
			list = append(list, Metric{Name: name, Best: terminal.Quantity(m.Median, m.Unit)})
		}
		return list
	}
	for _, c := range in.Comparison.Metrics {
		m := Metric{Name: c.Name, Baseline: quantity(c.Values[0], c.Unit), Best: quantity(c.Values[1], c.Unit)}
		v := c.Values[1]
		if v.Change != nil {
			m.Change = fmt.Sprintf("%+.1f %%", 100**v.Change)
		}
		m.Verdict = strings.ReplaceAll(v.Verdict, "_", " ")
		m.Class = map[string]string{"better": "good", "worse": "bad"}[v.Verdict]
		if v.Low != nil && v.High != nil {
			m.Verdict += fmt.Sprintf(" (%.2f–%.2f)", *v.Low, *v.High)
		}
		list = append(list, m)
	}
	return list
}

func quantity(v v1.Compared, unit string) string {
	if v.Median == nil {
		return "–"
	}
	return terminal.Quantity(*v.Median, unit)
}

// cells are those of the best.
func cells(in Input) []Cell {
	s := serving(in)
	if s == nil {
		return nil
	}
	var list []Cell
	for _, c := range s.Cells {
		row := Cell{Scenario: c.Scenario, Concurrency: c.Concurrency, Errors: fmt.Sprintf("%d/%d", c.Errors, c.Requests+c.Errors), State: c.Missing}
		for _, m := range cellMetrics() {
			text := "–"
			if v, ok := c.Metrics[m.Name]; ok {
				text = terminal.Quantity(v.Median, v.Unit)
				if strings.HasSuffix(m.Value, " "+v.Unit) {
					text = terminal.Number(v.Median) // the heading says in what
				}
			}
			row.Values = append(row.Values, text)
		}
		list = append(list, row)
	}
	return list
}

func commands(in Input) []Fact {
	var list []Fact
	add := func(name string, number int) {
		if s := in.Servings[number]; s != nil && len(s.Command) > 0 {
			list = append(list, Fact{fmt.Sprintf("%s, experiment %d", name, number), strings.Join(s.Command, " ")})
		}
	}
	if b := in.Task.Best; b != nil {
		add("Best", b.Number)
	}
	if b := in.Task.Baseline; b != nil && (in.Task.Best == nil || in.Task.Best.Number != b.Number) {
		add("Baseline", b.Number)
	}
	return list
}

func outcomes(list []v1.Experiment) []Outcome {
	counts := map[string]int{}
	most := 0
	for _, e := range list {
		if e.Outcome != "" {
			counts[e.Outcome]++
			most = max(most, counts[e.Outcome])
		}
	}
	out := []Outcome{}
	for _, name := range sorted(counts) {
		out = append(out, Outcome{Name: name, Count: counts[name], Share: float64(counts[name]) / float64(most), Good: name == "success"})
	}
	slices.SortStableFunc(out, func(a, b Outcome) int { return b.Count - a.Count })
	return out
}

// huge is the size from which on a number is not drawn: differences of larger
// ones overflow.
const huge = 1e100

// finite says that a number can be drawn.
func finite(v float64) bool { return math.Abs(v) <= huge }
