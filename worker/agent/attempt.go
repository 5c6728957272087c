package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/worker/command"
	"github.com/fleetune/fleetune/worker/device"
)

// Why an attempt is stopped from outside.
var (
	errCancelled  = errors.New("the task was cancelled")
	errLeaseLost  = errors.New("the lease was lost")
	errHandedBack = errors.New("the worker gives it back")
	errTaskTime   = errors.New("the task's time is over")
)

// errEnough stops an attempt whose samples have said enough; its text is the
// manager's reason.
type errEnough struct{ reason string }

func (e *errEnough) Error() string { return e.reason }

// An attempt is one experiment in this worker's hands.
type attempt struct {
	offer wire.Offer
	grant wire.Grant
	// tag marks every process of the attempt; dir, named for it, is its folder.
	tag, dir string
	stop     context.CancelCauseFunc
	// deadline is when the task's time is over; zero when it has no bound.
	deadline time.Time
	// Guarded by the agent's mutex.
	phase  string
	detail string // how far the phase is; may be empty
	// announced is when a beat was last asked for to tell of it.
	announced time.Time
	devices   []string
	timings   map[string]time.Duration
}

// start runs a granted experiment in a goroutine of its own.
func (a *Agent) start(ctx context.Context, o wire.Offer, g wire.Grant, p place) {
	// The attempt outlives ctx: it is stopped with a cause, never just dropped.
	leaving := ctx.Err() != nil
	ctx, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	tag := fmt.Sprintf("fleetune-%s-%d", o.Experiment, g.Epoch)
	at := &attempt{
		offer: o, grant: g, tag: tag, dir: filepath.Join(a.attempted, tag), stop: stop,
		phase: "staging", timings: map[string]time.Duration{},
	}
	if g.Left > 0 {
		at.deadline = time.Now().Add(g.Left)
	}
	a.mu.Lock()
	a.attempts[o.Experiment] = at
	a.mu.Unlock()
	if leaving {
		stop(errHandedBack) // granted while everything else was stopped
	}
	a.running.Go(func() {
		defer stop(nil)
		a.execute(ctx, at, p)
	})
}

// execute takes an attempt from its grant to its report.
func (a *Agent) execute(ctx context.Context, at *attempt, p place) {
	began := time.Now()
	result, place := a.perform(ctx, at, p)
	ended := time.Now()
	r := wire.Report{
		Version: wire.Version, Worker: a.Node.Worker, Experiment: at.offer.Experiment, Task: at.offer.Task,
		Epoch: at.grant.Epoch, Attempt: at.grant.Attempt, StartedAt: began, FinishedAt: ended,
		Outcome: result.Outcome, Measurement: result.Measurement, Failure: result.Failure, Timings: at.timings,
	}
	a.mu.Lock()
	r.Devices = at.devices
	a.mu.Unlock()
	var enough *errEnough
	switch cause := context.Cause(ctx); {
	case errors.As(cause, &enough) && r.Outcome == experiment.OutcomeCancelled && r.Measurement != nil:
		r.Outcome, r.Failure = experiment.OutcomeStoppedEarly, &experiment.Failure{Phase: "run", Message: enough.reason}
	case errors.Is(cause, errCancelled):
		r.Outcome, r.Measurement = experiment.OutcomeCancelled, nil
		r.Failure = &experiment.Failure{Phase: at.phase, Message: cause.Error()}
	case errors.Is(cause, errHandedBack), errors.Is(cause, errLeaseLost):
		// Stale or not, the manager decides by the epoch.
		r.HandedBack, r.Outcome, r.Measurement = true, experiment.OutcomeInfraError, nil
		r.Failure = &experiment.Failure{Phase: at.phase, Message: cause.Error()}
	}
	if result.Unproven && place.lease != nil {
		place.lease.Quarantine("what " + at.tag + " started could not be proven gone; once it is, end the quarantine with fleetune-worker clear")
	} else {
		place.release()
	}
	if result.Unproven {
		a.Log.Error().Str("tag", at.tag).Msg("what an attempt started could not be proven gone; its devices are quarantined until fleetune-worker clear ends it")
	} else if err := os.RemoveAll(at.dir); err != nil {
		a.Log.Warn().Err(err).Msg("removing an attempt's folder")
	}
	a.faultPoint("before-report")
	a.report(at, r)
	if place.lease == nil {
		a.lookAround() // it ended in staging: the next one may stage
	}
}

// perform stages and runs an attempt. It returns the place that holds the
// devices in the end, which the caller frees: only then are they given up.
func (a *Agent) perform(ctx context.Context, at *attempt, p place) (command.Result, place) {
	logs := a.followLogs(at, filepath.Join(at.dir, "logs"))
	defer logs.close()
	if p.lease != nil {
		if err := a.bind(at, p.lease); err != nil {
			return infra("lease", err), p
		}
	}
	began := time.Now()
	// Until it has its devices, only the task's time bounds the attempt.
	early, cancel := at.withinTask(ctx)
	defer cancel()
	staged, ended := a.Kinds[at.offer.Kind].Stage(early, command.Job{
		Offer: at.offer, Tag: at.tag, Dir: filepath.Join(at.dir, "work"), Files: a.files, Log: logs.file,
		BuildCores: a.BuildCores, Progress: a.progress(at), Phase: func(name, detail string) { a.announce(at, name, detail) },
	})
	at.timings["staging"] = time.Since(began)
	if ended != nil {
		return at.judged(early, *ended), p
	}
	defer func() {
		if err := staged.Close(); err != nil {
			a.Log.Warn().Err(err).Msg("cleaning up after an attempt")
		}
	}()
	if p.lease == nil {
		a.enter(at, "waiting", "for devices")
		began = time.Now()
		lease, err := a.Semaphore.Acquire(early, at.offer.Requirements)
		if err != nil {
			return at.judged(early, infra("lease", fmt.Errorf("waiting for devices: %w", err))), p
		}
		p.release()
		a.lookAround() // the next one may stage
		p = place{lease: lease}
		if err := a.bind(at, lease); err != nil {
			return infra("lease", err), p
		}
		at.timings["waiting"] = time.Since(began)
	}
	a.enter(at, "running", "")
	began = time.Now()
	budget, total := at.budget()
	result := staged.Run(ctx, p.lease.Devices(), budget, total)
	at.timings["running"] = time.Since(began)
	return result, p
}

// withinTask bounds ctx by the task's time.
func (at *attempt) withinTask(ctx context.Context) (context.Context, context.CancelFunc) {
	if at.deadline.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadlineCause(ctx, at.deadline, errTaskTime)
}

// judged is a result of an attempt that never ran, as the task's time has it.
func (at *attempt) judged(ctx context.Context, r command.Result) command.Result {
	if errors.Is(context.Cause(ctx), errTaskTime) {
		r.Outcome = experiment.OutcomeTotal
		if r.Failure == nil {
			r.Failure = &experiment.Failure{}
		}
		r.Failure.Message, r.Failure.Timeout, r.Failure.Limit = errTaskTime.Error(), "task", at.grant.Left
	}
	return r
}

// budget is the time on devices: the attempt's own, or what is left of the
// task's by now.
func (at *attempt) budget() (budget time.Duration, total bool) {
	budget, total = at.grant.Budget, at.grant.Total
	if !at.deadline.IsZero() {
		if left := time.Until(at.deadline); left <= budget {
			budget, total = max(left, time.Millisecond), true
		}
	}
	return budget, total
}

// bind writes the attempt into the lock files of its devices, so that whoever
// comes after a crash knows what to sweep.
func (a *Agent) bind(at *attempt, lease *device.Lease) error {
	if err := lease.Bind(at.tag); err != nil {
		return fmt.Errorf("recording the attempt in its devices' lock files: %w", err)
	}
	a.mu.Lock()
	at.devices = lease.IDs()
	a.mu.Unlock()
	return nil
}

func (a *Agent) enter(at *attempt, phase, detail string) {
	a.mu.Lock()
	at.phase, at.detail = phase, detail
	a.mu.Unlock()
}

// announce is enter for what a runner tells of itself, which people wait to see:
// the manager hears a new phase at once, and how far it is soon.
func (a *Agent) announce(at *attempt, phase, detail string) {
	a.mu.Lock()
	changed, now := at.phase != phase, time.Now()
	at.phase, at.detail = phase, detail
	soon := changed || now.Sub(at.announced) >= announceEvery
	if soon {
		at.announced = now
	}
	a.mu.Unlock()
	if soon {
		a.beatNow()
	}
}

// announceEvery bounds how often an attempt asks for a beat within a phase.
const announceEvery = 2 * time.Second

func infra(phase string, err error) command.Result {
	return command.Result{Outcome: experiment.OutcomeInfraError, Failure: &experiment.Failure{Phase: phase, Message: err.Error()}}
}
