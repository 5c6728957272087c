package task

import (
	"fmt"
	"time"

	"github.com/fleetune/fleetune/proto/task/internal/document"
	"github.com/fleetune/fleetune/proto/task/internal/form"
)

// Repeats where the file does not say.
const (
	repeatsResultFile = 10
	repeatsWallTime   = 5
)

func (d *decoder) optimization(t *Task) {
	f := &d.form.Optimization
	t.Optimization = Optimization{
		Strategy: f.Strategy, MaxIterations: int(f.MaxIterations), MaxParallel: int(f.MaxParallel),
		IterationTimeout: Duration(f.TimeoutPerIteration), Timeout: Duration(f.Timeout),
		Seed: f.Seed, Repeats: int(f.Repeats),
	}
	if len(f.Options) > 0 {
		t.Optimization.Options = f.Options
	}
	if t.Serving != nil {
		d.servingOptimization(t, f)
	}
	if t.Optimization.Repeats == 0 {
		t.Optimization.Repeats = repeatsResultFile
		if wallTime(t) {
			t.Optimization.Repeats = repeatsWallTime
		}
	}
	if d.clean("optimization.objective", "optimization.objectives") {
		d.objectives(t, f)
	}
	d.halt(t)
	d.race(t)
	d.fidelity(t)
}

func wallTime(t *Task) bool { return t.Command != nil && t.Command.Measure == MeasureWallTime }

func (d *decoder) objectives(t *Task, f *form.Optimization) {
	given, at := f.Objectives, "optimization.objectives"
	switch {
	case f.Objective != nil && f.Objectives != nil:
		d.Fail(at, "stands beside objective", "one of the two")
	case f.Objective != nil:
		given, at = []form.Objective{*f.Objective}, "optimization.objective"
	case len(given) == 0 && (wallTime(t) || d.form.Noop):
		given = []form.Objective{{Metric: MetricWallTime, Direction: string(Minimize)}}
	case len(given) == 0 && t.Serving != nil:
		given = []form.Objective{{Metric: defaultObjective, Direction: string(Minimize)}}
	case len(given) == 0 && d.clean("command.measure", "optimization"):
		d.Fail("optimization.objective", "is missing", `what to optimise, as in "minimize_time_ms"`)
	}
	seen := map[string]bool{}
	for i, o := range given {
		path := at
		if f.Objective == nil {
			path = document.Item(at, i)
		}
		if t.Serving != nil && d.clean(path) {
			o.Metric = d.servingMetric(path, &o)
		}
		if seen[o.Metric] {
			d.Fail(path, fmt.Sprintf("optimises %q a second time", o.Metric), "every metric once")
		}
		if wallTime(t) && o.Metric != MetricWallTime {
			d.nearest(path, fmt.Sprintf("names the metric %q, but measure: wall_time yields %s only", o.Metric, MetricWallTime),
				"", o.Direction+"_"+MetricWallTime)
		}
		seen[o.Metric] = true
		t.Optimization.Objectives = append(t.Optimization.Objectives, Objective{Metric: o.Metric, Direction: Direction(o.Direction)})
	}
}

// stepTimeout bounds a step that gives no time-out of its own.
const stepTimeout = Duration(120 * time.Second)

// timeouts fills in the time-outs that are left open and refuses those that do
// not nest: steps on the devices within the experiment, the experiment and the
// build within the task. Where an outer time-out ends first, an inner one would
// never be the cause that is reported.
func (d *decoder) timeouts(t *Task) {
	o := &t.Optimization
	if !d.clean("optimization.timeout", "optimization.timeout_per_iteration", "optimization.max_iterations") {
		return
	}
	if o.Timeout == 0 {
		search := product(t.Budget(), o.IterationTimeout)
		o.Timeout = min(search+product(t.Finalists(), Duration(t.AttemptTime(true))), Duration(form.MaxDuration))
	} else {
		d.within("optimization.timeout_per_iteration", o.IterationTimeout, "timeout", o.Timeout)
	}
	if t.Serving != nil {
		d.servingTimeouts(t)
	}
	if t.Command == nil {
		return
	}
	c := t.Command
	for _, s := range []struct {
		name string
		step *Step
	}{{"inputs", c.Inputs}, {"reference", c.Reference}, {"check", c.Check}, {"run", &c.Run}} {
		if s.step == nil {
			continue
		}
		d.within("command."+s.name+".timeout", s.step.Timeout, "optimization.timeout_per_iteration", o.IterationTimeout)
		if s.step.Timeout == 0 && s.step == &c.Run {
			s.step.Timeout = o.IterationTimeout
		}
		fill(s.step, o.IterationTimeout)
	}
	if c.Build != nil {
		d.within("command.build.timeout", c.Build.Timeout, "optimization.timeout", o.Timeout)
		fill(c.Build, o.Timeout)
	}
	if c.Apply != nil && c.Apply.Verify != nil {
		fill(c.Apply.Verify, stepTimeout)
	}
	if c.Cooldown+c.MinDuration >= o.IterationTimeout {
		at := "command.min_duration"
		if c.Cooldown > c.MinDuration {
			at = "command.cooldown"
		}
		d.Fail(at, fmt.Sprintf("leaves no time to measure: cooldown and min_duration together take %v", c.Cooldown+c.MinDuration),
			fmt.Sprintf("less than timeout_per_iteration, which is %v", o.IterationTimeout))
	}
}

func (d *decoder) within(path string, inner Duration, name string, outer Duration) {
	if inner > outer {
		d.Fail(path, fmt.Sprintf("is %v, longer than %s, which is %v", inner, name, outer), fmt.Sprintf("at most %v", outer))
	}
}

func fill(s *Step, outer Duration) {
	if s.Timeout == 0 {
		s.Timeout = min(stepTimeout, outer)
	}
}

// product is n times each, at most what a task file may ask for.
func product(n int, each Duration) Duration {
	most := Duration(form.MaxDuration)
	if n > 0 && each > most/Duration(n) {
		return most
	}
	return Duration(n) * each
}
