package bench

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/fleetune/fleetune/worker/load/drive"
	"github.com/fleetune/fleetune/worker/load/pace"
)

// shapeOptions say how much load there is, when it is sent and when it ends.
type shapeOptions struct {
	Concurrency  int           `json:"concurrency,omitempty"`
	Prefill      int           `json:"prefill_concurrency,omitempty"`
	Rate         float64       `json:"request_rate,omitempty"`
	Arrival      string        `json:"arrival_pattern,omitempty"`
	Smoothness   float64       `json:"arrival_smoothness,omitempty"`
	UserRate     float64       `json:"user_centric_rate,omitempty"`
	Users        int           `json:"num_users,omitempty"`
	Schedule     bool          `json:"fixed_schedule,omitempty"`
	AutoOffset   bool          `json:"fixed_schedule_auto_offset,omitempty"`
	From         time.Duration `json:"fixed_schedule_start_ns,omitempty"`
	To           time.Duration `json:"fixed_schedule_end_ns,omitempty"`
	SpeedUp      float64       `json:"speed_up,omitempty"`
	ConcRamp     time.Duration `json:"concurrency_ramp_ns,omitempty"`
	PrefillRamp  time.Duration `json:"prefill_ramp_ns,omitempty"`
	RateRamp     time.Duration `json:"rate_ramp_ns,omitempty"`
	Requests     int           `json:"request_count,omitempty"`
	Sessions     int           `json:"num_sessions,omitempty"`
	Duration     time.Duration `json:"benchmark_duration_ns,omitempty"`
	Grace        time.Duration `json:"grace_period_ns"`
	CancelRate   float64       `json:"request_cancellation_rate,omitempty"`
	CancelDelay  time.Duration `json:"request_cancellation_delay_ns,omitempty"`
	FailureLimit float64       `json:"failed_request_threshold,omitempty"`
	Goodput      string        `json:"goodput,omitempty"`
}

func (s *shapeOptions) flags(f *pflag.FlagSet) {
	f.IntVarP(&s.Concurrency, "concurrency", "c", 0, "live sessions (default 1 in a closed loop, no limit otherwise)")
	f.IntVar(&s.Prefill, "prefill-concurrency", 0, "requests waiting for their first token; needs streaming")
	f.Float64VarP(&s.Rate, "request-rate", "r", 0, "requests per second of an open loop")
	f.StringVar(&s.Arrival, "arrival-pattern", "", "constant, poisson, gamma or burst (default poisson)")
	f.Float64Var(&s.Smoothness, "arrival-smoothness", 1, "shape of gamma arrivals: 1 is Poisson, less is burstier")
	f.Float64Var(&s.UserRate, "user-centric-rate", 0, "requests per second of users with a steady gap between turns")
	f.IntVar(&s.Users, "num-users", 0, "users of that load")
	f.BoolVar(&s.Schedule, "fixed-schedule", false, "send at the input's timestamps")
	f.BoolVar(&s.AutoOffset, "fixed-schedule-auto-offset", true, "count timestamps from the first")
	durationVar(f, &s.From, "fixed-schedule-start-offset", 0, time.Millisecond, "first timestamp to send")
	durationVar(f, &s.To, "fixed-schedule-end-offset", 0, time.Millisecond, "last timestamp to send")
	f.Float64Var(&s.SpeedUp, "fixed-schedule-speedup", 1, "how much faster than recorded")
	durationVar(f, &s.ConcRamp, "concurrency-ramp-duration", 0, time.Second, "time to full concurrency")
	durationVar(f, &s.PrefillRamp, "prefill-concurrency-ramp-duration", 0, time.Second, "time to full prefill concurrency")
	durationVar(f, &s.RateRamp, "request-rate-ramp-duration", 0, time.Second, "time to full rate")
	f.IntVarP(&s.Requests, "request-count", "n", 0, "requests to send (default the larger of 10 and twice the concurrency)")
	f.IntVar(&s.Sessions, "num-sessions", 0, "sessions to start")
	durationVarP(f, &s.Duration, "benchmark-duration", "d", 0, time.Second, "time to send for")
	durationVar(f, &s.Grace, "benchmark-grace-period", 0, time.Second, "time for requests in flight at the end; negative waits for all (default 30s after a --benchmark-duration, else all)")
	f.Float64Var(&s.CancelRate, "request-cancellation-rate", 0, "per cent of requests to hang up on")
	durationVar(f, &s.CancelDelay, "request-cancellation-delay", 0, time.Second, "time from sending to hanging up")
	f.Float64Var(&s.FailureLimit, "failed-request-threshold", 0, "share of requests, such as 0.1, that may fail before the run is ended with an error; 0 for no limit")
	f.StringVar(&s.Goodput, "goodput", "", "SLOs of every request, such as 'time_to_first_token:200 inter_token_latency:20'")
}

// shape is the load shape of the flags, the first of them that is asked for.
func (o *options) shape() drive.Shape {
	s := drive.Shape{
		Concurrency: o.Concurrency, Prefill: o.Prefill, Arrival: pace.Arrival(o.Arrival), Smoothness: o.Smoothness,
		ConcurrencyRamp: o.ConcRamp, PrefillRamp: o.PrefillRamp, RateRamp: o.RateRamp,
		SpeedUp: o.SpeedUp, From: o.From, To: o.To, AutoOffset: o.AutoOffset && o.From == 0, Users: o.Users,
	}
	switch {
	case o.Schedule:
		s.Kind = drive.Schedule
	case o.UserRate > 0:
		s.Kind, s.Rate = drive.Users, o.UserRate
		if o.InputFile == "" {
			s.Turns = o.TurnsMean
		}
	case o.Rate > 0 || s.Arrival == pace.Burst:
		s.Kind, s.Rate = drive.Open, o.Rate
	default:
		s.Kind, s.Concurrency = drive.Closed, max(1, o.Concurrency)
	}
	return s
}
