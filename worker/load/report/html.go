package report

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"

	"github.com/fleetune/fleetune/shared/chart"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/fleetune/fleetune/worker/load/metrics"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

//go:embed head.html
var headText string

// shell is what all pages have: a name, their style, and the policy that lets
// nothing else in. The template "head" writes it.
type shell struct {
	Name, Policy string
	Style        template.CSS
}

func newShell(name string) shell {
	style := chart.Style() + pageStyle
	return shell{name, chart.Policy(style, ""), template.CSS(style)}
}

// write fills a page's template in. Control characters, and marks that turn
// the writing direction, have no place in it, whoever wrote them.
func write(w io.Writer, name, source string, data any) error {
	t, err := template.New(name).Parse(source)
	if err == nil {
		_, err = t.New("head").Parse(headText)
	}
	if err == nil {
		err = chart.Add(t)
	}
	if err != nil {
		return fmt.Errorf("reading the template of the %s: %w", name, err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return fmt.Errorf("writing the %s: %w", name, err)
	}
	if _, err := io.WriteString(w, terminal.CleanText(b.String())); err != nil {
		return fmt.Errorf("writing the %s: %w", name, err)
	}
	return nil
}

type page struct {
	*Document
	shell
	Cards    []card
	Facts    []fact
	Loads    []*chart.Plot
	Rows     []pointRow
	Repeated []repeatRow
	Time     []*chart.Plot
	Spread   []*chart.Plot
	Columns  []string
	Groups   []group
	Settings string
}

// A card is a figure that everybody looks for first.
type card struct {
	Title, Value, Unit, Detail string
	Bad                        bool
}

type pointRow struct {
	Load  float64
	Meets bool
	Cells []string
}

type repeatRow struct{ Name, Mean, Low, High, CV string }

// WriteHTML writes a page that needs nothing else: no script, no network.
func (d *Document) WriteHTML(w io.Writer) error {
	runs := []Run{{"this run", d}}
	p := page{Document: d, shell: newShell(d.Title() + " · Fleetune benchmark"), Cards: d.cards(), Facts: d.facts(), Loads: overLoadPlots(runs), Time: overTimePlots(runs), Spread: percentilePlots(runs),
		Columns: []string{"avg", "min", "p50", "p90", "p95", "p99", "max", "std"}}
	p.Groups = d.groups(p.Columns)
	for _, x := range d.Points {
		r := pointRow{Load: x.Load, Meets: x.Meets}
		for _, c := range plotRows {
			cell := "–"
			if m, ok := x.Metrics[c.tag]; ok {
				if v := m.column(c.column); v != nil {
					cell = figure(*v)
				}
			}
			r.Cells = append(r.Cells, cell)
		}
		p.Rows = append(p.Rows, r)
	}
	for _, tag := range append(append([]string{}, rows...), totals...) {
		if r, ok := d.Runs[tag]; ok {
			p.Repeated = append(p.Repeated, repeatRow{fmt.Sprintf("%s (%s)", metrics.Title(tag), r.Unit), figure(r.Mean), figure(r.Low), figure(r.High), fmt.Sprintf("%.1f %%", 100*r.CV)})
		}
	}
	if raw, err := json.MarshalIndent(d.Config, "", "  "); err == nil {
		p.Settings = string(raw)
	}
	return write(w, "page", pageText, p)
}

// PlotHeads are the heads of the table of loads.
func (page) PlotHeads() []string {
	var out []string
	for _, r := range plotRows {
		out = append(out, r.head)
	}
	return out
}

// cards are the figures at the head of the page.
func (d *Document) cards() []card {
	var out []card
	single := func(title, tag, unit string) {
		if m, ok := d.Metrics[tag]; ok {
			out = append(out, card{Title: title, Value: figure(m.Avg), Unit: unit})
		}
	}
	spread := func(title, tag string) {
		if m, ok := d.Metrics[tag]; ok && m.Count != nil {
			out = append(out, card{Title: title, Value: figure(*m.P50), Unit: m.Unit, Detail: fmt.Sprintf("p99 %s %s", figure(*m.P99), m.Unit)})
		}
	}
	single("Output throughput", metrics.TagOutputThroughput, "tokens/s")
	single("Requests", metrics.TagRequestThroughput, "per s")
	single("Goodput", metrics.TagGoodput, "good requests/s")
	spread("Time to first token, p50", metrics.TagTTFT)
	spread("Time between tokens, p50", metrics.TagITL)
	spread("Request latency, p50", metrics.TagLatency)
	spread("Send lag, p50", metrics.TagSendLag)
	rate := d.Metrics[metrics.TagErrorRate].Avg
	out = append(out, card{Title: "Failed", Value: figure(100 * rate), Unit: "%", Detail: fmt.Sprintf("%s of %s requests", terminal.Count(d.Metrics[metrics.TagErrorCount].Avg),
		terminal.Count(d.Metrics[metrics.TagErrorCount].Avg+d.Metrics[metrics.TagRequestCount].Avg)), Bad: rate > 0})
	return out
}
