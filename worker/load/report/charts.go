package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/shared/chart"
	"github.com/fleetune/fleetune/worker/load/metrics"
)

// A Run is a report with the name that a plot gives it.
type Run struct {
	Name string
	*Document
}

// steep is how many times a figure's least value its greatest is, from which
// on its axis is logarithmic.
const steep = 100

// A line of a chart over time.
type line struct {
	name  string
	data  func(*metrics.Series) metrics.Values
	class string // in a chart of one run
	fill  bool
}

// overTime are the charts of what runs did, each from its own start.
var overTime = []struct {
	id, title, unit string
	slo             string // the figure whose bound is drawn
	lines           []line
}{
	{"rate", "Requests that ended", "requests/s", "", []line{
		{"succeeded", func(s *metrics.Series) metrics.Values { return s.Requests }, "best", true},
		{"failed", func(s *metrics.Series) metrics.Values { return s.Failures }, "failed", false}}},
	{"tokens", "Output tokens", "tokens/s", "", []line{
		{"output tokens", func(s *metrics.Series) metrics.Values { return s.Tokens }, "best", true}}},
	{"ttft", "Time to first token, by start", "ms", metrics.TagTTFT, []line{
		{"p50", func(s *metrics.Series) metrics.Values { return s.TTFTp50 }, "best", false},
		{"p99", func(s *metrics.Series) metrics.Values { return s.TTFTp99 }, "line3", false}}},
	{"latency", "Request latency, by start", "ms", metrics.TagLatency, []line{
		{"p50", func(s *metrics.Series) metrics.Values { return s.LatencyP50 }, "best", false},
		{"p99", func(s *metrics.Series) metrics.Values { return s.LatencyP99 }, "line3", false}}},
	{"concurrency", "Requests in flight", "requests", "", []line{
		{"all", func(s *metrics.Series) metrics.Values { return s.Concurrency }, "best", true},
		{"before their first token", func(s *metrics.Series) metrics.Values { return s.Prefill }, "line3", false}}},
	{"inflight", "Tokens in flight", "tokens", "", []line{
		{"of prompts and replies", func(s *metrics.Series) metrics.Values { return s.InFlight }, "best", true}}},
}

// overTimePlots draws one run with all lines in a chart, several with a chart
// for every line.
func overTimePlots(runs []Run) []*chart.Plot {
	var out []*chart.Plot
	for _, c := range overTime {
		if len(runs) == 1 {
			p := &chart.Plot{ID: c.id, Title: c.title, XLabel: "s since the first request", YLabel: c.unit, Ground: true, Rules: rules(runs[0].Document, c.slo)}
			for _, l := range c.lines {
				s := chart.Series{Name: l.name, Class: l.class + " quiet", Line: "straight", Fill: l.fill}
				s.Dots = courseOf(&runs[0].Series, l.data(&runs[0].Series), l.name, c.unit)
				if l.class != "failed" || slices.ContainsFunc(s.Dots, func(d chart.Dot) bool { return d.Y > 0 }) {
					p.Series = append(p.Series, s)
				}
			}
			out = add(out, p)
			continue
		}
		for i, l := range c.lines {
			p := &chart.Plot{ID: fmt.Sprintf("%s-%d", c.id, i+1), Title: c.title + ": " + l.name, XLabel: "s since the first request", YLabel: c.unit, Ground: true}
			for k, r := range runs {
				p.Series = append(p.Series, chart.Series{Name: r.Name, Class: colour(k) + " quiet", Line: "straight", Dots: courseOf(&r.Series, l.data(&r.Series), r.Name, c.unit)})
			}
			out = add(out, p)
		}
	}
	return out
}

func colour(i int) string { return fmt.Sprintf("line%d", i%6+1) }

// courseOf are a figure's samples in time. The last sample is left out where
// there are others: the run may have ended inside it.
func courseOf(s *metrics.Series, data metrics.Values, name, unit string) []chart.Dot {
	if len(data) > 3 {
		data = data[:len(data)-1]
	}
	var out []chart.Dot
	for i, y := range data {
		if math.IsNaN(y) {
			continue
		}
		x := (float64(i) + 0.5) * s.Interval
		out = append(out, chart.Dot{X: x, Y: y, Label: fmt.Sprintf("%.4g s: %s %s %s", x, name, figure(y), unit)})
	}
	return out
}

// add keeps a chart that has something to show.
func add(list []*chart.Plot, p *chart.Plot) []*chart.Plot {
	least, most, n := math.Inf(1), 0.0, 0
	for _, s := range p.Series {
		for _, d := range s.Dots {
			least, most, n = min(least, d.Y), max(most, d.Y), n+1
		}
	}
	if n < 2 || most <= 0 {
		return list
	}
	if least > 0 && most > steep*least {
		p.LogY = true
	}
	return append(list, p)
}

// rules are the bounds of a figure.
func rules(d *Document, tag string) []chart.Rule {
	var out []chart.Rule
	for _, s := range d.slos() {
		if s.Tag == tag {
			out = append(out, chart.Rule{Y: s.Bound, Label: fmt.Sprintf("SLO %g", s.Bound), Class: "slo"})
		}
	}
	return out
}

// percentilePlots draw how a figure is spread over requests.
func percentilePlots(runs []Run) []*chart.Plot {
	columns := []string{"min", "p1", "p5", "p10", "p25", "p50", "p75", "p90", "p95", "p99", "max"}
	var out []*chart.Plot
	for _, tag := range []string{metrics.TagTTFT, metrics.TagITL, metrics.TagICL, metrics.TagLatency, metrics.TagUserThroughput, metrics.TagSendLag} {
		p := &chart.Plot{ID: "spread-" + tag, Title: metrics.Title(tag), XLabel: "percentile of the requests", Categories: columns, Ground: true}
		if tag == metrics.TagICL {
			p.XLabel = "percentile of the chunks"
		}
		for i, r := range runs {
			m, ok := r.Metrics[tag]
			if !ok || m.Count == nil {
				continue
			}
			p.YLabel = m.Unit
			if len(runs) == 1 {
				p.Rules = rules(r.Document, tag)
			}
			s := chart.Series{Name: r.Name, Class: colour(i), Line: "straight"}
			if len(runs) == 1 {
				s.Class, s.Name = "best", "all requests"
			}
			for k, col := range columns {
				y := *m.column(col)
				s.Dots = append(s.Dots, chart.Dot{X: float64(k), Y: y, Label: fmt.Sprintf("%s: %s %s", col, figure(y), m.Unit)})
			}
			p.Series = append(p.Series, s)
		}
		out = add(out, p)
	}
	return out
}

// overLoadPlots draw the loads of sweeps and searches.
func overLoadPlots(runs []Run) []*chart.Plot {
	type axis struct{ tag, column, label string }
	load := axis{label: "load: " + loadUnit(runs)}
	of := func(a axis, x Point) (float64, bool) {
		if a.tag == "" {
			return x.Load, true
		}
		m, ok := x.Metrics[a.tag]
		if v := m.column(a.column); ok && v != nil {
			return *v, true
		}
		return 0, false
	}
	var out []*chart.Plot
	for i, c := range []struct {
		title, slo string
		x, y       axis
	}{
		{"Output throughput over load", "", load, axis{metrics.TagOutputThroughput, "avg", "tokens/s"}},
		{"Request throughput over load", "", load, axis{metrics.TagRequestThroughput, "avg", "requests/s"}},
		{"Goodput over load", "", load, axis{metrics.TagGoodput, "avg", "good requests/s"}},
		{"Time to first token over load, p99", metrics.TagTTFT, load, axis{metrics.TagTTFT, "p99", "ms"}},
		{"Time between tokens over load, p99", metrics.TagITL, load, axis{metrics.TagITL, "p99", "ms"}},
		{"Request latency over load, p99", metrics.TagLatency, load, axis{metrics.TagLatency, "p99", "ms"}},
		{"Throughput against interactivity", "", axis{metrics.TagUserThroughput, "p50", "tokens/s of one user, p50"}, axis{metrics.TagOutputThroughput, "avg", "tokens/s of the server"}},
	} {
		p := &chart.Plot{ID: fmt.Sprintf("load-%d", i+1), Title: c.title, XLabel: c.x.label, YLabel: c.y.label, Ground: true}
		least, most := math.Inf(1), 0.0
		for k, r := range runs {
			s := chart.Series{Name: r.Name, Class: colour(k), Line: "straight"}
			if len(runs) == 1 {
				s.Class = "best"
				p.Rules = rules(r.Document, c.slo)
			}
			points := slices.Clone(r.Points)
			slices.SortStableFunc(points, func(a, b Point) int { return cmp.Compare(a.Load, b.Load) })
			for _, at := range points {
				x, okX := of(c.x, at)
				y, okY := of(c.y, at)
				if !okX || !okY {
					continue
				}
				least, most = min(least, x), max(most, x)
				s.Dots = append(s.Dots, chart.Dot{X: x, Y: y, Label: fmt.Sprintf("load %g: %s %s", at.Load, figure(y), c.y.label)})
			}
			p.Series = append(p.Series, s)
		}
		p.LogX = c.x.tag == "" && least > 0 && most >= 8*least
		out = add(out, p)
	}
	return out
}

// loadUnit is what loads are in.
func loadUnit(runs []Run) string {
	for _, r := range runs {
		s := r.settings()
		name, _, ok := strings.Cut(cmp.Or(text(s, "sweep"), text(s, "search")), "=")
		if ok && name == "rate" {
			return "requests/s"
		}
		if ok {
			return name
		}
	}
	return "concurrency or requests/s"
}
