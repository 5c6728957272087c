package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/shared/chart"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/drive"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/telemetry"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

const msec = int64(1e6)

func record(i int64) *metrics.Record {
	start := 100*msec + i*20*msec
	r := &metrics.Record{
		Number: i, Request: "r", Session: "s", Root: "s", Conversation: "c", Phase: metrics.Profiling, Worker: "w",
		Scheduled: start - msec, Issued: start - msec/2, Start: start, Sent: start + msec/10, Headers: start + 2*msec, End: start + 90*msec,
		InputTokens: 10, ContentTokens: 3, WantedTokens: 3, PlannedTokens: 10, Streamed: true,
		Usage: metrics.Usage{Prompt: 10, Completion: 3, Total: 13, Reasoning: -1, CacheRead: 5, CacheWrite: -1, CacheMiss: -1},
		HTTP:  metrics.NoHTTP(),
	}
	for k := range int64(3) {
		r.Chunks = append(r.Chunks, metrics.Chunk{At: start + (10+i)*msec + k*30*msec})
	}
	return r
}

func result() *load.Result {
	c := metrics.NewCollector(metrics.Options{SLOs: []metrics.SLO{{Tag: metrics.TagTTFT, Bound: 12}}, Slice: 100 * msec})
	for i := range int64(6) {
		c.Add(record(i))
	}
	bad := record(6)
	bad.Err = &metrics.Error{Class: metrics.ErrRateLimited, Code: 429, Message: "slow <down>"}
	c.Add(bad)
	at := time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)
	return &load.Result{Start: at, End: at.Add(time.Second), Summary: c.Summary(), Tokens: "bytes",
		Drive: &drive.Report{Issued: 7, Skipped: 2, Resets: 1, Lost: 30 * time.Millisecond}}
}

func document() *Document {
	return New("b1", map[string]any{"model": []string{"org/model"}, "url": []string{"localhost:8000"}, "request_rate": 50, "goodput": "time_to_first_token:12"}, result())
}

func TestGoldenOutputs(t *testing.T) {
	d := document()
	for name, write := range map[string]func(*bytes.Buffer) error{
		"report.json": func(b *bytes.Buffer) error { return d.WriteJSON(b) },
		"report.csv":  func(b *bytes.Buffer) error { return d.WriteCSV(b) },
		"slices.csv":  func(b *bytes.Buffer) error { return d.WriteSlicesCSV(b) },
		"table.txt":   func(b *bytes.Buffer) error { return d.WriteTable(terminal.Screen{Writer: b}) },
		"narrow.txt":  func(b *bytes.Buffer) error { return d.WriteTable(terminal.Screen{Writer: b, Width: 60}) },
		"page.html":   func(b *bytes.Buffer) error { return d.WriteHTML(b) },
		"aiperf.json": func(b *bytes.Buffer) error { return d.writeAIPerfJSON(b) },
	} {
		var b bytes.Buffer
		require.NoError(t, write(&b))
		golden(t, name, b.Bytes())
	}
}

func TestTheDocumentReadsBack(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, document().WriteJSON(&b))
	d, err := Read(&b)
	require.NoError(t, err)
	require.Equal(t, document().Metrics, d.Metrics)
	_, err = Read(strings.NewReader(`{"schema":"other"}`))
	require.ErrorContains(t, err, "schema")
}

func TestThePageNeedsNothingElseAndEscapes(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, document().WriteHTML(&b))
	for _, no := range []string{"<script", "http://", "https://", "@import", "url(", "slow <down>"} {
		require.NotContains(t, b.String(), no)
	}
	require.Contains(t, b.String(), "slow &lt;down&gt;")
}

func TestAIPerfLayout(t *testing.T) {
	dir := t.TempDir()
	doc := document()
	doc.Runs = Repeats([]*load.Result{result(), result()}, 0.95)
	doc.GPUs = []telemetry.GPU{{ID: "GPU-1", Name: "H200", Figures: map[string]metrics.Stats{telemetry.TagPower: {Avg: 400, Count: 3}}}}
	require.NoError(t, doc.WriteAIPerf(Layout{Dir: dir}))
	object := func(name string) map[string]json.RawMessage {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		var d map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(raw, &d))
		return d
	}
	d := object("profile_export_aiperf.json")
	for _, name := range []string{"schema_version", "time_to_first_token", "request_throughput", "error_summary", "was_cancelled", "telemetry_data"} {
		require.Contains(t, d, name)
	}
	require.NotContains(t, d, "input_config", "AIPerf refuses settings that are not its own")
	require.Contains(t, string(d["telemetry_data"]), `"gpu_power_usage":{"unit":"W","avg":400`)
	var slices []map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(object("profile_export_aiperf_timeslices.json")["timeslices"], &slices))
	require.Contains(t, slices[0], metrics.TagTTFT, "figures are members of the slice itself")
	require.Contains(t, slices[0], "start_ns")
	require.Contains(t, string(object("aggregate/profile_export_aiperf_aggregate.json")["metrics"]), `"request_throughput_avg":{"ci_high"`)
	for name, holds := range map[string]string{"profile_export_aiperf.csv": "0,H200,GPU-1,GPU Power Usage (W),400.00", "profile_export_aiperf_timeslices.csv": "Timeslice,",
		"aggregate/profile_export_aiperf_aggregate.csv": "metric,mean,std,min,max,cv,se,ci_low,ci_high,unit", "fleetune_bench.json": `"input_config"`} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Contains(t, string(raw), holds)
	}
}

// A figure over several orders of magnitude has a logarithmic axis, one that is
// nowhere has no chart.
func TestChartsFitTheirFigures(t *testing.T) {
	draw := func(values ...float64) []*chart.Plot {
		s := chart.Series{Name: "s"}
		for i, y := range values {
			s.Dots = append(s.Dots, chart.Dot{X: float64(i), Y: y})
		}
		return add(nil, &chart.Plot{Series: []chart.Series{s}})
	}
	require.True(t, draw(1, 1000)[0].LogY)
	require.False(t, draw(1, 50)[0].LogY)
	require.False(t, draw(0, 1000)[0].LogY, "nothing has no logarithm")
	require.Empty(t, draw(0, 0))
	require.Empty(t, draw(7))
}

func TestNotesSayWhatToDo(t *testing.T) {
	r := result()
	r.Proxy, r.ServerNote = "proxy:3128", "2 readings failed"
	r.Summary.Errors = append(r.Summary.Errors, metrics.ErrorCount{Class: metrics.ErrStale, Count: 3})
	all := strings.Join(New("b", nil, r).Notes, "\n")
	for _, want := range []string{"proxy proxy:3128", "NO_PROXY", "2 readings failed", "3 requests failed", "--connection-reuse-strategy never"} {
		require.Contains(t, all, want)
	}
}

func TestRequestsAsLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.jsonl")
	rec, err := CreateRecorder(path)
	require.NoError(t, err)
	rec.Start(time.Unix(1000, 0))
	rec.Add(record(0))
	failed := record(1)
	failed.Err = &metrics.Error{Class: metrics.ErrServer, Code: 500, Message: "x"}
	rec.Add(failed)
	require.NoError(t, rec.Close())
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	require.Len(t, lines, 2)
	var one, two Line
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &one))
	require.NoError(t, json.Unmarshal([]byte(lines[1]), &two))
	require.Equal(t, time.Unix(1000, 0).UnixNano()+100*msec, one.Metadata.Start)
	require.Equal(t, 10.0, one.Metrics[metrics.TagTTFT].Value)
	require.Nil(t, one.Error)
	require.Empty(t, two.Metrics)
	require.Equal(t, metrics.ErrServer, two.Error.Class)
}

// Student's t and Welch's test against tables and a worked example.
func TestStatistics(t *testing.T) {
	r := repeat([]float64{10, 12, 14}, "ms", 0.95)
	require.InDelta(t, 12, r.Mean, 1e-12)
	require.InDelta(t, 2, r.Std, 1e-12)
	require.InDelta(t, 12-4.302653*2/math.Sqrt(3), r.Low, 1e-5)
	require.InDelta(t, 1.0/6, r.CV, 1e-12)
	// Means 20.82 and 23.7 of 15 samples each.
	require.InDelta(t, 0.0106, welch(20.82, 2.80, 15, 23.71, 2.96, 15), 5e-4)
	require.Equal(t, 1.0, welch(5, 0, 3, 5, 0, 3))
	require.Equal(t, 0.0, welch(5, 0, 3, 6, 0, 3))
	alone := repeat([]float64{3}, "ms", 0.95)
	require.Equal(t, []float64{3, 3}, []float64{alone.Low, alone.High})
}

func TestComparison(t *testing.T) {
	a, b := document(), document()
	slow := b.Metrics[metrics.TagTTFT]
	slow.Avg += 40
	b.Metrics[metrics.TagTTFT] = slow
	found := map[string]Difference{}
	for _, d := range Compare(a, b, 0.05) {
		found[d.Tag] = d
	}
	require.True(t, found[metrics.TagTTFT].Differs)
	require.False(t, found[metrics.TagLatency].Differs)
	require.True(t, math.IsNaN(found[metrics.TagRequestThroughput].P), "one figure of one run says nothing of noise")
	var out bytes.Buffer
	require.NoError(t, WriteComparison(terminal.Screen{Writer: &out}, Compare(a, b, 0.05), 0.05))
	require.Contains(t, out.String(), "worse")
	require.Contains(t, out.String(), "repeat the runs")
	raw, err := json.Marshal(found[metrics.TagRequestThroughput])
	require.NoError(t, err)
	require.Contains(t, string(raw), `"p":null`)
	raw, err = json.Marshal(found[metrics.TagTTFT])
	require.NoError(t, err)
	require.Contains(t, string(raw), `"verdict":"worse"`)

	a.Runs = Repeats([]*load.Result{result(), result()}, 0.95)
	b.Runs = Repeats([]*load.Result{result(), result()}, 0.95)
	for _, d := range Compare(a, b, 0.05) {
		require.Equal(t, "2 and 2 runs", d.Basis)
		require.False(t, d.Differs, d.Tag)
	}
}

func FuzzReadLines(f *testing.F) {
	f.Add([]byte("{\"metadata\":{\"x_correlation_id\":\"a\",\"request_start_ns\":5,\"request_end_ns\":9},\"metrics\":{\"time_to_first_token\":{\"value\":1}},\"error\":null}\n"))
	f.Add([]byte("{}\n[]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		lines, err := ReadLines(bytes.NewReader(data))
		if err != nil {
			return
		}
		require.NoError(t, WriteLanes(io.Discard, lines))
	})
}
