package serving

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/worker/serving/testengine"
	"github.com/stretchr/testify/require"
)

// driver puts a program in the place of the driver's tool.
func driver(t *testing.T, lines string) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nvidia-smi"), []byte("#!/bin/sh\ncat <<END\n"+lines+"\nEND\n"), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// What the experiment's own devices use is measured, others' is not.
func TestDevicesAreMetered(t *testing.T) {
	driver(t, "GPU-1, NVIDIA H100, 90, 1024, 600, 60, 1700\nGPU-2, NVIDIA H100, 50, 2048, 400, 60, 1700\nGPU-3, NVIDIA H100, 1, 4096, 70, 60, 1700")
	s := newStand(t, testengine.Good)
	s.config.Meter = Driver
	for _, id := range []string{"GPU-1", "GPU-2"} {
		s.devices = append(s.devices[:len(s.devices):len(s.devices)], node.Device{ID: id, Vendor: "nvidia", Model: "NVIDIA H100", Memory: 80e9, Health: node.Healthy})
	}
	s.devices = s.devices[1:]
	s.spec.Benchmark.Concurrency = []int{1}
	usage := Driver(t.Context(), s.devices)()
	require.True(t, usage.Known)
	require.InDelta(t, 70, usage.Utilization, 1e-9)
	require.InDelta(t, 3<<30, usage.Memory, 1)
	require.InDelta(t, 1000, usage.Power, 1e-9)

	res := s.do(t.Context())
	requireOutcome(t, experiment.OutcomeSuccess, res)
	metrics := res.Measurement.Serving.Cells[0].Metrics
	require.Contains(t, []float64{600, 1000}, metrics["mean_power"].Median) // of as many devices as the engine uses
	require.Positive(t, metrics["energy_per_token"].Median)
}

// A figure that one device hides is not made up from the others.
func TestHiddenFiguresStayUnknown(t *testing.T) {
	driver(t, "GPU-1, NVIDIA H100, 90, 1024, 600, 60, 1700\nGPU-2, NVIDIA GB10, 12, [N/A], [Not Supported], 40, [N/A]")
	gpus := []node.Device{{ID: "GPU-1", Vendor: "nvidia"}, {ID: "GPU-2", Vendor: "nvidia"}}
	usage := Driver(t.Context(), gpus)()
	require.InDelta(t, 51, usage.Utilization, 1e-9)
	for _, x := range []float64{usage.Memory, usage.Power, usage.Energy} {
		require.True(t, math.IsNaN(x), x)
	}
}

func TestNoDriver(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	require.False(t, Driver(t.Context(), []node.Device{{ID: "GPU-1", Vendor: "nvidia"}})().Known)
	require.False(t, Driver(t.Context(), []node.Device{{ID: "cpu-1", Vendor: node.CPU}})().Known)
}
