// Package share runs one share of a load that several workers put on a server
// together. The share calls on whoever gathers them all: before the start, to
// learn the gatherer's clock and the common start; while it runs, to show that
// it lives; and at the end, to hand its result over. A share that nobody
// answers any more stops by itself.
package share

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fleetune/fleetune/proto/bundle"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/worker/command"
	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/google/uuid"
)

// A Caller asks the gatherer of a load; it returns when it is answered or ctx
// ends.
type Caller func(ctx context.Context, load uuid.UUID, c wire.LoadCall) (wire.LoadReply, error)

// A Planner works out a share's part of a load: what to send, and when. Files
// of the load's bundle are in dir; the key is the server's, or empty.
type Planner func(ctx context.Context, l task.Load, share int, dir, key string) (*load.Plan, error)

// A Runner runs shares. It may be used from many goroutines.
type Runner struct {
	// Worker is this worker's name.
	Worker string
	Call   Caller
	Plan   Planner
	// Secret resolves a secret by its name.
	Secret func(name string) (string, error)
}

// Staged is a share that is ready for its devices.
type Staged struct {
	runner *Runner
	job    command.Job
	plan   *load.Plan
	share  int
}

// Stage unpacks the load's files and works the share's part out.
func (r *Runner) Stage(ctx context.Context, j command.Job) (*Staged, *command.Result) {
	var l task.Load
	if err := json.Unmarshal(j.Offer.Spec, &l); err != nil {
		return nil, failed(experiment.OutcomeRenderError, "plan", fmt.Errorf("reading the load: %w", err))
	}
	number, err := shareOf(j.Offer, l)
	if err != nil {
		return nil, failed(experiment.OutcomeRenderError, "plan", err)
	}
	if err := unpack(ctx, j, l); err != nil {
		return nil, failed(experiment.OutcomeInfraError, "staging", err)
	}
	key := ""
	if l.APIKey != "" {
		if key, err = r.Secret(l.APIKey); err != nil {
			return nil, failed(experiment.OutcomeInfraError, "staging", err)
		}
		key = strings.TrimSpace(key)
	}
	plan, err := r.Plan(ctx, l, number, j.Dir, key)
	if err != nil {
		return nil, failed(experiment.OutcomeFailed, "plan", err)
	}
	return &Staged{runner: r, job: j, plan: plan, share: number}, nil
}

func shareOf(o wire.Offer, l task.Load) (int, error) {
	var number float64
	switch x := o.Parameters[task.ShareParameter].(type) {
	case int64:
		number = float64(x)
	case float64:
		number = x
	default:
		return 0, fmt.Errorf("the experiment is no share of a load: %v", o.Parameters)
	}
	if number < 0 || number >= float64(l.Shares) || number != float64(int(number)) {
		return 0, fmt.Errorf("share %v of %d", number, l.Shares)
	}
	return int(number), nil
}

// unpack writes the files of the load into the job's folder.
func unpack(ctx context.Context, j command.Job, l task.Load) error {
	if err := os.MkdirAll(j.Dir, 0o700); err != nil {
		return fmt.Errorf("making the attempt's folder: %w", err)
	}
	if l.Bundle == "" {
		return nil
	}
	in, err := j.Files(ctx, l.Bundle)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // read to its end, or given up
	contents, err := bundle.Unpack(in, l.Bundle)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(j.Dir)
	if err != nil {
		return fmt.Errorf("opening the attempt's folder: %w", err)
	}
	defer func() { _ = root.Close() }()
	for name, content := range contents {
		path := filepath.FromSlash(name)
		if err := root.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
		if err := root.WriteFile(path, content, 0o600); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return nil
}

// Close removes the share's files.
func (s *Staged) Close() error { return os.RemoveAll(s.job.Dir) }

// errBudget stops a share whose time is over.
var errBudget = errors.New("the load took longer than it may")

// Run waits for the other shares, puts its part on the server and hands the
// result over. There are no processes to prove dead.
func (s *Staged) Run(ctx context.Context, _ []node.Device, budget time.Duration, total bool) command.Result {
	run, cancel := context.WithTimeoutCause(ctx, budget, errBudget)
	defer cancel()
	c := &caller{ask: s.runner.Call, load: s.job.Offer.Task, clock: newClock(),
		call: wire.LoadCall{Version: wire.Version, Worker: s.runner.Worker, Session: s.job.Tag, Share: s.share}}
	res, err := s.perform(run, c)
	if cause := context.Cause(run); errors.Is(cause, errBudget) {
		outcome, limit := experiment.OutcomeTimeout, "experiment"
		if total {
			outcome, limit = experiment.OutcomeTotal, "task"
		}
		r := failed(outcome, "run", cause)
		r.Failure.Timeout, r.Failure.Limit = limit, budget
		return *r
	}
	if err != nil {
		return *failed(experiment.OutcomeFailed, "run", err)
	}
	return command.Result{Outcome: experiment.OutcomeSuccess, Measurement: measurement(res.Summary)}
}

// perform runs the plan among the other shares.
func (s *Staged) perform(ctx context.Context, c *caller) (*load.Result, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	plan := *s.plan
	plan.Worker = s.runner.Worker
	plan.Ready = func(ctx context.Context) (time.Time, error) {
		at, err := c.await(ctx)
		if err == nil {
			c.keep(ctx, stop) // from here on silence is noticed, on both sides
		}
		return at, err
	}
	plan.OnProgress = c.progress
	sent := listen(&plan)
	res, err := load.Run(ctx, plan)
	c.rest()
	if res == nil {
		c.giveUp(ctx, err)
		return nil, err
	}
	if over := context.Cause(ctx); errors.Is(over, errOver) || errors.Is(over, errNobody) {
		return nil, over
	}
	c.ended(res)
	c.learnDrift(ctx)
	if handed := c.hand(ctx, res, sent); handed != nil {
		return nil, errors.Join(err, handed)
	}
	return res, err
}

// measurement is what a share measured, for the experiment's row. Figures of
// many samples give their average; the whole load's report has the rest.
func measurement(s *metrics.Summary) *experiment.Measurement {
	m := &experiment.Measurement{Metrics: map[string]experiment.Metric{}}
	for _, x := range s.Metrics {
		m.Metrics[x.Tag] = experiment.Metric{Unit: x.Unit, Samples: []float64{x.Stats.Avg}, Median: x.Stats.Avg}
	}
	if _, ok := m.Metrics[metrics.TagRequestThroughput]; !ok {
		m.Metrics[metrics.TagRequestThroughput] = experiment.Metric{Unit: "requests/sec", Samples: []float64{0}}
	}
	return m
}

func failed(outcome experiment.Outcome, phase string, err error) *command.Result {
	return &command.Result{Outcome: outcome, Failure: &experiment.Failure{Phase: phase, Message: err.Error()}}
}
