package serving

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/worker/load/metrics"
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
