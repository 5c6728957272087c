package bench

import (
	"cmp"
	"errors"
	"time"

	"github.com/spf13/pflag"

	"github.com/fleetune/fleetune/worker/load/drive"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/pace"
)

// warmupOptions say how the server is loaded before measuring. What they leave
// open is as it is in profiling.
type warmupOptions struct {
	WarmRequests    int           `json:"warmup_request_count,omitempty"`
	WarmSessions    int           `json:"num_warmup_sessions,omitempty"`
	WarmDuration    time.Duration `json:"warmup_duration_ns,omitempty"`
	WarmGrace       time.Duration `json:"warmup_grace_period_ns,omitempty"`
	WarmConcurrency int           `json:"warmup_concurrency,omitempty"`
	WarmPrefill     int           `json:"warmup_prefill_concurrency,omitempty"`
	WarmRate        float64       `json:"warmup_request_rate,omitempty"`
	WarmArrival     string        `json:"warmup_arrival_pattern,omitempty"`
	WarmConcRamp    time.Duration `json:"warmup_concurrency_ramp_ns,omitempty"`
	WarmPrefillRamp time.Duration `json:"warmup_prefill_ramp_ns,omitempty"`
	WarmRateRamp    time.Duration `json:"warmup_rate_ramp_ns,omitempty"`
	Seamless        bool          `json:"warmup_seamless,omitempty"`
}

func (w *warmupOptions) flags(f *pflag.FlagSet) {
	f.IntVar(&w.WarmRequests, "warmup-request-count", 0, "requests before measuring")
	f.IntVar(&w.WarmSessions, "num-warmup-sessions", 0, "sessions before measuring")
	durationVar(f, &w.WarmDuration, "warmup-duration", 0, time.Second, "time before measuring")
	durationVar(f, &w.WarmGrace, "warmup-grace-period", -1, time.Second, "time for requests in flight at its end; negative waits for all")
	f.IntVar(&w.WarmConcurrency, "warmup-concurrency", 0, "live sessions of the warm-up (default --concurrency)")
	f.IntVar(&w.WarmPrefill, "warmup-prefill-concurrency", 0, "its requests waiting for their first token (default --prefill-concurrency)")
	f.Float64Var(&w.WarmRate, "warmup-request-rate", 0, "its requests per second (default --request-rate)")
	f.StringVar(&w.WarmArrival, "warmup-arrival-pattern", "", "its arrivals (default --arrival-pattern)")
	durationVar(f, &w.WarmConcRamp, "warmup-concurrency-ramp-duration", 0, time.Second, "its time to full concurrency (default --concurrency-ramp-duration)")
	durationVar(f, &w.WarmPrefillRamp, "warmup-prefill-concurrency-ramp-duration", 0, time.Second, "its time to full prefill concurrency (default --prefill-concurrency-ramp-duration)")
	durationVar(f, &w.WarmRateRamp, "warmup-request-rate-ramp-duration", 0, time.Second, "its time to full rate (default --request-rate-ramp-duration)")
	f.BoolVar(&w.Seamless, "warmup-seamless", false, "begin profiling while the warm-up's last replies are still out, for the load not to fall in between")
}

// ends reports whether the warm-up is asked for: it has an end.
func (w *warmupOptions) ends() bool {
	return w.WarmRequests > 0 || w.WarmSessions > 0 || w.WarmDuration > 0
}

func (w *warmupOptions) validate() error {
	with := *w
	with.WarmRequests, with.WarmSessions, with.WarmDuration, with.WarmGrace = 0, 0, 0, 0
	if with != (warmupOptions{}) && !w.ends() {
		return errors.New("a warm-up needs an end: --warmup-request-count, --num-warmup-sessions or --warmup-duration")
	}
	return nil
}

// warmup is the phase before profiling, nil for none. Whatever profiling's
// shape is, a warm-up is a closed loop or an open one.
func (o *options) warmup(shape drive.Shape) *drive.Phase {
	w := &o.warmupOptions
	if !w.ends() {
		return nil
	}
	if shape.Kind == drive.Schedule || shape.Kind == drive.Users {
		shape = drive.Shape{Kind: drive.Closed, Concurrency: max(1, o.Concurrency, o.Users)}
	}
	if w.WarmRate > 0 {
		shape.Kind, shape.Rate = drive.Open, w.WarmRate
		if o.Concurrency == 0 {
			shape.Concurrency = 0
		}
	}
	shape.Arrival = pace.Arrival(cmp.Or(w.WarmArrival, string(shape.Arrival)))
	shape.Concurrency = cmp.Or(w.WarmConcurrency, shape.Concurrency)
	shape.Prefill = cmp.Or(w.WarmPrefill, shape.Prefill)
	shape.ConcurrencyRamp = cmp.Or(w.WarmConcRamp, shape.ConcurrencyRamp)
	shape.PrefillRamp = cmp.Or(w.WarmPrefillRamp, shape.PrefillRamp)
	shape.RateRamp = cmp.Or(w.WarmRateRamp, shape.RateRamp)
	return &drive.Phase{Name: metrics.Warmup, Shape: shape, Requests: w.WarmRequests, Sessions: w.WarmSessions, Duration: w.WarmDuration, Grace: w.WarmGrace}
}
