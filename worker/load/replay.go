package load

import (
	"context"
	"errors"
	"fmt"

	"github.com/fleetune/fleetune/worker/load/agentic"
	"github.com/fleetune/fleetune/worker/load/play"
)

func (r *run) replay(ctx context.Context) error {
	cfg := r.plan.Agentic.Config
	cfg.Seed = r.plan.Seed
	if cfg.MaxRequests == 0 {
		cfg.MaxRequests = r.plan.Profile.Requests
	}
	if cfg.MaxRequests == 0 && cfg.MaxTrees == 0 && r.plan.Profile.Duration == 0 {
		return errors.New("a replay needs an end: requests, trees or a duration")
	}
	var err error
	if r.machine, err = agentic.New(cfg); err != nil {
		return fmt.Errorf("setting up the replay: %w", err)
	}
	sessions := agentic.NewSessions(r.cfg, cfg.Marker, r.sink, &r.runner.InFlight)
	sessions.Hangups = play.NewHangups(r.plan.Profile.CancelPercent, r.plan.Profile.CancelDelay, r.plan.Seed)
	defer sessions.Close()
	runner := &agentic.Runner{Machine: r.machine, Player: sessions, Pacer: r.pacer, Duration: r.plan.Profile.Duration, Grace: r.plan.Profile.Grace,
		Tolerant: r.plan.FailureLimit > 0, OnWarmup: r.warmups.told}
	r.replays.Store(runner)
	if a := r.plan.Agentic; a.Warmup || a.Pressure > 0 || a.PressureQuota > 0 {
		r.warming.Store(true)
	}
	if r.plan.Agentic.Warmup {
		r.warmed = true
		if err := runner.Warmup(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
	if a := r.plan.Agentic; a.Pressure > 0 || a.PressureQuota > 0 {
		r.warmed = true
		if err := runner.Pressure(ctx, a.Pressure, a.PressureQuota); err != nil || ctx.Err() != nil {
			return err // a run that is stopped tells what it has
		}
	}
	r.warming.Store(false)
	if err := r.ready(ctx); err != nil || ctx.Err() != nil {
		return err // a run that is stopped tells what it has
	}
	return runner.Profile(ctx)
}
