package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/scrape"
)

// reading is a page taken at a second of the run.
func reading(t *testing.T, second int, text string) *scrape.Reading {
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(strings.NewReader(text))
	require.NoError(t, err)
	return &scrape.Reading{URL: "http://engine/metrics", Sent: time.Unix(1_700_000_000+int64(second), 0), Latency: 5 * time.Millisecond, Families: families}
}

func engine(total, running, under, all int) string {
	return fmt.Sprintf("# HELP vllm:prompt_tokens_total Tokens.\n# TYPE vllm:prompt_tokens_total counter\nvllm:prompt_tokens_total{model=\"m\"} %d\n"+
		"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running %d\n# TYPE vllm:engine_info gauge\nvllm:engine_info{version=\"1\"} 1\n"+
		"# TYPE vllm:ttft_seconds histogram\nvllm:ttft_seconds_bucket{le=\"0.1\"} %d\nvllm:ttft_seconds_bucket{le=\"+Inf\"} %d\nvllm:ttft_seconds_sum %d\nvllm:ttft_seconds_count %d\n"+
		"# TYPE gc summary\ngc{quantile=\"0.5\"} 1\ngc_sum 1\ngc_count 1\n", total, running, under, all, all, all)
}

// What a server did in the warm-up, or was asked before the load, is not
// counted as done under the load; a server that is started anew begins at 0.
func TestTheServersMetricsUnderLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "server.jsonl")
	r, err := CreateServerRecorder(path)
	require.NoError(t, err)
	require.True(t, r.Empty())
	r.Add(metrics.Warmup, reading(t, 0, engine(1000, 9, 100, 100)))
	r.Add("", reading(t, 1, engine(2000, 9, 200, 200)))
	require.True(t, r.Empty())
	r.Add(metrics.Profiling, reading(t, 2, engine(2030, 1, 202, 204)))
	r.Add(metrics.Profiling, reading(t, 3, engine(2030, 1, 202, 204))) // nothing new
	r.Add(metrics.Profiling, reading(t, 5, engine(70, 4, 2, 4)))       // started anew
	require.NoError(t, r.Close())

	lines, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, 4, bytes.Count(lines, []byte("\n")), "a reading without news has no line")
	require.NotContains(t, string(lines), "engine_info")

	var out bytes.Buffer
	require.NoError(t, r.WriteJSON(&out, "b", struct{}{}))
	var doc struct {
		Summary struct {
			Info map[string]map[string]float64 `json:"endpoint_info"`
		}
		Metrics map[string]struct {
			Type, Unit, Description string
			Series                  []struct {
				Labels  map[string]string
				Stats   map[string]float64
				Buckets map[string]int
			}
		}
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &doc))
	require.Equal(t, 5.0, doc.Summary.Info["http://engine/metrics"]["total_fetches"])
	require.Equal(t, 4.0, doc.Summary.Info["http://engine/metrics"]["unique_updates"])
	require.NotContains(t, doc.Metrics, "gc", "a summary is of the server's whole life")
	tokens := doc.Metrics["vllm:prompt_tokens"]
	require.Equal(t, []string{"counter", "tokens", "Tokens."}, []string{tokens.Type, tokens.Unit, tokens.Description})
	require.Equal(t, map[string]string{"model": "m"}, tokens.Series[0].Labels)
	stats := tokens.Series[0].Stats
	require.Equal(t, []float64{100, 25, 0, 35}, []float64{stats["total"], stats["rate"], stats["rate_min"], stats["rate_max"]},
		"30 in a second, none in the next, and, started anew, 70 in two")
	require.InDelta(t, 65.0/3, stats["rate_avg"], 1e-9)
	running := doc.Metrics["vllm:num_requests_running"].Series[0].Stats
	require.Equal(t, 2.0, running["avg"])
	require.Equal(t, 4.0, running["max"])
	ttft := doc.Metrics["vllm:ttft_seconds"].Series[0]
	require.Equal(t, map[string]int{"0.1": 4, "+Inf": 8}, ttft.Buckets)
	require.Equal(t, 8.0, ttft.Stats["count"])
	require.Equal(t, 1.0, ttft.Stats["avg"])
	require.InDelta(t, 0.05, ttft.Stats["p25_estimate"], 1e-9)

	out.Reset()
	require.NoError(t, r.WriteCSV(&out, "b"))
	for _, holds := range []string{",counter,vllm:prompt_tokens,tokens,100.0000,25.0000,21.6667,0.0000,35.0000,15.4560,m,Tokens.\n", "0.1=4;+Inf=8\n", "vllm:engine_info,version,1,"} {
		require.Contains(t, out.String(), holds)
	}
}

func TestQuantilesOfBuckets(t *testing.T) {
	b := map[string]float64{"1": 10, "2": 10, "4": 30, "+Inf": 40}
	for q, want := range map[float64]float64{0: 0, 0.125: 0.5, 0.25: 1, 0.5: 3, 0.75: 4, 0.99: 4} {
		require.InDelta(t, want, quantile(b, q), 1e-9, "%v", q)
	}
	require.Zero(t, quantile(map[string]float64{"+Inf": 3}, 0.5))
}

func TestNamesOfTheLayout(t *testing.T) {
	for prefix, want := range map[string][]string{
		"":               {"profile_export_aiperf.json", "profile_export_aiperf_timeslices.csv", "profile_export.jsonl", "profile_export_raw.jsonl", "server_metrics_export.csv"},
		"x":              {"x.json", "x_timeslices.csv", "x.jsonl", "x_raw.jsonl", "x_server_metrics.csv"},
		"v1.2_raw.jsonl": {"v1.2.json", "v1.2_timeslices.csv", "v1.2.jsonl", "v1.2_raw.jsonl", "v1.2_server_metrics.csv"},
	} {
		l, err := NewLayout("d", prefix)
		require.NoError(t, err)
		for i, got := range []string{l.Summary(".json"), l.Slices(".csv"), l.Requests(), l.Raw(), l.Server(".csv")} {
			require.Equal(t, filepath.Join("d", want[i]), got)
		}
		require.Equal(t, filepath.Join("d", "inputs.json"), l.Inputs())
	}
	for _, prefix := range []string{"a/b", "..", ".", "/"} {
		_, err := NewLayout("d", prefix)
		require.Error(t, err, prefix)
	}
}

func TestInputsAreOneDocument(t *testing.T) {
	broken := errors.New("broken")
	for n := range 3 {
		var out bytes.Buffer
		require.NoError(t, WriteInputs(&out, func(yield func(Inputs, error) bool) {
			for range n {
				yield(Inputs{"s", []json.RawMessage{json.RawMessage(`{"a":1}`)}}, nil)
			}
		}))
		var doc struct{ Data []Inputs }
		require.NoError(t, json.Unmarshal(out.Bytes(), &doc), out.String())
		require.Len(t, doc.Data, n)
	}
	require.ErrorIs(t, WriteInputs(&bytes.Buffer{}, func(yield func(Inputs, error) bool) { yield(Inputs{}, broken) }), broken)
}
