package report

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/scrape"
)

// sample is one series of a reading.
type sample struct {
	Labels  map[string]string  `json:"labels,omitempty"`
	Value   *float64           `json:"value,omitempty"`
	Buckets map[string]float64 `json:"buckets,omitempty"`
	Sum     *float64           `json:"sum,omitempty"`
	Count   *float64           `json:"count,omitempty"`
}

// serverLine is one reading of the server's metrics.
type serverLine struct {
	URL     string          `json:"endpoint_url"`
	At      int64           `json:"timestamp_ns"`
	Latency int64           `json:"endpoint_latency_ns"`
	Sent    int64           `json:"request_sent_ns"`
	Phase   metrics.Phase   `json:"benchmark_phase,omitempty"`
	Metrics json.RawMessage `json:"metrics"`
}

// A ServerRecorder writes a line for every reading of the server's metrics in
// which anything is new, and sums up what happened while the load was measured.
// Its Add is called by one goroutine at a time.
type ServerRecorder struct {
	lines
	url     string
	last    []byte
	fetches fetches
	// series are by metric and labels; families tell of the metrics.
	series   map[string]*serverSeries
	families map[string]*family
	span     time.Duration // that was measured
	before   time.Time     // the reading before; zero for none
	from, to time.Time     // of what was measured
}

// family is what a page says of one metric.
type family struct {
	kind, help string
}

// fetches are the readings of the server's page.
type fetches struct {
	all, changed              int
	first, last               time.Time
	firstChanged, lastChanged time.Time
	latency                   time.Duration
	intervals                 metrics.Distribution // between changes, ms
}

// CreateServerRecorder opens a file of readings.
func CreateServerRecorder(path string) (*ServerRecorder, error) {
	r := &ServerRecorder{series: map[string]*serverSeries{}, families: map[string]*family{}}
	return r, r.create(path, "the file of the server's metrics")
}

// Add takes a reading of a phase.
func (r *ServerRecorder) Add(phase metrics.Phase, x *scrape.Reading) {
	r.url = x.URL
	at := x.Sent.Add(x.Latency)
	all := map[string][]sample{}
	for name, f := range x.Families {
		kind := kindOf(f)
		if kind == "" {
			continue
		}
		if kind == "counter" {
			name = strings.TrimSuffix(name, "_total") // by which AIPerf knows it
		}
		for _, m := range f.GetMetric() {
			if s, ok := sampleOf(m); ok {
				all[name] = append(all[name], s)
			}
		}
		if len(all[name]) > 0 {
			r.families[name] = &family{kind, f.GetHelp()}
		}
	}
	r.write(phase, x, at, all)
	measured := phase == metrics.Profiling
	since := time.Duration(0)
	if !r.before.IsZero() {
		since = at.Sub(r.before)
	}
	for name, samples := range all {
		for _, s := range samples {
			r.at(name, s.Labels).take(&s, r.families[name].kind, measured, since)
		}
	}
	if measured {
		if r.from.IsZero() {
			r.from = at
			if !r.before.IsZero() {
				r.from = r.before
			}
		}
		if !r.before.IsZero() {
			r.span += at.Sub(r.before)
		}
		r.to = at
	}
	r.before = at
}

// write writes the line of a reading, unless it is that of the one before.
func (r *ServerRecorder) write(phase metrics.Phase, x *scrape.Reading, at time.Time, all map[string][]sample) {
	slim := maps.Clone(all)
	maps.DeleteFunc(slim, func(name string, _ []sample) bool { return strings.HasSuffix(name, "_info") })
	raw, err := json.Marshal(slim)
	if err != nil { // no figure that is left is without a number
		raw = []byte("{}")
	}
	r.fetches.took(x, at, !bytes.Equal(raw, r.last))
	if bytes.Equal(raw, r.last) {
		return
	}
	r.last = raw
	r.put(serverLine{URL: x.URL, At: at.UnixNano(), Latency: int64(x.Latency), Sent: x.Sent.UnixNano(), Phase: phase, Metrics: raw})
}

func (f *fetches) took(x *scrape.Reading, at time.Time, changed bool) {
	if f.all == 0 {
		f.first = at
	}
	f.all++
	f.last, f.latency = at, f.latency+x.Latency
	if !changed {
		return
	}
	if f.changed == 0 {
		f.firstChanged = at
	} else {
		f.intervals.Add(float64(at.Sub(f.lastChanged)) / float64(time.Millisecond))
	}
	f.changed++
	f.lastChanged = at
}

// kindOf is the kind of a metric; empty for one that is not kept, as the
// quantiles of a summary are of the server's whole life.
func kindOf(f *dto.MetricFamily) string {
	switch f.GetType() {
	case dto.MetricType_COUNTER:
		return "counter"
	case dto.MetricType_GAUGE:
		return "gauge"
	case dto.MetricType_HISTOGRAM:
		return "histogram"
	case dto.MetricType_UNTYPED:
		return "unknown"
	}
	return ""
}

func sampleOf(m *dto.Metric) (sample, bool) {
	s := sample{}
	for _, l := range m.GetLabel() {
		if s.Labels == nil {
			s.Labels = map[string]string{}
		}
		s.Labels[l.GetName()] = l.GetValue()
	}
	if h := m.GetHistogram(); h != nil {
		sum, count := h.GetSampleSum(), float64(h.GetSampleCount())
		s.Sum, s.Count, s.Buckets = &sum, &count, map[string]float64{"+Inf": count}
		for _, b := range h.GetBucket() {
			if !math.IsInf(b.GetUpperBound(), 1) {
				s.Buckets[strconv.FormatFloat(b.GetUpperBound(), 'g', -1, 64)] = float64(b.GetCumulativeCount())
			}
		}
		return s, finiteNumber(sum)
	}
	var x float64
	switch {
	case m.GetCounter() != nil:
		x = m.GetCounter().GetValue()
	case m.GetGauge() != nil:
		x = m.GetGauge().GetValue()
	default:
		x = m.GetUntyped().GetValue()
	}
	s.Value = &x
	return s, finiteNumber(x)
}

func finiteNumber(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// serverSeries is one series over the time that was measured.
type serverSeries struct {
	labels map[string]string
	// values are a gauge's; total is what a counter grew by, rates how fast from
	// one reading to the next.
	values, rates metrics.Distribution
	total         float64
	// sum, count and buckets are what a histogram grew by.
	sum, count float64
	buckets    map[string]float64
	last       *sample
	measured   bool
}

func (r *ServerRecorder) at(name string, labels map[string]string) *serverSeries {
	key := seriesKey(name, labels)
	s := r.series[key]
	if s == nil {
		s = &serverSeries{labels: labels, buckets: map[string]float64{}}
		r.series[key] = s
	}
	return s
}

// seriesKey sorts by metric, then labels.
func seriesKey(name string, labels map[string]string) string {
	var b strings.Builder
	b.WriteString(name)
	for _, l := range slices.Sorted(maps.Keys(labels)) {
		b.WriteString("\x00" + l + "\x00" + labels[l])
	}
	return b.String()
}

// take adds a sample. What it grew by counts from the sample before, which may
// be one from before the load was measured.
func (s *serverSeries) take(x *sample, kind string, measured bool, since time.Duration) {
	last := s.last
	s.last = x
	if !measured {
		return
	}
	s.measured = true
	switch {
	case kind == "gauge" || kind == "unknown":
		if x.Value != nil {
			s.values.Add(*x.Value)
		}
	case last == nil: // nothing to count from
	case x.Value != nil && last.Value != nil:
		more := grown(*last.Value, *x.Value)
		s.total += more
		if since > 0 {
			s.rates.Add(more / since.Seconds())
		}
	case x.Count != nil && last.Count != nil:
		if *x.Count < *last.Count { // the server was started anew
			last = &sample{Sum: new(float64), Count: new(float64)}
		}
		s.sum, s.count = s.sum+*x.Sum-*last.Sum, s.count+*x.Count-*last.Count
		for le, n := range x.Buckets {
			s.buckets[le] += n - last.Buckets[le]
		}
	}
}

// grown is what a counter grew by; a server that was started anew begins at 0.
func grown(last, x float64) float64 {
	if x < last {
		return x
	}
	return x - last
}
