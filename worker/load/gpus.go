package load

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/telemetry"
)

// AutoGPUs as a plan's GPUTelemetry reads this machine's GPUs where the server
// is on this machine too, and makes nothing of it if there are none.
const AutoGPUs = "auto"

// gpuEvery is how often GPUs are read.
const gpuEvery = time.Second

// watchGPUs starts reading the GPUs as profiling begins.
func (r *run) watchGPUs(ctx context.Context) error {
	where := r.plan.GPUTelemetry
	if where == "" {
		return nil
	}
	auto := where == AutoGPUs
	if auto {
		if where = telemetry.Local; !here(r.plan.Target.URLs) {
			r.gpuNote = "no GPU telemetry: the server is on another machine; name its DCGM exporter to have it"
			return nil
		}
	}
	source, err := telemetry.Open(ctx, where, r.plan.GPUs...)
	switch {
	case err != nil && auto:
		r.gpuNote = err.Error()
		return nil
	case err != nil:
		return fmt.Errorf("setting up the GPU telemetry: %w", err)
	}
	r.gpus = telemetry.Start(ctx, source, gpuEvery)
	return nil
}

// here says that all servers are on this machine.
func here(urls []string) bool {
	for _, raw := range urls {
		u, err := url.Parse(raw)
		if err != nil {
			return false
		}
		if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return false
		}
	}
	return true
}

// takeGPUs ends the reading and adds the figures to the result.
func (r *run) takeGPUs(ctx context.Context, res *Result) {
	res.GPUNote = r.gpuNote
	if r.gpus == nil {
		return
	}
	var err error
	if res.GPUs, err = r.gpus.Stop(ctx); err != nil {
		res.GPUNote = err.Error()
	}
	res.figures = append(res.figures, telemetry.Figures(res.GPUs)...)
}

// efficiency relates the energy to what was served.
func (r *Result) efficiency() {
	r.Summary.Add(telemetry.Efficiency(r.Summary.Value(telemetry.TagEnergy), r.Summary.Value(metrics.TagRequestCount), r.Summary.Value("total_osl")))
}
