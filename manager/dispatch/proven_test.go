package dispatch

import (
	"testing"

	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/stretchr/testify/require"
)

// What is not proven is not called best, and is told all the same.
func TestProven(t *testing.T) {
	measured := func(candidate, baseline []float64) experiment.Measurement {
		return experiment.Measurement{
			Metrics:   map[string]experiment.Metric{"t": {Samples: candidate}},
			Reference: map[string]experiment.Metric{"t": {Samples: baseline}},
		}
	}
	steady := []float64{10, 10.1, 9.9}
	ranking := []search.Observation{{Number: 4}, {Number: 2}, {Number: 3}}
	confirmations := map[int]experiment.Measurement{
		4: measured([]float64{2, 11, 4}, steady), // the fastest, now and then
		3: measured([]float64{8, 12, 9}, steady),
	}

	_, speedup, note := proven(task.Minimize, "t", ranking, confirmations)
	require.Nil(t, speedup)
	require.Contains(t, note, "beyond the noise; #4 came nearest, with 2.50× (95 % confidence 0.9")

	confirmations[2] = measured([]float64{5, 5.1, 4.9}, steady)
	best, speedup, note := proven(task.Minimize, "t", ranking, confirmations)
	require.Equal(t, 2, best)
	require.InDelta(t, 2, speedup.Ratio, 1e-9)
	require.Empty(t, note)

	_, speedup, note = proven(task.Minimize, "t", ranking, map[int]experiment.Measurement{4: measured([]float64{11, 12, 13}, steady)})
	require.Nil(t, speedup)
	require.Equal(t, "no configuration beats the baseline beyond the noise", note)
}
