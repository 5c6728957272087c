// Package report turns a run's result into what people and programs read: a
// JSON document with stable names, CSV, JSON lines of requests, time slices,
// tables, a page with charts, and the file layout of AIPerf.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/agentic"
	"github.com/fleetune/fleetune/worker/load/drive"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/telemetry"
)

// Schema names the version of the document; a change of meaning changes it.
const Schema = "fleetune.bench/1"

// A Document is one benchmark as JSON.
type Document struct {
	Schema    string    `json:"schema"`
	ID        string    `json:"benchmark_id"`
	Start     time.Time `json:"start_time"`
	End       time.Time `json:"end_time"`
	Cancelled bool      `json:"was_cancelled"`
	// Config is the command's settings, without secrets.
	Config any `json:"input_config,omitempty"`
	// Metrics by tag. Figures of the whole run have avg alone.
	Metrics map[string]Metric    `json:"metrics"`
	Errors  []metrics.ErrorCount `json:"error_summary"`
	Warmup  map[string]Metric    `json:"warmup_metrics,omitempty"`
	// Load tells how the schedule went; Branches how an agentic replay went.
	Load     *drive.Report     `json:"load,omitempty"`
	Branches *agentic.Counters `json:"branch_stats,omitempty"`
	Slices   []Slice           `json:"timeslices,omitempty"`
	Series   metrics.Series    `json:"series"`
	// TokensBy says what counted tokens where the server reported no usage.
	TokensBy string `json:"tokens_counted_by"`
	// Simulated is what the server said that it only simulates.
	Simulated string `json:"simulated,omitempty"`
	// Runs holds the statistics over repeated runs; the other members are
	// then those of the last run.
	Runs map[string]Repeat `json:"runs,omitempty"`
	// Points are the loads of a sweep or search, Best the highest that met
	// its SLOs.
	Points []Point  `json:"points,omitempty"`
	Best   *float64 `json:"highest_load_meeting_slos,omitempty"`
	// GPUs are what the GPUs did while the load ran.
	GPUs []telemetry.GPU `json:"telemetry_data,omitempty"`
	// Submission says whether the run counts as one of a locked scenario.
	Submission *Submission `json:"metadata,omitempty"`
	// Shares tell how the workers went that put the load on together.
	Shares []load.Share `json:"shares,omitempty"`
	Notes  []string     `json:"notes,omitempty"`
}

// A Metric is one figure. Everything but unit and avg is left out for figures
// of the whole run.
type Metric struct {
	Unit  string   `json:"unit"`
	Avg   float64  `json:"avg"`
	Min   *float64 `json:"min,omitempty"`
	Max   *float64 `json:"max,omitempty"`
	Sum   *float64 `json:"sum,omitempty"`
	Std   *float64 `json:"std,omitempty"`
	Count *int     `json:"count,omitempty"`
	P1    *float64 `json:"p1,omitempty"`
	P5    *float64 `json:"p5,omitempty"`
	P10   *float64 `json:"p10,omitempty"`
	P25   *float64 `json:"p25,omitempty"`
	P50   *float64 `json:"p50,omitempty"`
	P75   *float64 `json:"p75,omitempty"`
	P90   *float64 `json:"p90,omitempty"`
	P95   *float64 `json:"p95,omitempty"`
	P99   *float64 `json:"p99,omitempty"`
	// RelativeError of the percentiles, when they come from a sketch.
	RelativeError float64 `json:"percentile_relative_error,omitempty"`
}

// A Slice is the figures of one stretch of time, in ns since the start.
type Slice struct {
	Index   int64             `json:"timeslice"`
	Start   int64             `json:"start_ns"`
	End     int64             `json:"end_ns"`
	Metrics map[string]Metric `json:"metrics"`
}

// A Point is one load of a sweep or search.
type Point struct {
	Load    float64           `json:"load"`
	Meets   bool              `json:"meets_slos"`
	Metrics map[string]Metric `json:"metrics"`
}

// A Submission is a run under the locked settings of a scenario.
type Submission struct {
	Scenario string   `json:"scenario"`
	Valid    bool     `json:"submission_valid"`
	Reasons  []string `json:"submission_invalid_reasons"`
}

// New makes a document of a result.
func New(id string, config any, res *load.Result) *Document {
	d := &Document{
		Schema: Schema, ID: id, Start: res.Start.UTC(), End: res.End.UTC(), Cancelled: res.Cancelled, Config: config,
		Metrics: table(res.Summary.Metrics), Errors: res.Summary.Errors, Load: res.Drive, Branches: res.Branches,
		Series: res.Summary.Series, TokensBy: res.Tokens, Simulated: res.Simulated, Shares: res.Shares, GPUs: res.GPUs,
	}
	if d.Errors == nil {
		d.Errors = []metrics.ErrorCount{}
	}
	if res.Warmup != nil {
		d.Warmup = table(res.Warmup.Metrics)
	}
	for _, s := range res.Summary.Slices {
		d.Slices = append(d.Slices, Slice{s.Index, s.Start, s.End, table(s.Metrics)})
	}
	d.Notes = notes(res)
	return d
}

// notes says what a reader must know before trusting the figures.
func notes(res *load.Result) []string {
	var out []string
	if res.Simulated != "" {
		out = append(out, fmt.Sprintf("the server simulates a %s: these figures are a model's estimates, not measurements", res.Simulated))
	}
	if res.Proxy != "" {
		out = append(out, fmt.Sprintf("requests went through the proxy %s, as the environment says (HTTP_PROXY, HTTPS_PROXY): its time is in all figures; NO_PROXY leaves a server out", res.Proxy))
	}
	if r := res.Drive; r != nil && r.Resets > 0 {
		out = append(out, fmt.Sprintf("the generator fell behind its schedule (%d ×) and gave up %v of it: the offered rate was lower than asked", r.Resets, r.Lost.Round(time.Millisecond)))
	}
	if r := res.Drive; r != nil && r.Skipped > 0 {
		out = append(out, fmt.Sprintf("%d ticks found no free slot and sent nothing: the concurrency limit held the rate back", r.Skipped))
	}
	if r := res.Drive; r != nil && r.Midway > 0 {
		out = append(out, fmt.Sprintf("%d conversations were taken up in the middle: their prompts lack the server's replies before", r.Midway))
	}
	if r := res.Drive; r != nil && r.Stuck > 0 {
		out = append(out, fmt.Sprintf("%d requests did not end even after they were cancelled", r.Stuck))
	}
	if x := res.Summary.Value(metrics.TagErrorRate); x > 0 {
		out = append(out, fmt.Sprintf("%.2f %% of the requests failed", 100*x))
	}
	for _, e := range res.Summary.Errors {
		if e.Class == metrics.ErrStale {
			out = append(out, fmt.Sprintf("%d requests failed as the server hung up on connections that it had kept: a shorter --keep-alive or --connection-reuse-strategy never avoids that", e.Count))
		}
	}
	if b := res.Branches; b != nil && b.Overflows*100 > b.RequestsIssued {
		out = append(out, fmt.Sprintf("%d of %d requests overflowed the model's context: more than 1 %%, so the run does not count", b.Overflows, b.RequestsIssued))
	}
	if b := res.Branches; b != nil && b.IdleSkipped+b.TreeIdleSkipped > 0 {
		out = append(out, fmt.Sprintf("recorded silence was cut short: %v of it where all was idle (%d ×), %v where one trace was (%d ×)",
			b.IdleSkipped.Round(time.Millisecond), b.IdleJumps, b.TreeIdleSkipped.Round(time.Millisecond), b.TreeIdleJumps))
	}
	out = append(out, together(res.Shares)...)
	if res.ServerNote != "" {
		out = append(out, res.ServerNote)
	}
	if res.GPUNote != "" {
		out = append(out, res.GPUNote)
	}
	if res.Cancelled {
		out = append(out, "the run was stopped early; the figures are of what had ended by then")
	}
	return out
}

// together says what workers that put a load on together could not do.
func together(shares []load.Share) []string {
	if len(shares) == 0 {
		return nil
	}
	var out []string
	var far, late time.Duration
	workers := map[string]int{}
	told := 0
	for i := range shares {
		s := &shares[i]
		if !s.Done {
			out = append(out, s.String())
			continue
		}
		told++
		workers[s.Worker]++
		far, late = max(far, s.ClockError+s.Drift.Abs()), max(late, s.Late)
	}
	if told < len(shares) {
		out = append(out, fmt.Sprintf("the result is partial: it is that of %d of %d shares", told, len(shares)))
	}
	for worker, n := range workers {
		if n > 1 {
			out = append(out, fmt.Sprintf("%d shares ran on worker %s", n, worker))
		}
	}
	out = append(out, fmt.Sprintf("workers that put the load on together: %d; their clocks agree to %v, drift included", len(workers), far.Round(time.Microsecond)))
	if late > time.Millisecond {
		out = append(out, fmt.Sprintf("the last share began %v after the common start", late.Round(time.Microsecond)))
	}
	return out
}

func table(in []metrics.Metric) map[string]Metric {
	out := make(map[string]Metric, len(in))
	for _, m := range in {
		out[m.Tag] = metric(m)
	}
	return out
}

func metric(m metrics.Metric) Metric {
	out := Metric{Unit: m.Unit, Avg: m.Stats.Avg}
	if m.Aggregate {
		return out
	}
	s := m.Stats
	out.Min, out.Max, out.Sum, out.Std, out.Count = &s.Min, &s.Max, &s.Sum, &s.Std, &s.Count
	out.P1, out.P5, out.P10, out.P25, out.P50 = &s.P1, &s.P5, &s.P10, &s.P25, &s.P50
	out.P75, out.P90, out.P95, out.P99 = &s.P75, &s.P90, &s.P95, &s.P99
	if s.Approximate {
		out.RelativeError = metrics.SketchError
	}
	return out
}

// Points makes the points of a sweep or search.
func Points(in []load.Point) []Point {
	out := make([]Point, len(in))
	for i, p := range in {
		out[i] = Point{p.Load, p.Meets, table(p.Result.Summary.Metrics)}
	}
	return out
}

// WriteJSON writes the document, indented.
func (d *Document) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		return fmt.Errorf("writing the JSON report: %w", err)
	}
	return nil
}

// Read reads a document.
func Read(r io.Reader) (*Document, error) {
	var d Document
	if err := json.NewDecoder(r).Decode(&d); err != nil {
		return nil, fmt.Errorf("reading a report: %w", err)
	}
	if d.Schema != Schema {
		return nil, fmt.Errorf("reading a report: its schema is %q, want %q", d.Schema, Schema)
	}
	return &d, nil
}

// finite replaces what JSON cannot say.
func finite(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	return x
}
