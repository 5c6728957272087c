// Package dispatch runs the circle of a task: it asks the sampler for points,
// stores them as experiments, offers them on the bus, grants claims, keeps
// leases, commits results and starts again. One manager dispatches at a time,
// under the leader lease; the others stand by.
//
// PostgreSQL is the truth. What a leader keeps in memory (leases, the history
// a sampler reads, the fleet) is rebuilt from it and from beats when the next
// one takes over.
package dispatch

import (
	"context"
	"errors"
	"time"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"
)

// Config of a Dispatcher.
type Config struct {
	Store *store.Store
	Bus   *bus.Bus
	Log   zerolog.Logger
	// URL is how others reach this manager; told through the leader row.
	URL string
	// Lease is how long an attempt survives without a beat. 30 s by default.
	Lease time.Duration
	// Beat is how often workers beat. A sixth of Lease by default.
	Beat time.Duration
	// MaxLosses is how often an experiment may lose its worker before it ends
	// as lost. 4 by default.
	MaxLosses int
	// MaxInfra is how often an attempt that failed by its place's fault is
	// repeated. 1 by default.
	MaxInfra int
	Metrics  *Metrics
}

// leaderTTL is how long the leader lease lasts without renewal. A leader stops
// by its own clock a fifth earlier, so two never dispatch at once.
const leaderTTL = 5 * time.Second

func (c Config) withDefaults() Config {
	if c.Lease <= 0 {
		c.Lease = 30 * time.Second
	}
	if c.Beat <= 0 {
		c.Beat = c.Lease / 6
	}
	if c.MaxLosses <= 0 {
		c.MaxLosses = 4
	}
	if c.MaxInfra <= 0 {
		c.MaxInfra = 1
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	return c
}

// A Dispatcher competes for the leader lease and dispatches while it has it.
type Dispatcher struct {
	Config
	id uuid.UUID
}

// New returns a Dispatcher that Run starts.
func New(c Config) *Dispatcher {
	return &Dispatcher{Config: c.withDefaults(), id: uuid.New()}
}

// Run dispatches whenever this manager leads, until ctx ends. It returns only
// then, with nil: everything that breaks is logged and tried again.
func (d *Dispatcher) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		lead, err := d.acquire(ctx)
		if err == nil {
			d.Log.Info().Int64("term", lead.Term).Msg("dispatching")
			err = d.lead(ctx, lead.Term)
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrNotLeader) {
			d.Log.Error().Err(err).Msg("dispatch interrupted, starting again")
		}
		pause(ctx, leaderTTL/5)
	}
	return nil
}

func (d *Dispatcher) acquire(ctx context.Context) (store.Leadership, error) {
	ctx, cancel := context.WithTimeout(ctx, leaderTTL)
	defer cancel()
	return d.Store.AcquireLeader(ctx, d.id, d.URL, leaderTTL)
}

// lead dispatches for one term: until the lease is lost, ctx ends or a part fails.
func (d *Dispatcher) lead(ctx context.Context, number int64) error {
	if err := bus.Ensure(ctx, d.Bus.JetStream(), bus.Limits{}); err != nil {
		return err
	}
	t, err := newTerm(ctx, d, number)
	if err != nil {
		return err
	}
	d.Metrics.leading.Set(1)
	defer d.Metrics.leading.Set(0)
	group, ctx := errgroup.WithContext(ctx)
	for _, part := range []func(context.Context) error{
		t.keepLease, t.listen, t.serve, t.plan, t.grantClaims, t.commitReports, t.sweep, t.keepOrder, t.flushWorkers, t.announce,
	} {
		group.Go(func() error { return part(ctx) })
	}
	err = group.Wait()
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	// The last beats, of workers that left with us, say where they are.
	if saveErr := t.saveWorkers(release); saveErr != nil {
		d.Log.Debug().Err(saveErr).Msg("the next leader learns of the workers from their beats")
	}
	if releaseErr := d.Store.ReleaseLeader(release, d.id); releaseErr != nil {
		d.Log.Debug().Err(releaseErr).Msg("the leader lease runs out by itself")
	}
	return err
}

// pause waits and says whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
