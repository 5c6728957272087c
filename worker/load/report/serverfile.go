package report

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fleetune/fleetune/worker/load/metrics"
)

// serverSchema is the version of the layout of the server's metrics.
const serverSchema = "1.1"

// serverMetric is one of the server's metrics in its file.
type serverMetric struct {
	Type        string         `json:"type"`
	Description string         `json:"description"`
	Unit        string         `json:"unit,omitempty"`
	Series      []serverFigure `json:"series"`
}

// serverFigure is one series in that file.
type serverFigure struct {
	URL     string             `json:"endpoint_url"`
	Labels  map[string]string  `json:"labels,omitempty"`
	Stats   map[string]float64 `json:"stats"`
	Buckets map[string]int64   `json:"buckets,omitempty"`
}

// Empty says that nothing was read while the load was measured.
func (r *ServerRecorder) Empty() bool { return r.to.IsZero() }

// metrics are all metrics with their series, in order.
func (r *ServerRecorder) metrics() map[string]*serverMetric {
	out := map[string]*serverMetric{}
	for _, key := range slices.Sorted(maps.Keys(r.series)) {
		s := r.series[key]
		if !s.measured {
			continue
		}
		name, _, _ := strings.Cut(key, "\x00")
		f := r.families[name]
		if out[name] == nil {
			out[name] = &serverMetric{Type: f.kind, Description: f.help, Unit: serverUnit(name, f.kind)}
		}
		one := serverFigure{URL: r.url, Labels: s.labels, Stats: s.stats(f.kind, r.span)}
		if f.kind == "histogram" {
			one.Buckets = map[string]int64{}
			for le, n := range s.buckets {
				one.Buckets[le] = int64(n)
			}
		}
		out[name].Series = append(out[name].Series, one)
	}
	return out
}

// serverUnits are units by what a metric's name ends in.
var serverUnits = []struct{ ending, unit string }{
	{"_seconds", "seconds"}, {"_ms", "milliseconds"}, {"_bytes", "bytes"}, {"_tokens", "tokens"}, {"_requests", "requests"},
	{"_blocks", "blocks"}, {"_ratio", "ratio"}, {"_perc", "percent"}, {"_percent", "percent"}, {"_celsius", "celsius"}, {"_watts", "watt"},
}

func serverUnit(name, kind string) string {
	for _, u := range serverUnits {
		if strings.HasSuffix(name, u.ending) {
			return u.unit
		}
	}
	if kind == "counter" {
		return "count"
	}
	return ""
}

// serverColumns are the statistics of each kind, in their order.
var serverColumns = map[string][]string{
	"gauge":   {"avg", "min", "max", "std", "p1", "p5", "p10", "p25", "p50", "p75", "p90", "p95", "p99"},
	"unknown": {"avg", "min", "max", "std", "p1", "p5", "p10", "p25", "p50", "p75", "p90", "p95", "p99"},
	"counter": {"total", "rate", "rate_avg", "rate_min", "rate_max", "rate_std"},
	"histogram": {"count", "count_rate", "sum", "sum_rate", "avg", "p1_estimate", "p5_estimate", "p10_estimate", "p25_estimate", "p50_estimate",
		"p75_estimate", "p90_estimate", "p95_estimate", "p99_estimate"},
}

func (s *serverSeries) stats(kind string, span time.Duration) map[string]float64 {
	out := map[string]float64{}
	seconds := span.Seconds()
	switch kind {
	case "counter":
		if out["total"] = s.total; seconds > 0 {
			out["rate"] = s.total / seconds
		}
		if x := s.rates.Stats(); x != nil {
			out["rate_avg"], out["rate_min"], out["rate_max"], out["rate_std"] = x.Avg, x.Min, x.Max, x.Std
		}
	case "histogram":
		if out["count"] = s.count; s.count <= 0 {
			break
		}
		out["sum"], out["avg"] = s.sum, s.sum/s.count
		if seconds > 0 {
			out["count_rate"], out["sum_rate"] = s.count/seconds, s.sum/seconds
		}
		for _, p := range []float64{1, 5, 10, 25, 50, 75, 90, 95, 99} {
			out["p"+strconv.Itoa(int(p))+"_estimate"] = quantile(s.buckets, p/100)
		}
	default:
		if stats := s.values.Stats(); stats != nil {
			m := metric(metrics.Metric{Stats: *stats})
			for _, name := range serverColumns[kind] {
				out[name] = *m.column(name)
			}
		}
	}
	return out
}

// quantile estimates a quantile of a histogram: linear inside the bucket that
// it falls into, and the last finite bound beyond that.
func quantile(buckets map[string]float64, q float64) float64 {
	type bucket struct{ bound, n float64 }
	var all []bucket
	var total float64
	for le, n := range buckets {
		if bound, err := strconv.ParseFloat(le, 64); err == nil && finiteNumber(bound) {
			all = append(all, bucket{bound, n})
		} else {
			total = n
		}
	}
	slices.SortFunc(all, func(a, b bucket) int { return cmp.Compare(a.bound, b.bound) })
	rank := q * total
	low, below := 0.0, 0.0
	for i, b := range all {
		if i == 0 && b.bound < 0 {
			low = b.bound
		}
		if b.n >= rank && b.n > below {
			return low + (b.bound-low)*(rank-below)/(b.n-below)
		}
		low, below = b.bound, b.n
	}
	return low
}

// WriteJSON writes the server's metrics over the time that was measured.
func (r *ServerRecorder) WriteJSON(w io.Writer, id string, config any) error {
	f := &r.fetches
	urls := []string{r.url}
	info := map[string]any{
		"total_fetches": f.all, "first_fetch_ns": f.first.UnixNano(), "last_fetch_ns": f.last.UnixNano(),
		"avg_fetch_latency_ms": f.latency.Seconds() * 1000 / float64(max(f.all, 1)),
		"unique_updates":       f.changed, "first_update_ns": f.firstChanged.UnixNano(), "last_update_ns": f.lastChanged.UnixNano(),
		"duration_seconds": f.lastChanged.Sub(f.firstChanged).Seconds(), "avg_update_interval_ms": 0.0,
	}
	if s := f.intervals.Stats(); s != nil {
		info["avg_update_interval_ms"] = s.Avg
		if s.Count > 1 {
			info["median_update_interval_ms"] = s.P50
		}
	}
	summary := map[string]any{
		"endpoints_configured": urls, "endpoints_successful": urls, "start_time": r.from, "end_time": r.to,
		"endpoint_info": map[string]any{r.url: info},
	}
	if r.from.Before(r.to) {
		summary["phase_time_ranges"] = map[string]any{"profiling": map[string]int64{"start_ns": r.from.UnixNano(), "end_ns": r.to.UnixNano()}}
	}
	return members(w, []member{{"schema_version", serverSchema}, {"aiperf_version", Schema}, {"benchmark_id", id}, {"summary", summary},
		{"metrics_phase", metrics.Profiling}, {"metrics", r.metrics()}, {"input_config", config}})
}

// WriteCSV writes the same as a section for each kind of metric, with the
// labels as columns; what a server tells of itself comes last, a label a row.
func (r *ServerRecorder) WriteCSV(w io.Writer, id string) error {
	all := r.metrics()
	var b strings.Builder
	fmt.Fprintf(&b, "# Server metrics, by %s\n# schema_version: 1.0\n# benchmark_id: %s\n#\n", Schema, id)
	sections := [][][]string{}
	for _, kind := range []string{"gauge", "counter", "histogram", "unknown"} {
		if rows := section(all, kind); len(rows) > 1 {
			sections = append(sections, rows)
		}
	}
	if rows := infos(all); len(rows) > 1 {
		sections = append(sections, rows)
	}
	for i, rows := range sections {
		if i > 0 {
			b.WriteString("\n")
		}
		if err := csv.NewWriter(&b).WriteAll(rows); err != nil {
			return fmt.Errorf("writing the server's metrics: %w", err)
		}
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("writing the server's metrics: %w", err)
	}
	return nil
}

// section has a row for every series of a kind.
func section(all map[string]*serverMetric, kind string) [][]string {
	labels := map[string]bool{}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if all[name].Type != kind || strings.HasSuffix(name, "_info") {
			continue
		}
		names = append(names, name)
		for _, s := range all[name].Series {
			for l := range s.Labels {
				labels[l] = true
			}
		}
	}
	columns := slices.Sorted(maps.Keys(labels))
	head := slices.Concat([]string{"Endpoint", "Type", "Metric", "Unit"}, serverColumns[kind], columns, []string{"Description"})
	if kind == "histogram" {
		head = append(head, "buckets")
	}
	rows := [][]string{head}
	for _, name := range names {
		m := all[name]
		for _, s := range m.Series {
			row := []string{s.URL, kind, name, m.Unit}
			for _, stat := range serverColumns[kind] {
				x, ok := s.Stats[stat]
				row = append(row, number(x, ok))
			}
			for _, l := range columns {
				row = append(row, s.Labels[l])
			}
			row = append(row, m.Description)
			if kind == "histogram" {
				row = append(row, bucketList(s.Buckets))
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// infos has a row for every label of what a server tells of itself.
func infos(all map[string]*serverMetric) [][]string {
	rows := [][]string{{"Endpoint", "Metric", "Key", "Value", "Description"}}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !strings.HasSuffix(name, "_info") {
			continue
		}
		for _, s := range all[name].Series {
			for _, l := range slices.Sorted(maps.Keys(s.Labels)) {
				rows = append(rows, []string{s.URL, name, l, s.Labels[l], all[name].Description})
			}
		}
	}
	return rows
}

func number(x float64, ok bool) string {
	if !ok {
		return ""
	}
	return strconv.FormatFloat(x, 'f', 4, 64)
}

func bucketList(in map[string]int64) string {
	bounds := slices.SortedFunc(maps.Keys(in), func(a, b string) int {
		x, _ := strconv.ParseFloat(a, 64) // bounds are numbers, as they were read
		y, _ := strconv.ParseFloat(b, 64)
		return cmp.Compare(x, y)
	})
	for i, le := range bounds {
		bounds[i] = le + "=" + strconv.FormatInt(in[le], 10)
	}
	return strings.Join(bounds, ";")
}
