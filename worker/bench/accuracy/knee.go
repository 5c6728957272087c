package accuracy

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/drive"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/pace"
)

// Knee is the highest rate at which an open loop still sends when it should:
// beyond it the send lag grows. The server runs on the same cores, so the
// machine's knee is lower than the client's own.
type Knee struct {
	What string `json:"what"`
	// Bound of the send lag's p99: a millisecond, or three times what the
	// machine's own timers are late, where that is more.
	Bound float64 `json:"send_lag_p99_bound_ms"`
	// PerSecond is the rate at the knee, Cores what the client used of the
	// processor there, PerCore their ratio.
	PerSecond float64 `json:"highest_per_s"`
	Cores     float64 `json:"client_cores_used"`
	PerCore   float64 `json:"per_client_core_s"`
	LagP99    float64 `json:"send_lag_p99_ms"`
	// Probes are the rates that were tried, in their order.
	Probes []KneeProbe `json:"probes"`
}

// KneeProbe is one rate of the search.
type KneeProbe struct {
	PerSecond float64 `json:"per_s"`
	Achieved  float64 `json:"achieved_per_s"`
	LagP99    float64 `json:"send_lag_p99_ms"`
	Lost      float64 `json:"schedule_lost_ms"`
	Cores     float64 `json:"client_cores_used"`
	Errors    int     `json:"errors"`
	Holds     bool    `json:"holds"`
}

// streamTokens are those of a stream in the search for the token rate, one
// every streamGap: it sends for half a second.
const (
	streamTokens = 50
	streamGap    = 10 * time.Millisecond
)

// knees searches the two knees.
func (m *measurer) knees(ctx context.Context, _ int) error {
	for _, k := range []struct {
		what, scenario string
		stream         bool
		gap            time.Duration
		each           float64 // of what is counted in a request
		least, most    float64 // requests per second
	}{
		{"requests, not streaming", "D(64,8)", false, 0, 1, 500, 1 << 20},
		{"streamed tokens", fmt.Sprintf("D(64,%d)", streamTokens), true, streamGap, streamTokens, 20, 1 << 16},
	} {
		bound := max(1, 3*m.report.Control.P99)
		knee := Knee{What: k.what, Bound: bound}
		spec := load.SearchSpec{Least: k.least, Most: k.most, Tolerance: 0.1, Attainment: load.Attainment{Good: 0.99, HasSLOs: true}}
		once := func(ctx context.Context, rate float64) (*load.Result, error) {
			plan, err := m.plan(k.scenario, k.stream, k.gap, k.gap)
			if err != nil {
				return nil, err
			}
			plan.SLOs = []metrics.SLO{{Tag: metrics.TagSendLag, Bound: bound}}
			plan.Profile.Shape = drive.Shape{Kind: drive.Open, Rate: rate, Arrival: pace.Constant}
			plan.Profile.Duration = min(m.length, 3*time.Second)
			plan.Warmup = nil
			before, began := CPU(), time.Now()
			res, err := load.Run(ctx, plan)
			if err != nil {
				return res, err
			}
			lag, _ := res.Summary.Get(metrics.TagSendLag)
			knee.Probes = append(knee.Probes, KneeProbe{
				PerSecond: rate * k.each, Achieved: k.each * float64(res.Drive.Issued) / plan.Profile.Duration.Seconds(), LagP99: lag.Stats.P99,
				Lost: float64(res.Drive.Lost) / 1e6, Cores: (CPU() - before).Seconds() / time.Since(began).Seconds(),
				Errors: int(res.Summary.Value(metrics.TagErrorCount)),
			})
			return res, m.oracle.forget(ctx)
		}
		points, best, err := load.Search(ctx, spec, func(ctx context.Context, rate float64) (*load.Result, error) {
			res, err := once(ctx, rate)
			if err != nil || spec.Attainment.Met(res) {
				return res, err
			}
			// One hiccup of the machine is no knee.
			knee.Probes = knee.Probes[:len(knee.Probes)-1]
			return once(ctx, rate)
		})
		if err != nil {
			return fmt.Errorf("searching the knee of %s: %w", k.what, err)
		}
		knee.take(points, best, k.each)
		m.report.Knees = append(m.report.Knees, knee)
	}
	return nil
}

// take reads the knee off the search's points, which are the probes' own.
func (k *Knee) take(points []load.Point, best *load.Point, each float64) {
	for i, p := range points {
		k.Probes[i].Holds = p.Meets
		if best != nil && p.Meets && p.Load == best.Load {
			probe := k.Probes[i]
			k.PerSecond, k.Cores, k.LagP99 = each*p.Load, probe.Cores, probe.LagP99
			k.PerCore = k.PerSecond / k.Cores
		}
	}
}

// raw writes a number into a request's body.
func raw(d time.Duration) json.RawMessage { return json.RawMessage(fmt.Sprint(d.Microseconds())) }
