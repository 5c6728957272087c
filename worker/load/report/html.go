package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/worker/load/metrics"
)

//go:embed page.html
var pageText string

type page struct {
	*Document
	Columns []string
	Rows    [][]string
	Totals  [][]string
	Points  []pagePoint
	Charts  []chart
}

type pagePoint struct {
	Load  float64
	Meets bool
	Cells []string
}

type chart struct{ Title, Top, End, Path string }

// WriteHTML writes a page that needs nothing else: no script, no network.
func (d *Document) WriteHTML(w io.Writer) error {
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return fmt.Errorf("reading the page's template: %w", err)
	}
	p := page{Document: d, Columns: []string{"avg", "min", "p50", "p90", "p99", "max", "std"}}
	for _, tag := range tags(d.Metrics) {
		m := d.Metrics[tag]
		row := []string{fmt.Sprintf("%s (%s)", metrics.Title(tag), m.Unit)}
		if m.Count == nil {
			p.Totals = append(p.Totals, append(row, decimals(m.Avg)))
			continue
		}
		for _, col := range p.Columns {
			row = append(row, decimals(*m.column(col)))
		}
		p.Rows = append(p.Rows, row)
	}
	for _, x := range d.Points {
		p.Points = append(p.Points, pagePoint{x.Load, x.Meets, []string{
			decimals(x.Metrics[metrics.TagRequestThroughput].Avg), decimals(x.Metrics[metrics.TagOutputThroughput].Avg), decimals(x.Metrics[metrics.TagTTFT].Avg)}})
	}
	span := d.Metrics[metrics.TagDuration].Avg
	for _, c := range []struct {
		title string
		data  []float64
	}{
		{"Requests completed per second", d.Series.Requests},
		{"Output tokens per second", d.Series.Tokens},
		{"Requests in flight", d.Series.Concurrency},
		{"Mean time to first token of the requests that started then, ms", d.Series.TTFT},
	} {
		if len(c.data) > 1 && slices.Max(c.data) > 0 {
			p.Charts = append(p.Charts, draw(c.title, c.data, span))
		}
	}
	if err := t.Execute(w, p); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

// draw makes the points of a line in a box of 740 by 170 at (50, 10).
func draw(title string, data []float64, seconds float64) chart {
	top := slices.Max(data)
	var b strings.Builder
	for i, y := range data {
		fmt.Fprintf(&b, "%.1f,%.1f ", 50+740*float64(i)/float64(len(data)-1), 180-170*y/top)
	}
	return chart{title, fmt.Sprintf("%.4g", top), fmt.Sprintf("%.0f s", seconds), strings.TrimSpace(b.String())}
}
