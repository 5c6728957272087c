package serving

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/cells"
	"github.com/fleetune/fleetune/worker/command"
)

// Run launches the engine on the devices and measures every cell, within
// budget; total says that the task's remaining time is what the budget comes
// from. It may be called once.
func (s *Staged) Run(ctx context.Context, devices []node.Device, budget time.Duration, total bool) command.Result {
	name := "experiment"
	if total {
		name = "task"
	}
	ctx, cancel := within(ctx, name, budget)
	defer cancel()
	res := s.take(devices)
	if res == nil {
		res = s.measure(ctx)
	}
	if res == nil {
		res = s.complete()
	}
	// What the cells before a failure measured stays with it.
	if s.candidate.tally.any() && res.Outcome != experiment.OutcomeInfraError {
		res.Measurement = s.measurement()
	}
	return *s.clean(res)
}

// measure launches the candidate once and loads its cells as often as the task
// wants samples. A confirmation launches both sides in turn instead.
func (s *Staged) measure(ctx context.Context) *command.Result {
	if s.baseline == nil {
		return s.once(ctx, s.candidate, max(s.job.Offer.Repeats, 1))
	}
	rounds := s.rounds()
	end, bounded := ctx.Deadline()
	for round := range rounds {
		s.round = round + 1
		began := time.Now()
		turn := s.sides()
		if round%2 == 1 {
			// A place that warms up or wears out favours neither side.
			slices.Reverse(turn)
		}
		for _, side := range turn {
			if res := s.once(ctx, side, 1); res != nil {
				return blame(side, res)
			}
		}
		// A round that cannot be finished is not begun: what there is counts.
		if took := time.Since(began); bounded && time.Until(end) < took+took/5 {
			s.journal.line("no time for another round after %d of %d", round+1, rounds)
			break
		}
	}
	return nil
}

// rounds of a confirmation, in each of which both sides are measured.
func (s *Staged) rounds() int { return max(s.job.Offer.Repeats, task.LeastSamples) }

// blame marks a failure of the baseline in a confirmation. It has run before,
// so what failed is the place rather than the configuration, unless time ran
// out.
func blame(side *side, res *command.Result) *command.Result {
	if side.name != "baseline" {
		return res
	}
	res.Failure.Message = "the baseline, measured in turns with the candidate: " + res.Failure.Message
	if o := res.Outcome; o == experiment.OutcomeFailed || o == experiment.OutcomeOutOfMemory || o == experiment.OutcomeNoMetric {
		res.Outcome = experiment.OutcomeInfraError
	}
	return res
}

// once launches a side, loads all cells some times, and stops it. A failure of
// the stop outweighs everything: the devices may be in use.
func (s *Staged) once(ctx context.Context, side *side, passes int) *command.Result {
	run, res := s.launch(ctx, side)
	if run == nil {
		return res
	}
	if res == nil {
		res = run.load(ctx, passes)
	}
	return run.close(ctx, res)
}

// complete judges a measurement that nothing interrupted.
func (s *Staged) complete() *command.Result {
	m := s.measurement()
	for _, name := range s.job.Offer.Metrics {
		if _, ok := m.Metrics[name]; !ok {
			return failed(experiment.OutcomeNoMetric, "result", hintFor(name), "metric \""+name+"\" is not measured")
		}
	}
	return &command.Result{Outcome: experiment.OutcomeSuccess, Measurement: m}
}

// hintFor says what a metric needs that is not always there.
func hintFor(metric string) string {
	switch {
	case strings.HasPrefix(metric, "goodput"):
		return "goodput counts the requests that keep the SLOs: give the task some under slo"
	case strings.HasPrefix(metric, "cost"):
		return "give the price of a device in optimization.cost_per_device_hour"
	case strings.HasPrefix(metric, "energy"), strings.HasPrefix(metric, "gpu_"), metric == "mean_power":
		return "these figures come from the devices: this worker cannot read them"
	default:
		return ""
	}
}

// measurement puts together what both sides have measured so far.
func (s *Staged) measurement() *experiment.Measurement {
	c := s.candidate
	serving := &experiment.Serving{
		Cells: c.tally.cells(), WorldSize: s.world(c), Command: s.maskedAll(c.facts.Command),
		ModelPath: c.model.Path, Image: c.facts.Image, ImageDigest: c.facts.ImageDigest, Version: c.version, Effective: c.effective,
		Notes: c.notes, LoadSeconds: mean(c.loads), Simulated: c.simulated, Launches: s.launched,
	}
	if s.spec.Simulate != nil {
		serving.Simulated = s.spec.Simulate.GPU
	}
	m := &experiment.Measurement{Serving: serving, Metrics: s.aggregate(c, serving.Cells)}
	if b := s.baseline; b != nil && b.tally.any() {
		serving.Reference = b.tally.cells()
		m.Reference = s.aggregate(b, serving.Reference)
	}
	return m
}

// aggregate sums the cells of a side up, and adds how long it took to load.
func (s *Staged) aggregate(side *side, list []experiment.Cell) map[string]experiment.Metric {
	metrics := cells.Aggregate(list, s.world(side), s.spec.CostPerDeviceHour)
	if metrics == nil {
		metrics = map[string]experiment.Metric{}
	}
	if len(side.loads) > 0 {
		metrics["load_time"] = metric(seconds, side.loads)
	}
	return metrics
}

// world is the number of devices that a side's figures are per.
func (s *Staged) world(side *side) int {
	if s.spec.Launcher == "endpoint" {
		return 1
	}
	return max(side.plan.Devices(), 1)
}

func (s *Staged) maskedAll(texts []string) []string {
	out := make([]string, len(texts))
	for i, t := range texts {
		out[i] = s.masked.Text(t)
	}
	return out
}

// enter tells the agent which part of the experiment runs, and how far it is.
func (s *Staged) enter(phase, detail string) {
	if s.job.Phase != nil {
		s.job.Phase(phase, s.masked.Text(detail))
	}
}
