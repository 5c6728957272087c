package agent

import (
	"context"
	"time"

	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/worker/command"
	"github.com/fleetune/fleetune/worker/load/share"
)

// Load runs shares of loads.
type Load struct{ *share.Runner }

// Stage works out what the share sends.
func (l Load) Stage(ctx context.Context, j command.Job) (Staged, *command.Result) {
	staged, result := l.Runner.Stage(ctx, j)
	if result != nil {
		return nil, result
	}
	return staged, nil
}

// shareDelay is how long an offer that is left to another worker stays away.
const shareDelay = 250 * time.Millisecond

// shareRest is how long whoever left one does not look where it was: the offer
// is back before, and all others have looked once before it is over.
const shareRest = shareDelay + lookEvery + lookEvery/4

// rest keeps this worker from looking into a queue of loads for a while. Else
// workers that look in step would snatch an offer from those that may have it.
func (a *Agent) rest(queue string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.resting[queue] = time.Now().Add(shareRest)
}

// rests says whether this worker leaves a queue to others.
func (a *Agent) rests(queue string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Now().Before(a.resting[queue])
}

// shares says that this worker has a share of the offer's load already, or a
// claim out for one: shares are for workers of their own, so the offer is left
// to another. If not, the claim counts as out until it is settled.
func (a *Agent) shares(o wire.Offer) bool {
	if o.Kind != task.KindLoad {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.loads[o.Task] {
		return true
	}
	for _, at := range a.attempts {
		if at.offer.Task == o.Task {
			return true
		}
	}
	a.loads[o.Task] = true
	return false
}

// settled forgets that claims were out: what was granted is an attempt now.
func (a *Agent) settled(offers []wire.Offer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, o := range offers {
		delete(a.loads, o.Task)
	}
}
