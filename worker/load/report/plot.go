package report

import (
	_ "embed"
	"fmt"
	"io"

	"github.com/fleetune/fleetune/shared/chart"
	"github.com/fleetune/fleetune/worker/load/metrics"
)

//go:embed plot.html
var plotText string

// plotRows are the figures that are set side by side, with their column and a
// short head.
var plotRows = []struct{ tag, column, head string }{
	{metrics.TagRequestThroughput, "avg", "Requests/s"}, {metrics.TagOutputThroughput, "avg", "Output tokens/s"}, {metrics.TagGoodput, "avg", "Good requests/s"},
	{metrics.TagTTFT, "p50", "TTFT p50 ms"}, {metrics.TagTTFT, "p99", "TTFT p99 ms"}, {metrics.TagITL, "p50", "ITL p50 ms"}, {metrics.TagITL, "p99", "ITL p99 ms"},
	{metrics.TagLatency, "p50", "Latency p50 ms"}, {metrics.TagLatency, "p99", "Latency p99 ms"}, {metrics.TagSendLag, "p99", "Send lag p99 ms"},
	{metrics.TagRequestCount, "avg", "Requests"}, {metrics.TagErrorCount, "avg", "Failed"},
}

type plotPage struct {
	shell
	Runs                []plotRun
	Rows                []row
	Loads, Spread, Time []*chart.Plot
}

type plotRun struct {
	Name, Colour string
	Notes        []string
}

// WritePlot writes a page that sets runs side by side and needs nothing else:
// their figures, what they did over time, and where they were loaded in steps,
// how the latencies grew.
func WritePlot(w io.Writer, runs []Run) error {
	p := plotPage{shell: newShell("Fleetune benchmarks"), Loads: overLoadPlots(runs), Spread: percentilePlots(runs), Time: overTimePlots(runs)}
	for i, r := range runs {
		p.Runs = append(p.Runs, plotRun{r.Name, colour(i), r.Notes})
	}
	for _, c := range plotRows {
		line := row{}
		for _, r := range runs {
			m, ok := r.Metrics[c.tag]
			cell := "–"
			if x := m.column(c.column); ok && x != nil {
				cell = figure(*x)
				line.Name = fmt.Sprintf("%s (%s)", metrics.Title(c.tag), m.Unit)
				if m.Count != nil {
					line.Name = fmt.Sprintf("%s, %s (%s)", metrics.Title(c.tag), c.column, m.Unit)
				}
			}
			line.Cells = append(line.Cells, cell)
		}
		if line.Name != "" {
			p.Rows = append(p.Rows, line)
		}
	}
	return write(w, "page of plots", plotText, p)
}
