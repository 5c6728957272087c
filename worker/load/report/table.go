package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/telemetry"
)

// rows of the final table, in the order people look for them.
var rows = []string{
	metrics.TagTTFT, "time_to_second_token", metrics.TagITL, metrics.TagICL, metrics.TagLatency,
	metrics.TagEffectiveLatency, metrics.TagSendLag, metrics.TagUserThroughput,
	metrics.TagISL, metrics.TagOSL, metrics.TagConcurrency,
}

// totals are what comparisons look at besides.
var totals = []string{
	metrics.TagRequestCount, metrics.TagErrorCount, metrics.TagErrorRate, metrics.TagUnfinished, metrics.TagDuration,
	metrics.TagRequestThroughput, metrics.TagOutputThroughput, metrics.TagTotalThroughput,
	metrics.TagGoodCount, metrics.TagGoodput, metrics.TagCacheRead, metrics.TagIdealHit,
	telemetry.TagUtilization, telemetry.TagPower, telemetry.TagMemory + "_max", telemetry.TagEnergy, "energy_per_output_token",
}

// A choice of columns for the screen: the widest that fits is taken.
var columnChoices = [][]string{
	{"avg", "min", "max", "p99", "p90", "p50", "std"},
	{"avg", "max", "p99", "p90", "p50"},
	{"avg", "p99", "p50"},
	{"p99", "p50"},
}

// shortName is what the longest names are cut to before columns are left out.
const shortName = 34

// WriteTable writes the figures for people.
func (d *Document) WriteTable(s terminal.Screen) error {
	p := &printer{Screen: s}
	p.line(s.Paint(terminal.Bold, terminal.Clean(d.Title())))
	p.wrapped("", d.Setting())
	p.line("")
	for _, f := range d.facts() {
		style := terminal.Plain
		if f.Bad && f.Name == "requests" {
			style = terminal.Red
		}
		p.fact(f.Name, f.Value, style)
	}
	p.line("")
	p.table(d.distributions(s.Width))
	p.errors(d.Errors)
	if len(d.Runs) > 0 {
		p.line("")
		p.table(d.repeats())
	}
	if s := d.Submission; s != nil {
		verdict := "the run counts"
		if !s.Valid {
			verdict = "the run does not count: " + strings.Join(s.Reasons, "; ")
		}
		p.line("")
		p.wrapped("", fmt.Sprintf("Scenario %s: %s", s.Scenario, verdict))
	}
	for _, n := range d.Notes {
		p.line("")
		p.wrapped("Note: ", n+".")
	}
	return p.end()
}

// distributions is the table of figures that have one, with as many columns as
// the screen takes.
func (d *Document) distributions(width int) *terminal.Table {
	var t *terminal.Table
	for _, columns := range columnChoices {
		t = &terminal.Table{Columns: []terminal.Column{{Title: "Metric", Least: 12}}}
		name := 0
		for _, c := range columns {
			t.Columns = append(t.Columns, terminal.Column{Title: c, Right: true})
		}
		used := 0
		for _, tag := range rows {
			m, ok := d.Metrics[tag]
			if !ok || m.Count == nil {
				continue
			}
			cells := []string{fmt.Sprintf("%s (%s)", metrics.Title(tag), m.Unit)}
			name = max(name, terminal.Width(cells[0]))
			for _, c := range columns {
				cells = append(cells, figure(*m.column(c)))
				used = max(used, terminal.Width(cells[len(cells)-1]))
			}
			t.Add(cells...)
		}
		if width == 0 || min(name, shortName)+len(columns)*(used+2) <= width {
			return t
		}
	}
	return t
}

// repeats is the table of repeated runs.
func (d *Document) repeats() *terminal.Table {
	t := &terminal.Table{Columns: []terminal.Column{{Title: "Over the runs", Least: 12}, {Title: "mean", Right: true}, {Title: "low", Right: true},
		{Title: "high", Right: true}, {Title: "cv", Right: true}, {Title: "runs", Right: true}}}
	for _, tag := range append(append([]string{}, rows...), totals...) {
		if r, ok := d.Runs[tag]; ok {
			t.Columns[2].Title = fmt.Sprintf("%g %% from", 100*r.Confidence)
			t.Columns[3].Title = "to"
			t.Add(fmt.Sprintf("%s (%s)", metrics.Title(tag), r.Unit), figure(r.Mean), figure(r.Low), figure(r.High), fmt.Sprintf("%.1f %%", 100*r.CV), fmt.Sprint(len(r.Values)))
		}
	}
	return t
}

// deviceFacts say what the GPUs did.
func (d *Document) deviceFacts() []fact {
	var words []string
	for _, tag := range []string{telemetry.TagUtilization, telemetry.TagPower, telemetry.TagMemory + "_max", telemetry.TagEnergy, "energy_per_output_token"} {
		if m, ok := d.Metrics[tag]; ok {
			words = append(words, fmt.Sprintf("%s %s %s", strings.ToLower(strings.TrimPrefix(metrics.Title(tag), "GPU ")), figure(m.Avg), m.Unit))
		}
	}
	if words == nil {
		return nil
	}
	return []fact{{"GPUs", strings.Join(words, ", "), false}}
}

// WritePoints writes the loads of a sweep or search.
func (d *Document) WritePoints(s terminal.Screen) error {
	p := &printer{Screen: s}
	t := &terminal.Table{Columns: []terminal.Column{{Title: "load", Right: true}, {Title: "meets SLOs"}, {Title: "req/s", Right: true}, {Title: "good req/s", Right: true},
		{Title: "out tok/s", Right: true}, {Title: "TTFT p50 ms", Right: true}, {Title: "p99", Right: true}, {Title: "ITL p50 ms", Right: true}, {Title: "p99", Right: true}, {Title: "failed", Right: true}}}
	for _, x := range d.Points {
		pick := func(tag, col string) string {
			if v := x.Metrics[tag].column(col); v != nil && x.Metrics[tag].Unit != "" {
				return figure(*v)
			}
			return "–"
		}
		meets := "no"
		if x.Meets {
			meets = "yes"
		}
		t.Add(fmt.Sprintf("%g", x.Load), meets, pick(metrics.TagRequestThroughput, "avg"), pick(metrics.TagGoodput, "avg"), pick(metrics.TagOutputThroughput, "avg"),
			pick(metrics.TagTTFT, "p50"), pick(metrics.TagTTFT, "p99"), pick(metrics.TagITL, "p50"), pick(metrics.TagITL, "p99"), figure(x.Metrics[metrics.TagErrorCount].Avg))
	}
	p.line("")
	p.table(t)
	if d.Best != nil {
		p.line("")
		p.line(s.Paint(terminal.Bold, fmt.Sprintf("Highest load that meets the SLOs: %g", *d.Best)))
	}
	return p.end()
}

// printer writes lines and keeps the first error.
type printer struct {
	terminal.Screen
	err error
}

func (p *printer) line(text string) {
	if p.err == nil {
		_, p.err = io.WriteString(p.Screen, text+"\n")
	}
}

// wrapped writes text after a head, its further lines below the text's start.
func (p *printer) wrapped(head, text string) {
	lines := []string{terminal.Clean(text)}
	if p.Width > 0 {
		lines = terminal.Wrap(lines[0], p.Width-terminal.Width(head))
	}
	for _, l := range lines {
		p.line(strings.TrimRight(head+l, " "))
		head = strings.Repeat(" ", terminal.Width(head))
	}
}

// factWide is the room of a fact's name.
const factWide = 14

func (p *printer) fact(name, value string, style terminal.Style) {
	lines := []string{terminal.Clean(value)}
	if p.Width > 0 {
		lines = terminal.Wrap(lines[0], p.Width-factWide-2)
	}
	head := fmt.Sprintf("  %-*s", factWide, name)
	for _, l := range lines {
		p.line(head + p.Paint(style, l))
		head = strings.Repeat(" ", factWide+2)
	}
}

func (p *printer) table(t *terminal.Table) {
	if p.err == nil {
		p.err = t.Print(p.Screen)
	}
}

// errors lists the kinds of failures.
func (p *printer) errors(list []metrics.ErrorCount) {
	if len(list) > 0 {
		p.line("")
	}
	for _, e := range list {
		head := fmt.Sprintf("%d × %s", e.Count, e.Class)
		if e.Code != 0 {
			head += fmt.Sprintf(" (%d)", e.Code)
		}
		head += ": "
		text := terminal.Clean(e.Message)
		if p.Width > 0 {
			text = terminal.Cut(text, max(p.Width-terminal.Width(head), 20))
		}
		p.line(p.Paint(terminal.Red, head) + text)
	}
}

func (p *printer) end() error {
	if p.err != nil {
		return fmt.Errorf("writing the table: %w", p.err)
	}
	return nil
}
