package agent

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/worker/command"
	"github.com/fleetune/fleetune/worker/serving"
)

// A Kind runs experiments of one kind. Stage does what needs no devices, in
// the job's folder, which it makes if it needs one; a non-nil result ends the
// attempt there.
type Kind interface {
	Stage(ctx context.Context, j command.Job) (Staged, *command.Result)
}

// Staged is an experiment that is ready for its devices. Run ends when every
// process of it is proven dead, or says that this could not be proven.
type Staged interface {
	Run(ctx context.Context, devices []node.Device, budget time.Duration, total bool) command.Result
	Close() error
}

// Command runs command experiments.
type Command struct{ *command.Runner }

// Stage makes the attempt's folder, renders and builds. The folder's name is
// the attempt's tag: it stands on disk before any process of the attempt, so
// that a worker that comes after a crash knows what to sweep.
func (c Command) Stage(ctx context.Context, j command.Job) (Staged, *command.Result) {
	if err := os.MkdirAll(j.Dir, 0o700); err != nil {
		result := infra("staging", fmt.Errorf("making the attempt's folder: %w", err))
		return nil, &result
	}
	staged, result := c.Runner.Stage(ctx, j)
	if result != nil {
		return nil, result
	}
	return staged, nil
}

// Serving runs serving experiments.
type Serving struct{ *serving.Kind }

// Stage plans the experiment and fetches its model.
func (s Serving) Stage(ctx context.Context, j command.Job) (Staged, *command.Result) {
	staged, result := s.Kind.Stage(ctx, j)
	if result != nil {
		return nil, result
	}
	return staged, nil
}

// Noop experiments do nothing: they measure what Fleetune itself costs.
type Noop struct{}

// Stage has nothing to prepare.
func (Noop) Stage(context.Context, command.Job) (Staged, *command.Result) { return noop{}, nil }

type noop struct{}

// Run succeeds with a metric named noop that is 1.
func (noop) Run(context.Context, []node.Device, time.Duration, bool) command.Result {
	return command.Result{Outcome: experiment.OutcomeSuccess, Measurement: &experiment.Measurement{
		Metrics: map[string]experiment.Metric{"noop": {Samples: []float64{1}, Median: 1}},
	}}
}

// Close has nothing to remove.
func (noop) Close() error { return nil }
