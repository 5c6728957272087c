package load

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/fleetune/fleetune/worker/load/metrics"
)

// Progress is where a run stands.
type Progress struct {
	Phase    metrics.Phase
	Elapsed  time.Duration
	InFlight int64
	// In is how long the phase has gone on, Lasts how long it sends, 0 if that
	// is open.
	In, Lasts time.Duration
	// Of is how many requests the phase has, 0 if that is open; Left how long
	// its last one is away at least, and Idle how long the next one, when
	// nothing is out until then.
	Of         int
	Left, Idle time.Duration
	metrics.Live
}

// warmups is what a replay's warm-up has told of itself.
type warmups struct {
	requests atomic.Int64
	last     atomic.Int64 // when the last is due, ns since 1970
}

func (w *warmups) told(requests int, last time.Time) {
	w.requests.Store(int64(requests))
	w.last.Store(last.UnixNano())
}

// watch reports progress until the returned function is called.
func (r *run) watch(ctx context.Context) (stop func()) {
	if r.plan.OnProgress == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				r.plan.OnProgress(r.progress())
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func (r *run) progress() Progress {
	p := Progress{Phase: metrics.Profiling, Elapsed: time.Since(r.epoch), InFlight: r.runner.InFlight.Load(), Live: r.profile.Live()}
	p.In = p.Elapsed - time.Duration(r.begun.Load())
	if r.warming.Load() {
		p.Phase, p.Live = metrics.Warmup, r.warm.Live()
		if w := r.plan.Warmup; w != nil {
			p.Of, p.Lasts = w.Requests, w.Duration
		}
		if n := int(r.warmups.requests.Load()); n > p.Done+p.Failed { // what comes after is the stage without delays
			p.Of, p.Left = n, max(0, time.Until(time.Unix(0, r.warmups.last.Load())))
		}
		return p
	}
	p.Of, p.Lasts = r.plan.Profile.Requests, r.plan.Profile.Duration
	if replay := r.replays.Load(); replay != nil {
		if at, ok := replay.Next(); ok {
			p.Idle = max(0, time.Until(at))
		}
	}
	return p
}
