package command

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/worker/command/result"
	"github.com/fleetune/fleetune/worker/device"
)

// Run checks and measures the staged experiment on its devices, within budget;
// total says that the task's remaining time is what the budget comes from. It
// may be called once.
func (s *Staged) Run(ctx context.Context, devices []node.Device, budget time.Duration, total bool) Result {
	name := "experiment"
	if total {
		name = "task"
	}
	ctx, cancel := context.WithTimeoutCause(ctx, budget, &limit{name: name, d: budget})
	defer cancel()
	s.devices = devices
	m, res := s.measureGated(ctx)
	if res == nil {
		res = &Result{Outcome: experiment.OutcomeSuccess, Measurement: m}
	} else {
		s.unfinished(res)
	}
	return masked(s.masked, *res)
}

// measureGated is the gate, the timing, and the gate again.
func (s *Staged) measureGated(ctx context.Context) (*experiment.Measurement, *Result) {
	before, res := s.gate(ctx, "check")
	if res != nil {
		return nil, res
	}
	m, res := s.measure(ctx)
	if res != nil {
		return nil, res
	}
	after, res := s.gate(ctx, "recheck")
	if res != nil {
		return nil, res
	}
	m.Checks = append(append(before, m.Checks...), after...)
	return m, nil
}

// measure takes the samples, of the candidate and, in a confirmation, of the
// baseline in turns, so that whatever drifts drifts for both.
func (s *Staged) measure(ctx context.Context) (*experiment.Measurement, *Result) {
	r, res := s.begin(ctx)
	if res != nil {
		return nil, res
	}
	sides := []*samples{{realm: s.candidate}}
	if s.baseline != nil {
		sides = append(sides, &samples{realm: s.baseline})
	}
	take := s.takeResultFiles
	if s.command.Measure == task.MeasureWallTime {
		take = s.takeWallTimes
	}
	if res := take(ctx, r, sides); res != nil {
		return nil, res
	}
	m := &experiment.Measurement{Metrics: sides[0].summary(), Checks: sides[0].checks}
	if len(sides) > 1 {
		m.Reference = sides[1].summary()
	}
	checks, res := s.checkTimed(ctx, r)
	if res != nil {
		return nil, res
	}
	m.Checks = append(m.Checks, checks...)
	return m, s.finish(ctx, r)
}

// checkTimed compares the outputs of the timed run itself where it leaves any.
// Confirmations have two programs writing to one place, so there the gates
// before and after must do.
func (s *Staged) checkTimed(ctx context.Context, r *round) ([]experiment.Check, *Result) {
	if s.command.Reference == nil || s.baseline != nil {
		return nil, nil
	}
	entries, err := os.ReadDir(r.outputs())
	if err != nil {
		return nil, infra(ctx, "check", err)
	}
	if len(entries) == 0 {
		return nil, nil
	}
	return s.compareOutputs(ctx, "run", r)
}

// runOnce runs the measured program once. path is where its result file goes.
func (s *Staged) runOnce(ctx context.Context, r *round, side *realm, repeats int, path string, quiet bool) (time.Duration, *Result) {
	if err := pause(ctx, s.command.Cooldown.D()); err != nil {
		return 0, ended("run", err)
	}
	exit, res := s.execute(ctx, program{phase: "run", realm: side, step: side.rendering.Run, quiet: quiet,
		cores: device.Cores(s.devices), values: s.values(r, map[string]string{
			"EXP_OUTPUT_DIR": r.outputs(), "EXP_RESULT_PATH": path,
			"EXP_SAMPLES_PATH": filepath.Join(r.results(), samplesFile),
			"EXP_REPEATS":      strconv.Itoa(repeats), "EXP_WARMUPS": strconv.Itoa(s.command.Warmups),
			"EXP_MIN_DURATION": strconv.FormatFloat(s.command.MinDuration.D().Seconds(), 'g', -1, 64),
		})})
	return exit.Duration, res
}

// pause waits, or returns the cause of the context's end.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// takeWallTimes times whole runs of the program.
func (s *Staged) takeWallTimes(ctx context.Context, r *round, sides []*samples) *Result {
	const metric, unit = "wall_time_s", "s"
	for i := range s.command.Warmups {
		for _, side := range sides {
			if _, res := s.runOnce(ctx, r, side.realm, 1, s.resultPath(r, side), i > 0); res != nil {
				return side.blame(res)
			}
		}
	}
	repeats := max(s.job.Offer.Repeats, 1)
	least := s.command.MinDuration.D()
	var measured time.Duration // of the candidate
	for i := 0; i < repeats || measured < least && i < maxSamples; i++ {
		for _, side := range sides {
			d, res := s.runOnce(ctx, r, side.realm, 1, s.resultPath(r, side), i > 0 || s.command.Warmups > 0)
			if res != nil {
				return side.blame(res)
			}
			if err := side.add(metric, unit, d.Seconds()); err != nil {
				return infra(ctx, "result", err)
			}
			if side == sides[0] {
				measured += d
			}
			s.tell(side)
		}
	}
	for _, name := range s.job.Offer.Metrics {
		if name != metric {
			return failed(experiment.OutcomeNoMetric, "result", "with measure wall_time the objective is "+metric,
				"metric %q is not measured", name)
		}
	}
	return nil
}

// takeResultFiles lets the program measure itself. A confirmation runs it in
// several shorter rounds, so that samples of both sides lie next to each other.
func (s *Staged) takeResultFiles(ctx context.Context, r *round, sides []*samples) *Result {
	rounds, repeats := 1, max(s.job.Offer.Repeats, 1)
	if len(sides) > 1 {
		rounds = confirmRounds
		repeats = (repeats + rounds - 1) / rounds
	}
	for i := range rounds {
		for _, side := range sides {
			if res := s.takeResultFile(ctx, r, side, repeats, i > 0); res != nil {
				return side.blame(res)
			}
		}
	}
	return nil
}

func (s *Staged) takeResultFile(ctx context.Context, r *round, side *samples, repeats int, quiet bool) *Result {
	path := s.resultPath(r, side)
	stop := s.follow(r, side)
	_, res := s.runOnce(ctx, r, side.realm, repeats, path, quiet)
	stop()
	if res != nil && (res.Outcome != experiment.OutcomeFailed || res.Unproven || res.Failure.ExitCode == nil) {
		return res
	}
	root, err := os.OpenRoot(r.results())
	if err != nil {
		return infra(ctx, "result", err)
	}
	defer func() { _ = root.Close() }()
	f, err := result.Read(root, side.file, result.Expectation{RunID: s.job.Tag, Samples: repeats, Metrics: s.job.Offer.Metrics})
	if err != nil && res != nil {
		return res // its exit code says more than the file it did not write
	}
	if err != nil {
		return failed(experiment.OutcomeNoMetric, "result", "the program reports its metrics in the file named by EXP_RESULT_PATH; what it prints is not read", "%v", err)
	}
	if bad := accuse(f, res); bad != nil {
		return bad
	}
	if side.realm == s.candidate && len(side.checks) == 0 {
		side.checks = f.Checks
	}
	return side.merge(f.Metrics)
}

// accuse turns a result file that reports trouble into a result; exited is how
// the program itself ended, nil when that was well.
func accuse(f result.File, exited *Result) *Result {
	for _, c := range f.Checks {
		if !c.OK {
			return failed(experiment.OutcomeIncorrect, "result", "", "the program's own check %s failed: %s", c.Name, c.Detail)
		}
	}
	switch {
	case !f.Correct && f.Error == "":
		return failed(experiment.OutcomeIncorrect, "result", "", "the program says that its result is not correct")
	case f.Error != "" && saysOutOfMemory(f.Error):
		return failed(experiment.OutcomeOutOfMemory, "result", "", "%s", f.Error)
	case f.Error != "" && exited != nil:
		exited.Failure.Message += ": " + f.Error
		return exited
	case f.Error != "":
		return failed(experiment.OutcomeFailed, "result", "", "%s", f.Error)
	}
	return exited
}

// resultPath names a fresh result file: none that an earlier program wrote can
// be taken for a later one's.
func (s *Staged) resultPath(r *round, side *samples) string {
	s.files++
	side.file = fmt.Sprintf("result-%d.json", s.files)
	return filepath.Join(r.results(), side.file)
}

const (
	// confirmRounds is how often a confirmation alternates between two
	// programs that measure themselves.
	confirmRounds = 3
	// maxSamples bounds the samples that MinDuration asks for.
	maxSamples = 10_000
)
