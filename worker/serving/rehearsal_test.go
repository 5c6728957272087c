package serving

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/mockopenai"
	"github.com/fleetune/fleetune/worker/serving/testengine"
)

// At four times the clock's speed, a second by the clock was four.
func TestFiguresOfARehearsalAreInSimulatedTime(t *testing.T) {
	s := &Staged{spec: task.Serving{Simulate: &task.Simulate{GPU: "h100-sxm", Speed: 4}}}
	require.InDelta(t, 2, simulated(seconds, 0.5, s.speed()), 1e-9)
	require.InDelta(t, 25, simulated(tokensPerSecond, 100, s.speed()), 1e-9)
	require.InDelta(t, 5, simulated(requestsPerSecond, 20, s.speed()), 1e-9)
	require.InDelta(t, 8, simulated(perMillion, 2, s.speed()), 1e-9)
	require.InDelta(t, 0.5, simulated("", 0.5, s.speed()), 1e-9)
	require.Equal(t, 15*time.Second, s.byClock(time.Minute))
	require.InDelta(t, 250, s.boundsByClock([]metrics.SLO{{Bound: 1000}})[0].Bound, 1e-9)
	s.spec.Simulate.Speed = 0
	require.InDelta(t, 0.5, simulated(seconds, 0.5, s.speed()), 1e-9)
	s.spec.Simulate = nil
	require.InDelta(t, 0.5, simulated(seconds, 0.5, s.speed()), 1e-9)
	require.Equal(t, time.Minute, s.byClock(time.Minute))
}

// A server that runs already and says that it only simulates is marked too.
func TestASimulatedServerIsMarked(t *testing.T) {
	mock, err := mockopenai.Start(mockopenai.Config{})
	require.NoError(t, err)
	defer mock.Close()
	behind, err := url.Parse(mock.URL)
	require.NoError(t, err)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	front := httptest.NewServer(&httputil.ReverseProxy{Transport: transport, FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(behind) },
		ModifyResponse: func(r *http.Response) error {
			r.Header.Set("X-Simulated", "l40s")
			return nil
		}})
	defer front.Close()
	for at, want := range map[string]string{front.URL: "l40s", mock.URL: ""} {
		s := newStand(t, testengine.Good)
		s.spec.Launcher, s.spec.Endpoint, s.spec.Program = "endpoint", &task.Endpoint{URL: at}, nil
		s.offer.Parameters, s.spec.Benchmark.Concurrency = space.Point{}, []int{1}
		ready(t, s)
		res := s.do(t.Context())
		requireOutcome(t, experiment.OutcomeSuccess, res)
		require.Equal(t, want, res.Measurement.Serving.Simulated)
	}
}

// What an engine has cached is dropped before every cell: none finds what the
// one before left.
func TestCachesAreFlushedBetweenCells(t *testing.T) {
	mock, err := mockopenai.Start(mockopenai.Config{})
	require.NoError(t, err)
	defer mock.Close()
	origin, err := url.Parse(mock.URL)
	require.NoError(t, err)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	proxy := &httputil.ReverseProxy{Transport: transport, FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(origin) }}
	var flushed atomic.Int64
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/health_generate", "/health":
		case "/flush_cache":
			flushed.Add(1)
		default:
			proxy.ServeHTTP(w, r)
		}
	}))
	defer front.Close()
	s := newStand(t, testengine.Good)
	s.spec.Launcher, s.spec.Endpoint, s.spec.Program = "endpoint", &task.Endpoint{URL: front.URL}, nil
	s.spec.Runtime, s.spec.Engine = "sglang", "sglang"
	s.offer.Parameters, s.offer.Repeats = space.Point{}, 2
	requireOutcome(t, experiment.OutcomeSuccess, s.do(t.Context()))
	require.Equal(t, int64(len(s.spec.Benchmark.Concurrency)*2), flushed.Load(), "once for each cell and repeat")
}
