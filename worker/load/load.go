// Package load is the load generator: the worker's measuring instrument and
// the engine of the bench command. A Plan says what to send, where and when;
// Run sends it and returns the figures. RunCell measures one cell of a fixed
// benchmark, a traffic scenario at one concurrency.
//
// The parts are packages of their own: input reads workloads, drive and
// agentic decide when requests go out, play and transport send them, metrics
// sums up. This package only puts them together.
package load

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/fleetune/fleetune/worker/load/agentic"
	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/drive"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/pace"
	"github.com/fleetune/fleetune/worker/load/play"
	"github.com/fleetune/fleetune/worker/load/scrape"
	"github.com/fleetune/fleetune/worker/load/telemetry"
	"github.com/fleetune/fleetune/worker/load/token"
	"github.com/fleetune/fleetune/worker/load/transport"
)

// A Plan is one run.
type Plan struct {
	Target transport.Config
	// Models to ask for; the first serves turns that name none.
	Models []string
	// Source gives the conversations; List is the same as a finite list, which
	// a fixed schedule needs. Both are unused in an agentic replay.
	Source conversation.Source
	List   []*conversation.Conversation
	// Warmup runs first and enters no figure; nil for none.
	Warmup  *drive.Phase
	Profile drive.Phase
	// Seamless begins profiling when the warm-up sends no more, while its
	// replies are still out, so that the load does not fall in between.
	Seamless bool
	// Agentic replays trees instead of driving conversations; of Profile only
	// Duration, Grace, Requests and the cancellations count then.
	Agentic *Agentic
	SLOs    []metrics.SLO
	// Slice is the length of a time slice; 0 makes none.
	Slice     time.Duration
	Seed      int64
	MaxTokens int
	// Marker makes the prompts of every session unlike all others', or those of
	// the warm-up unlike profiling's; in a replay, its own configuration does.
	Marker    play.Target
	Benchmark string // names the run in markers
	// Counter counts tokens where the server does not; nil is the byte
	// fallback.
	Counter token.Counter
	// OwnCounts enters the counter's figures even where the server counts.
	OwnCounts bool
	// ServerMetrics is the Prometheus endpoint of the engine; AutoMetrics
	// looks for one beside the first URL, and makes nothing of it if there is
	// none. Empty reads none.
	ServerMetrics string
	// GPUTelemetry is AutoGPUs, telemetry.Local or the URL of a DCGM exporter;
	// empty reads none. GPUs keeps to devices by their ids.
	GPUTelemetry  string
	GPUs          []string
	SessionHeader string
	Worker        string
	// Ready is called once the warm-up is over and tells when profiling
	// starts, so that several processes can start together; nil starts at once.
	Ready func(ctx context.Context) (time.Time, error)
	// Lead is how long after that start this plan's first request is due.
	Lead time.Duration
	// OnStart is called once before the first record, with the instant that
	// records count from; may be nil.
	OnStart func(epoch time.Time)
	// OnRecord gets every finished record, warm-up included, and OnRaw before
	// it all that was sent and received for it. Both may be nil, and are called
	// from many goroutines.
	OnRecord func(*metrics.Record)
	OnRaw    func(*metrics.Record, *transport.Raw)
	// OnServer gets every reading of the server's metrics, one after another,
	// with the phase that it was taken in, empty for none; may be nil.
	OnServer func(metrics.Phase, *scrape.Reading)
	// OnProgress is called about once a second from one goroutine; may be nil.
	OnProgress func(Progress)
	// KeepRequests is how many requests a share hands over with its result, for
	// the files that have a line for each.
	KeepRequests int
	// FailureLimit is the share of requests that may fail, warm-up included,
	// before the run is ended; 0 ends it for no number of failures.
	FailureLimit float64
}

// AutoMetrics as a plan's ServerMetrics looks for the endpoint by itself.
const AutoMetrics = "auto"

// Agentic is the replay of a plan.
type Agentic struct {
	agentic.Config
	Warmup bool
	// Pressure plays the trees on without delays after the warm-up, for a time
	// or so many requests of every lane; 0 and 0 for no such stage.
	Pressure      time.Duration
	PressureQuota int
}

// A Result is what a run measured.
type Result struct {
	Start, End time.Time
	Summary    *metrics.Summary
	Warmup     *metrics.Summary  // nil without a warm-up
	Drive      *drive.Report     // nil in an agentic replay
	Branches   *agentic.Counters // nil outside one
	Cancelled  bool
	// Tokens says what counted tokens where the server did not.
	Tokens string

	// GPUs are what the GPUs did, GPUNote why nothing or not all of it is known.
	GPUs    []telemetry.GPU
	GPUNote string
	// ServerNote says what is missing of the server's own figures; empty for
	// nothing, or where none were read.
	ServerNote string
	// Simulated is what the server said that it only simulates; empty for a
	// real one.
	Simulated string
	// Proxy is the host of the proxy that requests went through; empty without.
	Proxy string
	// Shares tell how the workers' shares went; nil when one process did it all.
	Shares []Share

	// What Part packs: the collectors, the figures of the server, and when
	// profiling began, in ns since Start.
	profile, warm *metrics.Collector
	figures       []metrics.Metric
	zero          int64
}

// ErrAllFailed is returned beside the result when not one request succeeded.
var ErrAllFailed = errors.New("every request failed")

// Run runs a plan. The end of ctx stops it at once with a valid partial
// result, which says so.
func Run(ctx context.Context, plan Plan) (*Result, error) {
	r, err := newRun(plan)
	if err != nil {
		return nil, err
	}
	defer r.close()
	if plan.OnStart != nil {
		plan.OnStart(r.epoch)
	}
	ctx, r.failures.end = context.WithCancelCause(ctx)
	defer r.failures.end(nil)
	server, err := r.scrape(ctx)
	if err != nil {
		return nil, err
	}
	stopProgress := r.watch(ctx)
	err = r.phases(ctx)
	stopProgress()
	figures, gaps := server(ctx)
	if err != nil {
		r.takeGPUs(ctx, &Result{})
		return nil, err
	}
	res := &Result{Start: r.epoch, End: time.Now(), Summary: r.profile.Summary(), Drive: r.report, Cancelled: ctx.Err() != nil, Tokens: r.cfg.Counter.Name()}
	if gaps > 0 {
		res.ServerNote = fmt.Sprintf("%d readings of the server's metrics failed: its own figures have gaps", gaps)
	}
	res.Simulated, res.Proxy = r.client.Simulated(), r.client.Proxy()
	res.profile, res.warm, res.figures, res.zero = r.profile, r.warm, figures, r.zero
	r.takeGPUs(ctx, res)
	res.Summary.Add(res.figures)
	res.efficiency()
	if r.warmed {
		res.Warmup = r.warm.Summary()
	}
	if r.machine != nil {
		res.Branches = &r.machine.Counters
	}
	switch {
	case r.failures.over(1):
		return res, r.failures.err()
	case r.machine != nil && r.machine.ChildFailed:
		return res, agentic.ErrChildFailed
	case res.Summary.Value(metrics.TagRequestCount) == 0 && res.Summary.Value(metrics.TagErrorCount) > 0 && !res.Cancelled:
		return res, ErrAllFailed
	}
	return res, nil
}

// run is a plan that runs.
type run struct {
	plan    Plan
	epoch   time.Time
	client  *transport.Client
	cfg     *play.Config
	pacer   *pace.Pacer
	runner  *drive.Runner
	profile *metrics.Collector
	warm    *metrics.Collector
	warmed  bool
	warming atomic.Bool
	scraper *scrape.Scraper                // nil where the server's metrics are not read
	begun   atomic.Int64                   // when the phase began, in ns since the epoch
	replays atomic.Pointer[agentic.Runner] // nil outside an agentic replay
	warmups warmups
	zero    int64 // when profiling began, if others had to be waited for
	report  *drive.Report
	gpus    *telemetry.Recorder // nil where none is read
	gpuNote string
	machine *agentic.Machine

	failures failures
}

func newRun(plan Plan) (*run, error) {
	if plan.Counter == nil {
		plan.Counter = token.Bytes{}
	}
	if plan.Agentic == nil {
		if plan.Source == nil {
			return nil, errors.New("the plan has no workload")
		}
		if plan.Seamless && (plan.Warmup == nil || plan.Ready != nil) {
			return nil, errors.New("a seamless start needs a warm-up, and cannot wait for others")
		}
		plan.Profile.Name = metrics.Profiling
		plan.Profile.Seed = plan.Seed
		if err := plan.Profile.Validate(); err != nil {
			return nil, fmt.Errorf("checking the load: %w", err)
		}
	}
	r := &run{plan: plan, epoch: time.Now(), failures: failures{limit: plan.FailureLimit}}
	var err error
	if r.client, err = transport.New(plan.Target, r.epoch); err != nil {
		return nil, fmt.Errorf("setting up the target: %w", err)
	}
	r.cfg = &play.Config{Client: r.client, Options: plan.Target.Options, Models: plan.Models, Counter: plan.Counter, OwnCounts: plan.OwnCounts,
		MaxTokens: plan.MaxTokens, Worker: plan.Worker, Epoch: r.epoch, SessionHeader: plan.SessionHeader, Raw: plan.OnRaw}
	opt := metrics.Options{SLOs: plan.SLOs, Slice: int64(plan.Slice)}
	r.profile, r.warm = metrics.NewCollector(opt), metrics.NewCollector(metrics.Options{SLOs: plan.SLOs})
	r.pacer = pace.NewThread()
	r.runner = &drive.Runner{Pacer: r.pacer, Sink: r.sink, Open: r.open}
	return r, nil
}

// open opens a session with its marker.
func (r *run) open(phase metrics.Phase, c *conversation.Conversation) (drive.Session, error) {
	s := play.Open(r.cfg, c)
	target, isolated := r.plan.Marker.Isolation()
	switch {
	case target == "" || target == play.NoMarker:
	case !isolated:
		s.Marker = play.Own(r.plan.Benchmark, s.ID(), r.plan.Marker)
	case phase == metrics.Warmup:
		s.Marker = play.Isolated(target)
	}
	return s, nil
}

func (r *run) close() {
	r.pacer.Stop()
	r.client.Close()
}

func (r *run) sink(rec *metrics.Record) {
	if rec.Phase == metrics.Profiling {
		r.profile.Add(rec)
	} else {
		r.warm.Add(rec)
	}
	if r.plan.OnRecord != nil {
		r.plan.OnRecord(rec)
	}
	r.failures.count(rec)
}
