package serving

import (
	"context"
	"math"
	"time"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/worker/device"
	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/telemetry"
)

// A Meter reads devices from now until the returned function is called, which
// says what they used.
type Meter func(ctx context.Context, devices []node.Device) (stop func() Usage)

// Usage is what devices used while a cell was loaded. NaN is not known.
type Usage struct {
	// Known says that something was read.
	Known bool
	// Utilization is the mean over devices and time, in percent.
	Utilization float64
	// Memory is the sum of the devices' peaks, in bytes.
	Memory float64
	// Power is the mean of all devices together in watts, Energy their sum in
	// joules.
	Power, Energy float64
}

const (
	// readEvery is how often devices are read.
	readEvery = time.Second
	// lastRead bounds the last reading.
	lastRead = 5 * time.Second
)

// Driver is the Meter that reads NVIDIA devices through their driver's tool.
// Where it cannot, nothing is known.
func Driver(ctx context.Context, devices []node.Device) (stop func() Usage) {
	var ids []string
	for _, d := range devices {
		if d.Vendor == device.NVIDIA {
			ids = append(ids, d.ID)
		}
	}
	nothing := func() Usage { return Usage{} }
	if len(ids) == 0 {
		return nothing
	}
	source, err := telemetry.Open(ctx, telemetry.Local, ids...)
	if err != nil {
		return nothing
	}
	recorder := telemetry.Start(ctx, source, readEvery)
	return func() Usage {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastRead)
		defer cancel()
		gpus, _ := recorder.Stop(ctx) // readings that failed are missing, no more
		return sum(gpus)
	}
}

// sum adds the devices up. A figure that one of them does not show is not
// known for all.
func sum(gpus []telemetry.GPU) Usage {
	if len(gpus) == 0 {
		return Usage{}
	}
	u := Usage{Known: true}
	for _, g := range gpus {
		of := func(tag string, value func(avg, most float64) float64) float64 {
			s, ok := g.Figures[tag]
			if !ok {
				return math.NaN()
			}
			return value(s.Avg, s.Max)
		}
		mean := func(avg, _ float64) float64 { return avg }
		peak := func(_, most float64) float64 { return most }
		u.Utilization += of(telemetry.TagUtilization, mean) / float64(len(gpus))
		u.Memory += of(telemetry.TagMemory, peak) * (1 << 30)
		u.Power += of(telemetry.TagPower, mean)
		u.Energy += g.Energy
	}
	if math.IsNaN(u.Power) {
		u.Energy = math.NaN()
	}
	return u
}

// meter starts the worker's meter, if it has one and devices to read.
func (s *Staged) meter(ctx context.Context, side *side) (stop func() Usage) {
	if s.kind.Meter == nil || s.spec.Simulate != nil || s.spec.Launcher == "endpoint" || onlySlots(s.devices) {
		return func() Usage { return Usage{} }
	}
	return s.kind.Meter(ctx, s.devicesOf(side))
}

// metrics of a usage. Energy is told per token that came out.
func (u Usage) metrics(result *load.CellResult, keep func(name, unit string, value float64)) {
	if !u.Known {
		return
	}
	keep("mean_power", "W", u.Power)
	keep("gpu_utilization", "%", u.Utilization)
	keep("gpu_memory_used", "bytes", u.Memory)
	if tokens := result.OutputThroughput * result.Elapsed.Seconds(); tokens > 0 {
		keep("energy_per_token", "J", u.Energy/tokens)
	}
}
