package serving

import (
	"context"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/worker/load"
)

// A Meter reads devices from now until the returned function is called, which
// says what they used.
type Meter func(ctx context.Context, devices []node.Device) (stop func() Usage)

// Usage is what devices used while a cell was loaded. NaN is not known.
type Usage struct {
	Known bool
	// Utilization is the mean over devices and time, in percent.
	Utilization float64
	// Memory is the peak of all devices together, in bytes.
	Memory float64
	// Power is the mean of all devices together in watts, Energy their sum in
	// joules.
	Power, Energy float64
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
