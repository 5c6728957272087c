package scrape

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fleetune/fleetune/worker/load/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func find(t *testing.T, in []metrics.Metric, tag string) metrics.Metric {
	for _, m := range in {
		if m.Tag == tag {
			return m
		}
	}
	t.Fatalf("no figure %s", tag)
	return metrics.Metric{}
}

func TestEnginesGoByOneName(t *testing.T) {
	for page, want := range map[string]map[string]float64{
		"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{engine=\"0\"} 3\nvllm:num_requests_running{engine=\"1\"} 4\n# TYPE vllm:prompt_tokens_total counter\nvllm:prompt_tokens_total 12\n": {"server_requests_running": 7, "server_prompt_tokens": 12},
		"# TYPE sglang:token_usage gauge\nsglang:token_usage{model=\"m\"} 0.5\nsglang:num_queue_reqs 2\n":                                                                                                      {"server_kv_cache_usage": 0.5, "server_requests_waiting": 2},
		"llamacpp:requests_processing 1\nllamacpp:tokens_predicted_total 9\n":                                                                                                                                  {"server_requests_running": 1, "server_generation_tokens": 9},
	} {
		families, err := parse(strings.NewReader(page))
		require.NoError(t, err)
		got, err := pick(families)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	families, err := parse(strings.NewReader("go_threads 3\n"))
	require.NoError(t, err)
	_, err = pick(families)
	require.ErrorIs(t, err, ErrUnknown)
}

func TestGaugesAreSampledAndCountersGrow(t *testing.T) {
	var n atomic.Int64
	seen := make(chan struct{}, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		i := n.Add(1)
		total := 100 * i
		if i > 2 {
			total = 10 * i // the engine was started anew
		}
		fmt.Fprintf(w, "vllm:num_requests_running %d\nvllm:generation_tokens_total %d\n", i, total)
		seen <- struct{}{}
	}))
	defer s.Close()
	x, err := Start(t.Context(), s.URL, time.Millisecond, nil)
	require.NoError(t, err)
	for range 4 {
		<-seen
	}
	out, failed := x.Stop(t.Context())
	require.Zero(t, failed, "a reading that is broken off at the end is no gap")
	last := float64(n.Load())
	running := find(t, out, "server_requests_running")
	require.Equal(t, last, running.Stats.Max)
	// 100 from the first to the second, 30 as the engine began anew, then 10 each.
	require.Equal(t, 100+30+10*(last-3), find(t, out, "server_generation_tokens").Stats.Avg)
	require.True(t, find(t, out, "server_generation_tokens").Aggregate)
}

func TestGapsAreCounted(t *testing.T) {
	broken := atomic.Bool{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if broken.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "vllm:num_requests_running 1")
	}))
	defer s.Close()
	x, err := Start(t.Context(), s.URL, time.Hour, nil)
	require.NoError(t, err)
	broken.Store(true)
	out, failed := x.Stop(t.Context())
	require.Equal(t, 1, failed)
	require.Equal(t, 1, find(t, out, "server_requests_running").Stats.Count)
}

func TestAServerWithoutFigures(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	_, err := Start(t.Context(), s.URL, time.Second, nil)
	require.ErrorContains(t, err, "404")
}

func FuzzParse(f *testing.F) {
	f.Add("vllm:num_requests_running 3\n")
	f.Add("# TYPE sglang:token_usage gauge\nsglang:token_usage{model=\"m\"} 0.5\n")
	f.Fuzz(func(_ *testing.T, page string) { _, _ = parse(strings.NewReader(page)) })
}
