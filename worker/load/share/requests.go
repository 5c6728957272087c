package share

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/report"
)

// requests keeps a line for each of the first requests of a share, as the files
// of requests have them.
type requests struct {
	defs []metrics.Definition
	most int
	// large is how many bytes are too many for a share that was stopped.
	large int

	mu    sync.Mutex
	epoch time.Time
	lines []json.RawMessage
	left  int
}

// listen makes a plan's run tell of its requests, if they are asked for.
func listen(plan *load.Plan) *requests {
	r := &requests{most: plan.KeepRequests, large: mostStopped}
	if r.most > 0 {
		r.defs = metrics.Definitions()
		plan.OnStart, plan.OnRecord = r.start, r.add
	}
	return r
}

func (r *requests) start(epoch time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epoch = epoch
}

func (r *requests) add(rec *metrics.Record) {
	r.mu.Lock()
	epoch, room := r.epoch, len(r.lines) < r.most
	r.mu.Unlock()
	var line json.RawMessage
	if room {
		var err error
		if line, err = json.Marshal(report.NewLine(rec, epoch, r.defs)); err != nil {
			line = nil // it counts as left out
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if line == nil || len(r.lines) == r.most {
		r.left++
		return
	}
	r.lines = append(r.lines, line)
}

// mostStopped is how large a result with requests may be that has to be handed
// over before a device must be free.
const mostStopped = 4 << 20

// encode packs a part with the requests; those that cannot be handed over in
// time are left out.
func (r *requests) encode(part *load.Part, stopped bool) ([]byte, error) {
	part.Requests, part.RequestsLeft = r.lines, r.left
	data, err := part.Encode()
	if err == nil && stopped && len(r.lines) > 0 && len(data) > r.large {
		part.Requests, part.RequestsLeft = nil, r.left+len(r.lines)
		return part.Encode()
	}
	return data, err
}
