package drive

import (
	"sync"
	"time"

	"github.com/fleetune/fleetune/worker/load/pace"
)

// ramps grows the slots step by step: value v at D·(v−1)/(N−1). What it returns
// ends that: the slots may be another phase's afterwards.
func (r *phase) ramps(begin time.Time) (end func()) {
	var mu sync.Mutex
	over := false
	grow := func(s *slots, n int, long time.Duration) {
		if long <= 0 || n < 2 {
			return
		}
		s.setLimit(1)
		for v := 2; v <= n; v++ {
			r.Pacer.At(begin.Add(time.Duration(float64(long)*float64(v-1)/float64(n-1))), func() {
				mu.Lock()
				defer mu.Unlock()
				if !over {
					s.setLimit(v)
				}
			})
		}
	}
	grow(r.live, r.Shape.Concurrency, r.Shape.ConcurrencyRamp)
	grow(r.prefill, r.Shape.Prefill, r.Shape.PrefillRamp)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
	}
}

// rateStep is how often a rising rate takes a step.
const rateStep = 100 * time.Millisecond

// rate is the rate in force at a time since the start.
func (r *phase) rate(since time.Duration) float64 {
	d := r.Shape.RateRamp
	if d <= 0 || since >= d {
		return r.Shape.Rate
	}
	steps := float64(since/rateStep) + 1
	return r.Shape.Rate * min(1, steps*float64(rateStep)/float64(d))
}

// gap draws the gap before the next arrival. While the rate rises, a gap goes
// on at the rate of every step that it reaches into: drawn at the one where it
// begins, the first gaps of a long ramp would outlast much of it.
func (r *phase) gap(gaps *pace.Gaps, since time.Duration) time.Duration {
	if since >= r.Shape.RateRamp {
		return gaps.Next(r.Shape.Rate)
	}
	requests, at := gaps.Next(1).Seconds(), since
	for at < r.Shape.RateRamp {
		rate, step := r.rate(at), rateStep-at%rateStep
		if due := rate * step.Seconds(); due < requests {
			requests, at = requests-due, at+step
			continue
		}
		return at - since + time.Duration(requests/rate*float64(time.Second))
	}
	return at - since + time.Duration(requests/r.Shape.Rate*float64(time.Second))
}
