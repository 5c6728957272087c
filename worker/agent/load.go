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

// shares says that this worker has a share of the offer's load already, or is
// about to claim one: shares are for workers of their own, so the offer is
// left to another.
func (a *Agent) shares(o wire.Offer, claiming []wire.Offer) bool {
	if o.Kind != task.KindLoad {
		return false
	}
	for _, c := range claiming {
		if c.Task == o.Task {
			return true
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, at := range a.attempts {
		if at.offer.Task == o.Task {
			return true
		}
	}
	return false
}
