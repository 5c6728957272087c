package load

import (
	"context"
	"time"

	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/scrape"
)

// scrape starts reading the engine's own figures, warm-up included. The
// returned function ends that, and tells how many readings failed.
func (r *run) scrape(ctx context.Context) (stop func(context.Context) ([]metrics.Metric, int), err error) {
	none := func(context.Context) ([]metrics.Metric, int) { return nil, 0 }
	url := r.plan.ServerMetrics
	switch url {
	case "":
		return none, nil
	case AutoMetrics:
		url = r.client.Beside("/metrics")
	}
	s, err := scrape.Start(ctx, url, time.Second, r.reading)
	switch {
	case err != nil && r.plan.ServerMetrics == AutoMetrics:
		return none, nil
	case err != nil:
		return nil, err
	}
	r.scraper = s
	return s.Stop, nil
}

// readServer reads the server's metrics where a phase begins, for what happened
// in the one before not to count among what happens in it.
func (r *run) readServer(ctx context.Context) {
	if r.scraper != nil && r.warmed && r.plan.OnServer != nil {
		r.scraper.Read(ctx)
	}
}

// reading passes a reading on with the phase that it was taken in.
func (r *run) reading(x *scrape.Reading) {
	if r.plan.OnServer == nil {
		return
	}
	var phase metrics.Phase
	switch {
	case r.warming.Load():
		phase = metrics.Warmup
	case r.begun.Load() > 0:
		phase = metrics.Profiling
	}
	r.plan.OnServer(phase, x)
}
