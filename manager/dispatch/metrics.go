package dispatch

import "github.com/prometheus/client_golang/prometheus"

// Metrics are what Prometheus reads of the dispatcher.
type Metrics struct {
	leading, workers, capacity          prometheus.Gauge
	offered, claimed, refused, deferred prometheus.Counter
	results                             *prometheus.CounterVec
	stale, requeued                     prometheus.Counter
	claimBatch, resultBatch             prometheus.Histogram
	claimSeconds, resultSeconds         prometheus.Histogram
	reoffered, purged, sweepStall       prometheus.Counter
}

// NewMetrics registers the dispatcher's metrics; a nil registry keeps them private.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "fleetune", Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "fleetune", Name: name, Help: help})
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "fleetune", Name: name, Help: help, Buckets: buckets})
	}
	sizes := prometheus.ExponentialBuckets(1, 4, 7)
	seconds := prometheus.ExponentialBuckets(0.001, 2, 12)
	m := &Metrics{
		leading:       gauge("leading", "1 while this manager dispatches."),
		workers:       gauge("workers_online", "Workers whose beats arrive."),
		capacity:      gauge("devices_healthy", "Healthy devices of workers that take work."),
		offered:       counter("offers_total", "Offers published."),
		claimed:       counter("claims_granted_total", "Claims granted."),
		refused:       counter("claims_refused_total", "Claims refused."),
		deferred:      counter("claims_deferred_total", "Claims of workers without the model, left to one that has it."),
		results:       prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "fleetune", Name: "results_total", Help: "Accepted results by outcome."}, []string{"outcome"}),
		stale:         counter("results_stale_total", "Results of stale epochs and repeats, which changed nothing."),
		requeued:      counter("experiments_requeued_total", "Experiments taken back from workers that fell silent."),
		claimBatch:    histogram("claim_batch_size", "Claims granted in one statement.", sizes),
		resultBatch:   histogram("result_batch_size", "Results committed in one statement.", sizes),
		claimSeconds:  histogram("claim_commit_seconds", "Time to commit a batch of claims.", seconds),
		resultSeconds: histogram("result_commit_seconds", "Time to commit a batch of results.", seconds),
		reoffered:     counter("offers_repeated_total", "Offers that the sweeper found missing and published again."),
		purged:        counter("offers_purged_total", "Offers that the sweeper found without a queued experiment and purged."),
		sweepStall:    counter("stalls_total", "Times this manager stood still and gave every lease the time back."),
	}
	if registry != nil {
		registry.MustRegister(m.leading, m.workers, m.capacity, m.offered, m.claimed, m.refused, m.deferred, m.results, m.stale, m.requeued,
			m.claimBatch, m.resultBatch, m.claimSeconds, m.resultSeconds, m.reoffered, m.purged, m.sweepStall)
	}
	return m
}
