package load

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/fleetune/fleetune/worker/load/metrics"
)

// ErrTooManyFailed is returned beside the result when more requests failed
// than the plan allows.
var ErrTooManyFailed = errors.New("too many requests failed")

// leastJudged is how many requests must have ended before a run is ended for
// the share of them that failed: the first failure of a run is all of them.
const leastJudged = 20

// failures counts the requests that failed by the server's doing, and ends the
// run when they are too many.
type failures struct {
	limit         float64 // 0 for none
	ended, failed atomic.Int64
	end           context.CancelCauseFunc
}

func (f *failures) count(rec *metrics.Record) {
	if f.limit <= 0 || rec.Err != nil && (rec.Err.Class == metrics.ErrCancelled || rec.Err.Class == metrics.ErrStopped) {
		return // what we hung up on says nothing of the server
	}
	f.ended.Add(1)
	if rec.Err == nil {
		return
	}
	f.failed.Add(1)
	if f.over(leastJudged) {
		f.end(ErrTooManyFailed)
	}
}

// over reports whether too many have failed, judged by so many at least.
func (f *failures) over(least int64) bool {
	ended := f.ended.Load()
	return f.limit > 0 && ended >= least && float64(f.failed.Load()) > f.limit*float64(ended)
}

func (f *failures) err() error {
	return fmt.Errorf("%w: %d of %d, more than a share of %g", ErrTooManyFailed, f.failed.Load(), f.ended.Load(), f.limit)
}
