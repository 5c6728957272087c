package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/agentic"
	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/dataset"
	"github.com/fleetune/fleetune/worker/load/drive"
	"github.com/fleetune/fleetune/worker/load/input"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/play"
	"github.com/fleetune/fleetune/worker/load/token"
	"github.com/fleetune/fleetune/worker/load/transport"
)

// workload is what the flags say to send.
type workload struct {
	// source gives the conversations of the n-th run. Synthetic ones differ
	// from run to run: the server's prefix cache would know them otherwise.
	source func(n int) (conversation.Source, error)
	list   []*conversation.Conversation
	// prompts says how synthetic ones are made.
	prompts string
	// file is what the input holds, and stats its figures; nil for synthetic
	// prompts.
	file    *input.Workload
	stats   *dataset.Stats
	counter token.Counter
}

func (o *options) workload(ctx context.Context) (*workload, error) {
	counter, words, err := o.counter()
	if err != nil {
		return nil, err
	}
	if o.InputFile == "" {
		return o.synthetic(counter, words)
	}
	d, err := o.dataset(ctx, counter, words)
	if err != nil {
		return nil, err
	}
	w := d.Workload
	order, err := conversation.ParseOrder(o.Order)
	if err != nil {
		return nil, fmt.Errorf("--dataset-sampling-strategy: %w", err)
	}
	return &workload{file: w, stats: &d.Stats, counter: counter, list: w.Conversations, source: func(int) (conversation.Source, error) {
		return conversation.NewDataset(w.Conversations, order, o.Seed)
	}}, nil
}

func (o *options) synthetic(counter token.Counter, words *token.Words) (*workload, error) {
	scenario, err := o.scenario()
	if err != nil {
		return nil, err
	}
	order := conversation.Shuffle
	if o.Order != "" {
		if order, err = conversation.ParseOrder(o.Order); err != nil {
			return nil, fmt.Errorf("--dataset-sampling-strategy: %w", err)
		}
	}
	s := input.Synthetic{Scenario: scenario, SharedSystem: o.SharedSystem, UserContext: o.UserContext, DelayRatio: o.DelayRatio,
		Prefixes: o.Prefixes, PrefixLength: o.PrefixLength, Documents: o.Documents, Seed: o.Seed, Words: words}
	if o.TurnsMean > 0 {
		s.Turns = input.Length{Law: input.Normal, A: o.TurnsMean, B: o.TurnsStd}
	}
	if o.DelayMean > 0 {
		s.Delay = input.Length{Law: input.Normal, A: o.DelayMean, B: o.DelayStd}
	}
	return &workload{counter: counter, prompts: scenario.String(), list: s.Take(max(o.Preview, 1)), source: func(n int) (conversation.Source, error) {
		of := s
		of.Seed += int64(n)
		if o.Limit > 0 { // so many different ones, again and again
			return conversation.NewDataset(of.Take(o.Limit), order, of.Seed)
		}
		return of.NewSource(), nil
	}}, nil
}

// trees are the workload's agentic traces, if it has any.
func (w *workload) trees() bool { return w.file != nil && len(w.file.Trees) > 0 }

// target is the server. With workers the key's name is that of a secret of
// theirs, and nothing is sent from here.
func (o *options) target() (transport.Config, error) {
	t := o.targetOptions
	if o.Workers > 0 {
		t.APIKeyEnv = ""
	}
	return t.target()
}

// plan makes the plan of the n-th run.
func (o *options) plan(w *workload, n int) (*load.Plan, error) {
	target, err := o.target()
	if err != nil {
		return nil, err
	}
	slos, err := metrics.ParseSLOs(o.Goodput)
	if err != nil {
		return nil, fmt.Errorf("--goodput: %w", err)
	}
	shape := o.shape()
	p := &load.Plan{
		Target: target, Models: o.Models, List: w.list, SLOs: slos, Slice: o.Slice, Seed: o.Seed, MaxTokens: o.MaxTokens, Counter: w.counter, OwnCounts: !o.ServerCounts,
		SessionHeader: o.SessionHeader, ServerMetrics: o.ServerMetrics, GPUTelemetry: o.GPUTelemetry, Worker: fmt.Sprintf("local-%d", os.Getpid()),
		FailureLimit: o.FailureLimit,
		Profile: drive.Phase{Name: metrics.Profiling, Shape: shape, Requests: o.Requests, Sessions: o.Sessions, Duration: o.Duration,
			Grace: o.Grace, CancelPercent: o.CancelRate, CancelDelay: o.CancelDelay},
	}
	if w.trees() {
		return p, o.agentic(p, w)
	}
	if p.Source, err = w.source(n); err != nil {
		return nil, err
	}
	if p.Marker, err = play.ParseTarget(o.CacheBust); err != nil {
		return nil, fmt.Errorf("--cache-bust: %w", err)
	}
	p.Benchmark = fmt.Sprintf("%d-%d", o.Seed, time.Now().UnixNano())
	if shape.Kind != drive.Schedule && o.Requests == 0 && o.Sessions == 0 && o.Duration == 0 {
		p.Profile.Requests = max(10, 2*shape.Concurrency)
	}
	err = p.Profile.Validate()
	if p.Warmup, p.Seamless = o.warmup(shape), o.Seamless; p.Warmup != nil {
		err = errors.Join(err, p.Warmup.Validate())
	}
	return p, err
}

func (o *options) agentic(p *load.Plan, w *workload) error {
	marker, err := play.ParseTarget(o.CacheBust)
	if err != nil {
		return fmt.Errorf("--cache-bust: %w", err)
	}
	if _, isolated := marker.Isolation(); isolated {
		return errors.New("--cache-bust: a replay's warm-up fills the caches that it is measured with; it cannot be isolated")
	}
	order, err := conversation.ParseOrder(o.Order)
	if err != nil {
		return fmt.Errorf("--dataset-sampling-strategy: %w", err)
	}
	cfg := agentic.Config{
		Order: order, Trees: w.file.Trees, Lanes: max(1, o.Concurrency), Seed: o.Seed, StartMin: o.StartMin, StartMax: o.StartMax,
		AllowWrap: o.Wrap, Marker: marker, Benchmark: fmt.Sprintf("%d-%d", o.Seed, time.Now().UnixNano()),
		LaneCap: o.LaneCap, TreeIdleCap: o.TreeIdle, IdleCap: o.SystemIdle, WarmCap: o.WarmCap, Burst: o.Burst, NoDelays: o.IgnoreDelays, MaxTrees: o.Sessions, MaxRequests: o.Requests,
		Barriers: o.Barriers, FailFast: o.FailFast,
	}
	timed := w.file.Trees[0].Timed
	if !timed && o.StartMin == usualStartMin && o.StartMax == usualStartMax {
		cfg.StartMin, cfg.StartMax = 0, 0 // authored trees are played from their beginning, unless told otherwise
	}
	if o.Requests == 0 && o.Sessions == 0 && o.Duration == 0 {
		cfg.MaxTrees = max(cfg.Lanes, len(w.file.Trees))
	}
	p.Agentic = &load.Agentic{Config: cfg, Warmup: o.AgentWarmup && (timed || cfg.StartMax > 0), Pressure: o.Pressure, PressureQuota: o.Quota}
	return nil
}
