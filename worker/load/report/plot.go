package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/worker/load/metrics"
)

//go:embed plot.html
var plotText string

// A Run is a report with the name that a plot gives it.
type Run struct {
	Name string
	*Document
}

// plotRows are the figures that a plot sets side by side, with their column.
var plotRows = []struct{ tag, column string }{
	{metrics.TagRequestThroughput, "avg"}, {metrics.TagOutputThroughput, "avg"}, {metrics.TagGoodput, "avg"},
	{metrics.TagTTFT, "p50"}, {metrics.TagTTFT, "p99"}, {metrics.TagITL, "p50"}, {metrics.TagITL, "p99"},
	{metrics.TagLatency, "p50"}, {metrics.TagLatency, "p99"}, {metrics.TagSendLag, "p99"},
	{metrics.TagRequestCount, "avg"}, {metrics.TagErrorCount, "avg"},
}

type plot struct {
	Runs   []plotRun
	Rows   [][]string
	Charts []plotChart
}

type plotRun struct {
	Name  string
	Color template.CSS
	Notes []string
}

type plotChart struct {
	Title, X, Top, Left, Right string
	Lines                      []plotLine
}

type plotLine struct {
	Name, Path string
	Color      template.CSS
	Dots       [][2]float64
}

// hues set runs apart; more runs than hues use them again.
var hues = []int{210, 25, 140, 280, 50, 330, 180, 0}

// WritePlot writes a page that sets runs side by side and needs nothing else:
// their figures, what they did over time, and where they were loaded in steps,
// how the latencies grew.
func WritePlot(w io.Writer, runs []Run) error {
	t, err := template.New("plot").Parse(plotText)
	if err != nil {
		return fmt.Errorf("reading the plot's template: %w", err)
	}
	p := plot{}
	for i, r := range runs {
		p.Runs = append(p.Runs, plotRun{r.Name, color(i), r.Notes})
	}
	for _, row := range plotRows {
		cells := []string{""}
		for _, r := range runs {
			m, ok := r.Metrics[row.tag]
			cell := "–"
			if x := m.column(row.column); ok && x != nil {
				cell = decimals(*x)
				cells[0] = fmt.Sprintf("%s, %s (%s)", metrics.Title(row.tag), row.column, m.Unit)
				if m.Count == nil {
					cells[0] = fmt.Sprintf("%s (%s)", metrics.Title(row.tag), m.Unit)
				}
			}
			cells = append(cells, cell)
		}
		if cells[0] != "" {
			p.Rows = append(p.Rows, cells)
		}
	}
	p.overTime(runs)
	p.overLoad(runs)
	if err := t.Execute(w, p); err != nil {
		return fmt.Errorf("writing the plot: %w", err)
	}
	return nil
}

func color(i int) template.CSS {
	return template.CSS(fmt.Sprintf("hsl(%d 70%% 45%%)", hues[i%len(hues)])) //nolint:gosec // numbers of ours
}

// short writes the end of an axis.
func short(x float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if x >= unit.size {
			return fmt.Sprintf("%.3g%s", x/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%.3g", x)
}

// overTime draws what the runs did, each from its own start.
func (p *plot) overTime(runs []Run) {
	for _, c := range []struct {
		title string
		data  func(metrics.Series) []float64
	}{
		{"Requests completed per second", func(s metrics.Series) []float64 { return s.Requests }},
		{"Output tokens per second", func(s metrics.Series) []float64 { return s.Tokens }},
		{"Requests in flight", func(s metrics.Series) []float64 { return s.Concurrency }},
		{"Mean time to first token, ms", func(s metrics.Series) []float64 { return s.TTFT }},
	} {
		var lines []points
		for i, r := range runs {
			data, span := c.data(r.Series), r.Metrics[metrics.TagDuration].Avg
			line := points{name: r.Name, color: color(i)}
			for k, y := range data {
				line.xy = append(line.xy, [2]float64{span * float64(k) / float64(max(1, len(data)-1)), y})
			}
			lines = append(lines, line)
		}
		p.add(c.title, "s", lines, false)
	}
}

// overLoad draws the loads of sweeps and searches.
func (p *plot) overLoad(runs []Run) {
	value := func(tag, column string) func(Point) (float64, bool) {
		return func(x Point) (float64, bool) {
			m, ok := x.Metrics[tag]
			if v := m.column(column); ok && v != nil {
				return *v, true
			}
			return 0, false
		}
	}
	load := func(x Point) (float64, bool) { return x.Load, true }
	for _, c := range []struct {
		title, unit string
		x, y        func(Point) (float64, bool)
	}{
		{"Output tokens per second over load", "load", load, value(metrics.TagOutputThroughput, "avg")},
		{"Time to first token p99 over load, ms", "load", load, value(metrics.TagTTFT, "p99")},
		{"Inter-token latency p99 over load, ms", "load", load, value(metrics.TagITL, "p99")},
		{"Output tokens per second over tokens per second of a user", "tokens/s of a user", value("output_token_throughput_per_user", "avg"), value(metrics.TagOutputThroughput, "avg")},
	} {
		var lines []points
		for i, r := range runs {
			line := points{name: r.Name, color: color(i)}
			for _, at := range r.Points {
				x, okX := c.x(at)
				y, okY := c.y(at)
				if okX && okY {
					line.xy = append(line.xy, [2]float64{x, y})
				}
			}
			slices.SortStableFunc(line.xy, func(a, b [2]float64) int {
				switch {
				case a[0] < b[0]:
					return -1
				case a[0] > b[0]:
					return 1
				}
				return 0
			})
			lines = append(lines, line)
		}
		p.add(c.title, c.unit, lines, true)
	}
}

// points are a line's, before they are drawn.
type points struct {
	name  string
	color template.CSS
	xy    [][2]float64
}

// add draws lines in a box of 740 by 170 at (50, 10), from 0 to the highest
// of them all. Loads are drawn as dots on a logarithmic axis, for people double
// them.
func (p *plot) add(title, unit string, lines []points, loads bool) {
	least, most, top := math.Inf(1), math.Inf(-1), 0.0
	for _, l := range lines {
		for _, at := range l.xy {
			least, most, top = min(least, at[0]), max(most, at[0]), max(top, at[1])
		}
	}
	if !(most > least) || !(top > 0) {
		return
	}
	c := plotChart{Title: title, X: unit, Top: short(top), Left: short(least), Right: short(most)}
	place := func(x float64) float64 { return (x - least) / (most - least) }
	if loads && least > 0 {
		place = func(x float64) float64 { return math.Log(x/least) / math.Log(most/least) }
	}
	for _, l := range lines {
		if len(l.xy) == 0 {
			continue
		}
		var b strings.Builder
		drawn := plotLine{Name: l.name, Color: l.color}
		for _, at := range l.xy {
			x, y := 50+740*place(at[0]), 180-170*at[1]/top
			fmt.Fprintf(&b, "%.1f,%.1f ", x, y)
			if loads {
				drawn.Dots = append(drawn.Dots, [2]float64{math.Round(10*x) / 10, math.Round(10*y) / 10})
			}
		}
		drawn.Path = strings.TrimSpace(b.String())
		c.Lines = append(c.Lines, drawn)
	}
	p.Charts = append(p.Charts, c)
}
