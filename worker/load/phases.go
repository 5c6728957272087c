package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fleetune/fleetune/worker/load/drive"
	"github.com/fleetune/fleetune/worker/load/metrics"
)

func (r *run) phases(ctx context.Context) error {
	if r.plan.Agentic != nil {
		return r.replay(ctx)
	}
	warmed, err := r.warmUp(ctx)
	if err != nil {
		return err
	}
	if !r.plan.Seamless {
		if err := warmed.wait(); err != nil {
			return err
		}
	}
	err = r.measure(ctx, warmed.sent)
	if r.plan.Seamless {
		err = errors.Join(err, warmed.wait())
	}
	return err
}

// warmup is one whose requests have been sent; the zero value is none.
type warmup struct {
	sent *drive.Sent
	over chan error // gets how it ended
}

// warmUp sends the warm-up, if there is one.
func (r *run) warmUp(ctx context.Context) (w warmup, err error) {
	if r.plan.Warmup == nil {
		return w, nil
	}
	p := *r.plan.Warmup
	p.Name, p.Seed, r.warmed = metrics.Warmup, r.plan.Seed, true
	r.warming.Store(true)
	defer r.warming.Store(false)
	if w.sent, err = r.runner.Send(ctx, p, r.plan.Source, r.plan.List, nil); err != nil {
		return w, fmt.Errorf("warming up: %w", err)
	}
	w.over = make(chan error, 1)
	end := func() {
		_, err := w.sent.Wait(ctx)
		w.over <- err
	}
	if r.plan.Seamless {
		go end() // its grace begins now; whoever has the warm-up waits for it
	} else {
		end()
	}
	return w, nil
}

// wait waits until nothing of the warm-up is out.
func (w warmup) wait() error {
	if w.over == nil {
		return nil
	}
	if err := <-w.over; err != nil {
		return fmt.Errorf("warming up: %w", err)
	}
	return nil
}

// measure is profiling, after a warm-up that may not be over.
func (r *run) measure(ctx context.Context, after *drive.Sent) error {
	if err := r.ready(ctx); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return nil //nolint:nilerr // a run that is stopped tells what it has
	}
	if !r.plan.Seamless {
		after = nil
	}
	sent, err := r.runner.Send(ctx, r.plan.Profile, r.plan.Source, r.plan.List, after)
	if err == nil {
		r.report, err = sent.Wait(ctx)
	}
	if err != nil {
		return fmt.Errorf("profiling: %w", err)
	}
	return nil
}

// ready waits for the instant at which profiling starts, and begins to watch
// what it does to the machine.
func (r *run) ready(ctx context.Context) error {
	r.readServer(ctx)
	if err := r.awaitStart(ctx); err != nil || ctx.Err() != nil {
		return err // a run that is stopped tells what it has
	}
	r.begun.Store(int64(time.Since(r.epoch)))
	return r.watchGPUs(ctx)
}

// awaitStart waits for the others of a load that is shared out.
func (r *run) awaitStart(ctx context.Context) error {
	if r.plan.Ready == nil || ctx.Err() != nil {
		return nil //nolint:nilerr // a run that is stopped tells what it has
	}
	at, err := r.plan.Ready(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // a run that is stopped tells what it has
		}
		return fmt.Errorf("waiting for the start: %w", err)
	}
	_ = r.pacer.SleepUntil(ctx, at.Add(r.plan.Lead)) // the end of ctx shows right after
	r.zero = int64(at.Sub(r.epoch))
	r.profile.Begin(r.zero)
	return nil
}
