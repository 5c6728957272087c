package load

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/worker/load/drive"
	"github.com/fleetune/fleetune/worker/load/endpoint"
	"github.com/fleetune/fleetune/worker/load/input"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/mockopenai"
	"github.com/fleetune/fleetune/worker/load/transport"
)

// A seamless warm-up's last reply comes after profiling's first request: here
// the server holds it back until then.
func TestProfilingBeginsWhileTheWarmupIsOut(t *testing.T) {
	begun := make(chan struct{})
	once := sync.OnceFunc(func() { close(begun) })
	server, err := mockopenai.Start(mockopenai.Config{Behave: func(n int, _ *mockopenai.Recording) mockopenai.Behaviour {
		switch n {
		case 0:
			select {
			case <-begun:
			case <-t.Context().Done():
			}
		case 2:
			once()
		}
		return mockopenai.Behaviour{}
	}})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	scenario, err := input.ParseScenario("D(8,2)")
	require.NoError(t, err)
	shape := drive.Shape{Kind: drive.Closed, Concurrency: 2}
	plan := Plan{
		Target: transport.Config{URLs: []string{server.URL}, Options: endpoint.Options{Kind: endpoint.Chat, Stream: true}}, Models: []string{"m"},
		Source: input.Synthetic{Scenario: scenario}.NewSource(), Seamless: true,
		Warmup:  &drive.Phase{Shape: shape, Requests: 2, Grace: -1},
		Profile: drive.Phase{Shape: shape, Requests: 4, Grace: -1},
	}
	res, err := Run(t.Context(), plan)
	require.NoError(t, err)
	require.EqualValues(t, 2, res.Warmup.Value(metrics.TagRequestCount))
	require.EqualValues(t, 4, res.Summary.Value(metrics.TagRequestCount))

	plan.Warmup = nil
	_, err = Run(t.Context(), plan)
	require.ErrorContains(t, err, "needs a warm-up")
}
