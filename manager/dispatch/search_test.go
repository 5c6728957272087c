package dispatch_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/fleetune/fleetune/shared/natsd"
	"github.com/fleetune/fleetune/worker/serving/testengine"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// stopRule is the rule by which a task's search stopped.
func stopRule(row store.Task) string {
	if row.Stopped == nil {
		return ""
	}
	return row.Stopped.Rule
}

// slope is a task whose i-th point takes $value, one experiment at a time.
func (s *stand) slope(name string, n int, stop *task.Stop) *task.Task {
	t := s.script(name, n, "")
	t.Optimization.MaxParallel = 1
	t.Optimization.Stop = stop
	return t
}

func TestSearchStopsAtItsBudgetAndAtTheEndOfItsSpace(t *testing.T) {
	s := newStand(t, 30*time.Second)
	s.worker("w1", 2)
	few := noop("few", 5)
	few.Optimization.MaxIterations = 3
	s.submit(few)
	s.submit(noop("all", 4))
	require.Equal(t, "max_iterations", stopRule(s.complete("few")))
	long := noop("long", 4)
	long.Optimization.MaxIterations = 9
	s.submit(long)
	require.Equal(t, "space", stopRule(s.complete("long")))
	require.Equal(t, "max_iterations", stopRule(s.complete("all")))
}

// On a slope that only rises, the first point stays the best: so many
// experiments without an improvement end the search, and the reason is kept
// and announced.
func TestPlateauStopsASearch(t *testing.T) {
	s := newStand(t, 30*time.Second)
	s.worker("w1", 2)
	s.submit(s.slope("plateau", 50, &task.Stop{Plateau: &task.Plateau{Experiments: 6, MinImprovement: 0.01}}))
	row := s.complete("plateau")
	require.Equal(t, "plateau", stopRule(row))
	require.Contains(t, row.Cause, "6 experiments in a row")
	require.Len(t, s.searched(row), 7, "the first is the best, and six are none better")
	events, err := s.store.Events(t.Context(), &row.ID, 0, 1000)
	require.NoError(t, err)
	told := 0
	for _, e := range events {
		var payload struct{ Stopped *store.Stopped }
		require.NoError(t, json.Unmarshal(e.Payload, &payload))
		if payload.Stopped != nil && payload.Stopped.Rule == "plateau" {
			told++
		}
	}
	require.Equal(t, 1, told)
}

// searched lists a task's search experiments.
func (s *stand) searched(row store.Task) []store.Experiment {
	s.t.Helper()
	var list []store.Experiment
	for _, e := range s.experiments(row) {
		if e.Purpose != experiment.Confirm {
			list = append(list, e)
		}
	}
	return list
}

// A limit of device-hours is reached by what attempts have used; what is still
// queued then is not started, and the leaders are confirmed all the same.
func TestDeviceHoursAndCostStopASearch(t *testing.T) {
	for rule, stop := range map[string]*task.Stop{"device_hours": {DeviceHours: 0.3 / 3600}, "cost": {Cost: 0.3 / 3600 * 2.5}} {
		t.Run(rule, func(t *testing.T) {
			s := newStand(t, 30*time.Second)
			s.worker("w1", 2)
			spec := s.script("limited", 200, "sleep 0.1\n")
			spec.Optimization.Stop, spec.Optimization.DeviceHourCost = stop, 2.5
			spec.Command.Finalists = 1
			s.submit(spec)
			row := s.complete("limited")
			require.Equal(t, rule, stopRule(row), row.Cause)
			u, err := s.store.Usage(t.Context(), row.ID, 2.5)
			require.NoError(t, err)
			require.GreaterOrEqual(t, u.DeviceHours, 0.3/3600)
			require.InEpsilon(t, u.DeviceHours*2.5, u.Cost, 1e-9)
			started := 0
			for _, e := range s.searched(row) {
				if *e.Outcome == experiment.OutcomeSuccess {
					started++
				} else {
					require.Equal(t, experiment.OutcomeNotStarted, *e.Outcome)
				}
			}
			require.Less(t, started, 50)
			require.Greater(t, len(s.experiments(row)), len(s.searched(row)), "the leader is confirmed")
			require.NotNil(t, row.Best)
		})
	}
}

// The clock ends a search without ending what runs.
func TestTimeStopsASearch(t *testing.T) {
	s := newStand(t, 30*time.Second)
	s.worker("w1", 1)
	spec := s.script("timed", 50, "sleep 1\n")
	spec.Optimization.Stop = &task.Stop{Time: task.Duration(300 * time.Millisecond)}
	s.submit(spec)
	row := s.complete("timed")
	require.Equal(t, "time", stopRule(row))
	list := s.searched(row)
	require.Equal(t, experiment.OutcomeSuccess, *list[0].Outcome, "what ran has ended by itself")
	require.Less(t, len(list), 10)
}

// An experiment that is surely worse than the incumbent ends early with what it
// measured, on the real worker; a good one has all its samples.
func TestRacingEndsWhatIsSurelyWorse(t *testing.T) {
	s := newStand(t, 30*time.Second)
	s.worker("w1", 1)
	spec := s.script("race", 3, "")
	spec.Optimization.Objectives[0].Metric = task.MetricWallTime
	spec.Optimization.MaxParallel, spec.Optimization.Repeats = 1, 12
	spec.Optimization.Racing = &task.Racing{Confidence: 0.99, MinSamples: 3}
	spec.Command.Measure = task.MeasureWallTime
	spec.Command.Baseline = space.Point{"i": int64(1)}
	spec.Command.Run.Argv = []string{"sh", "-c", `[ "$1" = 3 ] && exec sleep 1; exec sleep 0.02`, "sh", "{{i}}"}
	s.submit(spec)
	row := s.complete("race")
	slow := s.searched(row)[2]
	require.Equal(t, int64(3), slow.Parameters["i"])
	require.Equal(t, experiment.OutcomeStoppedEarly, *slow.Outcome)
	require.Equal(t, experiment.Cancelled, slow.State)
	require.Less(t, slow.Metrics[task.MetricWallTime].Count, 12)
	require.GreaterOrEqual(t, slow.Scores[0], 1.0)
	require.Contains(t, slow.Failure.Message, "surely worse than")
	for _, e := range s.searched(row)[:2] {
		require.Equal(t, experiment.OutcomeSuccess, *e.Outcome)
		require.Equal(t, 12, e.Metrics[task.MetricWallTime].Count)
	}
	require.NotEqual(t, slow.Number, *row.Best)
	// The devices are free again: another task runs on them.
	s.submit(noop("after", 2))
	s.complete("after")
}

// An engine that is surely worse under load than the incumbent is not loaded to
// the end: it is stopped between two rounds of its cells, and what it measured is
// kept, cell by cell.
func TestRacingEndsAnEngine(t *testing.T) {
	s := newStand(t, 30*time.Second)
	s.worker("w1", 1, server)
	spec := s.engine("race", testengine.Lags)
	spec.Space.Parameters[0].High = 2
	o := &spec.Optimization
	o.MaxIterations, o.MaxParallel, o.Repeats = 2, 1, 15
	o.Racing = &task.Racing{Confidence: 0.99, MinSamples: 3}
	spec.Serving.Benchmark.Concurrency, spec.Serving.Benchmark.CellRequests = []int{1, 2}, 2
	row := s.submit(spec)
	row = s.complete(row.Name)
	list := s.searched(row)
	require.Len(t, list, 2)
	good, late := list[0], list[1]
	require.Equal(t, experiment.OutcomeSuccess, *good.Outcome, "%+v", good.Failure)
	require.Equal(t, 15, good.Metrics["mean_ttft"].Count)
	require.Equal(t, good.Number, *row.Best)
	require.Equal(t, experiment.OutcomeStoppedEarly, *late.Outcome, "%+v", late.Failure)
	require.Equal(t, experiment.Cancelled, late.State)
	require.Contains(t, late.Failure.Message, "surely worse than")
	require.GreaterOrEqual(t, late.Metrics["mean_ttft"].Count, 3)
	require.Less(t, late.Metrics["mean_ttft"].Count, 15)
	attempts, err := s.store.Attempts(t.Context(), late.ID)
	require.NoError(t, err)
	require.Len(t, attempts[0].Measurement.Serving.Cells, 2)
	s.freed(s.dir) // the engine is gone
}

// Whatever races, a task that is cancelled is cancelled.
func TestRacingYieldsToCancelling(t *testing.T) {
	s := newStand(t, 30*time.Second)
	s.worker("w1", 1)
	spec := s.script("race", 3, "")
	spec.Optimization.Objectives[0].Metric = task.MetricWallTime
	spec.Optimization.Repeats = 1000
	spec.Optimization.Racing = &task.Racing{Confidence: 0.99, MinSamples: 3}
	spec.Command.Measure = task.MeasureWallTime
	spec.Command.Run.Argv = []string{"sh", "-c", began + "sleep 0.01", "sh", "{{i}}"}
	row := s.submit(spec)
	s.started(3)
	require.NoError(t, s.store.CancelTask(t.Context(), row.ID, "enough"))
	s.until("everything has ended", func() bool {
		for _, e := range s.experiments(row) {
			if e.Outcome == nil {
				return false
			}
		}
		return true
	})
	for _, outcome := range s.outcomes(row) {
		require.Equal(t, experiment.OutcomeCancelled, outcome)
	}
}

// climbing is a task over a fidelity, whose rough measurements are a little off.
func (s *stand) climbing(name, strategy string) *task.Task {
	t := s.script(name, 40, "")
	o := &t.Optimization
	o.Strategy, o.MaxIterations, o.MaxParallel = strategy, 25, 1
	o.Fidelity = &task.Fidelity{Name: "requests", Levels: []float64{10, 30, 90}, Eta: 3}
	t.Command.Finalists = 2
	t.Command.Run.Argv = []string{"sh", "-c", `echo "$1/$2" >> "$STAND/runs"
set -- $(( ($1 - 17) * ($1 - 17) + 5 + 90 / $2 ))` + succeed, "sh", "{{i}}", "{{requests}}"}
	return t
}

// The samplers of several levels work through manager and worker: points are
// measured at low levels first, the program is told the level, the best is one
// that was measured in full.
func TestLevelsThroughManagerAndWorker(t *testing.T) {
	for _, strategy := range []string{"asha", "hyperband"} {
		t.Run(strategy, func(t *testing.T) {
			s := newStand(t, 30*time.Second)
			s.worker("w1", 2)
			s.submit(s.climbing("climb", strategy))
			row := s.complete("climb")
			levels := map[string]int{}
			for _, e := range s.searched(row) {
				require.Equal(t, experiment.OutcomeSuccess, *e.Outcome)
				level := "full"
				if e.Fidelity != nil {
					level = fmt.Sprint(*e.Fidelity)
				}
				levels[level]++
				require.NotContains(t, e.Parameters, "requests", "the point is the point")
			}
			require.Greater(t, levels["10"], levels["30"])
			require.NotZero(t, levels["30"])
			require.Greater(t, levels["full"], 1, "beside the baseline")
			best, err := s.store.Experiment(t.Context(), row.ID, *row.Best)
			require.NoError(t, err)
			require.Nil(t, best.Fidelity)
			require.Contains(t, s.trace("runs"), fmt.Sprintf("%v/90", best.Parameters["i"]))
		})
	}
}

// Every sampler works through manager and worker, and chooses the same points
// when the manager is killed and started again on the way.
func TestEverySamplerThroughManagerAndWorkers(t *testing.T) {
	for _, strategy := range search.Strategies() {
		t.Run(strategy.Name, func(t *testing.T) {
			undisturbed := choices(t, strategy.Name, 0)
			require.Equal(t, undisturbed, choices(t, strategy.Name, 6))
		})
	}
}

// choices runs a task to its end and lists the points chosen. The manager is
// killed and started again whenever so many more experiments have ended.
func choices(t *testing.T, strategy string, kill int) []string {
	t.Helper()
	s := newStand(t, 30*time.Second)
	s.worker("w1", 1)
	spec := s.climbing("t", strategy)
	spec.Optimization.MaxIterations = 20
	if strategy != "asha" && strategy != "hyperband" {
		spec.Optimization.Fidelity = nil
		spec.Command.Run.Argv = []string{"sh", "-c", `set -- $(( ($1 - 17) * ($1 - 17) + 5 ))` + succeed, "sh", "{{i}}"}
	}
	row := s.submit(spec)
	for n := kill; kill > 0 && n < 20; n += kill {
		s.until("experiments end", func() bool {
			counts, err := s.store.Counts(t.Context(), []uuid.UUID{row.ID})
			require.NoError(t, err)
			return counts[row.ID].Success >= n
		})
		s.stop()
		s.dispatch()
	}
	row = s.complete("t")
	var list []string
	for _, e := range s.experiments(row) {
		level := 0.0
		if e.Fidelity != nil {
			level = *e.Fidelity
		}
		list = append(list, fmt.Sprintf("%d %s %v %v", e.Number, e.Purpose, e.Parameters["i"], level))
	}
	return list
}

// An engine is loaded with fewer requests at a lower level, and with all of
// them in the end.
func TestLevelsOfAnEngine(t *testing.T) {
	s := newStand(t, 30*time.Second)
	s.worker("w1", 1, server)
	spec := s.engine("engine", testengine.Good)
	spec.Space.Parameters[0].High = 4
	o := &spec.Optimization
	o.Strategy, o.MaxIterations, o.MaxParallel = "asha", 8, 1
	o.Fidelity = &task.Fidelity{Name: task.FidelityRequests, Levels: []float64{4, 20}, Eta: 2}
	s.submit(spec)
	row := s.complete("engine")
	sent := map[string]int{}
	for _, e := range s.searched(row) {
		require.Equal(t, experiment.OutcomeSuccess, *e.Outcome, "%+v", e.Failure)
		attempts, err := s.store.Attempts(t.Context(), e.ID)
		require.NoError(t, err)
		level := 20
		if e.Fidelity != nil {
			level = int(*e.Fidelity)
		}
		for _, cell := range attempts[0].Measurement.Serving.Cells {
			require.Equal(t, level, cell.Requests)
		}
		sent[fmt.Sprint(level)]++
	}
	require.Equal(t, map[string]int{"4": 4, "20": 4}, sent)
	require.NotNil(t, row.Best)
}

// The defaults of an engine are no point of the grid: they are measured first,
// and the grid whole.
func TestDefaultsComeOnTopOfTheBudget(t *testing.T) {
	s := newStand(t, 30*time.Second)
	s.worker("w1", 1, server)
	spec := s.engine("whole", testengine.Good)
	spec.Space.Parameters[0].High = 2
	spec.Serving.NoBaseline, spec.Serving.Baseline = false, space.Point{}
	spec.Optimization.Strategy, spec.Optimization.MaxIterations = "grid_search", 2
	s.submit(spec)
	row := s.complete("whole")
	require.Equal(t, "max_iterations", stopRule(row))
	purposes := map[experiment.Purpose]int{}
	for _, e := range s.searched(row) {
		purposes[e.Purpose]++
	}
	require.Equal(t, map[experiment.Purpose]int{experiment.Baseline: 1, experiment.Search: 2}, purposes)
}

// The word that an attempt need not go on counts for that attempt alone: not
// for a later epoch, nor for one that nobody races.
func TestEnoughIsSaidOfOneAttempt(t *testing.T) {
	s := newStand(t, 30*time.Second)
	s.worker("w1", 1)
	spec := s.script("enough", 2, "")
	spec.Optimization.Objectives[0].Metric = task.MetricWallTime
	spec.Optimization.MaxParallel, spec.Optimization.Repeats = 1, 8
	spec.Optimization.Racing = &task.Racing{Confidence: 0.999999, MinSamples: 8} // the manager has no reason
	spec.Command.Measure = task.MeasureWallTime
	spec.Command.Run.Argv = []string{"sh", "-c", began + `[ $(grep -c 2 "$STAND/began") -le 4 ] || ` + gate, "sh", "{{i}}"}
	row := s.submit(spec)
	s.started(8 + 5) // the baseline's, and four of the other, whose fifth waits
	running := s.experiments(row)[1]
	b := s.connect(natsd.ManagerUser, s.nats.URL(), natsd.ManagerPassword(s.secret))
	defer b.Close()
	say := func(epoch int64, reason string) {
		require.NoError(t, bus.Publish(b, wire.ControlSubject("w1"), wire.Control{Enough: []wire.Enough{
			{Experiment: running.ID, Epoch: epoch, Reason: reason}}}))
	}
	say(running.Epoch+1, "of another epoch") // arrives first, and what stops an attempt first is its reason
	say(running.Epoch, "enough")
	s.complete("enough")
	e := s.experiments(row)[1]
	require.Equal(t, experiment.OutcomeStoppedEarly, *e.Outcome)
	require.Equal(t, 4, e.Metrics[task.MetricWallTime].Count)
	require.Equal(t, "enough", e.Failure.Message)
	require.Equal(t, []string{"1 stopped_early accepted w1"}, s.attempts(e))
}
