package agent

import (
	"sync"
	"time"

	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/shared/bus"
)

// progressEvery bounds how often an attempt tells what it has measured: a
// program of microseconds must not flood the bus.
const progressEvery = 250 * time.Millisecond

// progress returns what takes an attempt's running samples to the manager; nil
// when the manager has not asked for them.
func (a *Agent) progress(at *attempt) func(map[string][]float64) {
	if !at.offer.Race {
		return nil
	}
	var mu sync.Mutex
	var sent time.Time
	return func(samples map[string][]float64) {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(sent) < progressEvery {
			return
		}
		p := wire.Progress{Version: wire.Version, Worker: a.Node.Worker, Experiment: at.offer.Experiment, Task: at.offer.Task,
			Epoch: at.grant.Epoch, Samples: map[string][]float64{}}
		for _, metric := range at.offer.Metrics {
			if values := samples[metric]; len(values) > 0 {
				p.Samples[metric] = values[:min(len(values), wire.MaxSamples)]
			}
		}
		if len(p.Samples) == 0 {
			return
		}
		if err := bus.Publish(a.Bus, wire.ProgressSubject(a.Node.Worker), p); err != nil {
			a.Log.Debug().Err(err).Msg("running samples not sent; the next ones say more")
			return
		}
		sent = time.Now()
	}
}

// enough stops an attempt that is surely worse than the incumbent. What it has
// measured is its result.
func (a *Agent) enough(e wire.Enough) {
	a.mu.Lock()
	at := a.attempts[e.Experiment]
	a.mu.Unlock()
	if at != nil && at.grant.Epoch == e.Epoch && at.offer.Race {
		at.stop(&errEnough{reason: e.Reason})
	}
}
