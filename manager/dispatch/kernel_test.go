package dispatch_test

import (
	"context"
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/chaos/relay"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/worker/agent"
	"github.com/fleetune/fleetune/worker/command"
	"github.com/stretchr/testify/require"
)

// program is a kind of experiment that a test writes in Go, for what no real
// program does at will.
type program func(ctx context.Context, devices []node.Device) command.Result

func (p program) Stage(context.Context, command.Job) (agent.Staged, *command.Result) { return p, nil }
func (p program) Run(ctx context.Context, d []node.Device, _ time.Duration, _ bool) command.Result {
	return p(ctx, d)
}
func (p program) Close() error { return nil }

// runs makes a worker run noop experiments as the program does.
func runs(p program) func(*setup) {
	return func(c *setup) { c.Kinds[task.KindNoop] = p }
}

func ok() command.Result {
	return command.Result{Outcome: experiment.OutcomeSuccess, Measurement: &experiment.Measurement{
		Metrics: map[string]experiment.Metric{"noop": {Samples: []float64{1}, Median: 1}},
	}}
}

// A device is freed only when death is proven: otherwise it is quarantined,
// says so, and runs nothing any more.
func TestKernelInvariant02_UnprovenDeathQuarantines(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	var calls atomic.Int32
	s.worker("w1", 1, runs(func(context.Context, []node.Device) command.Result {
		calls.Add(1)
		return command.Result{Outcome: experiment.OutcomeFailed, Unproven: true,
			Failure: &experiment.Failure{Phase: "run", Message: "it would not die"}}
	}))
	row := s.submit(noop("undead", 2))
	s.until("the manager knows of the quarantine", func() bool {
		list, err := s.store.Workers(t.Context())
		return err == nil && len(list) == 1 && list[0].Node.Devices[0].Health == node.Quarantined
	})
	list, err := s.store.Workers(t.Context())
	require.NoError(t, err)
	require.Contains(t, list[0].Node.Devices[0].Reason, "proven gone")
	s.worker("w2", 1)
	s.await("undead")
	require.Equal(t, int32(1), calls.Load(), "nothing ran on it again")
	require.Equal(t, []experiment.Outcome{experiment.OutcomeFailed, experiment.OutcomeSuccess}, s.outcomes(row))
}

// However an attempt ends, its device is free for the next one at once.
func TestKernelInvariant03_DeviceIsFreeAfterEveryEnd(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	s.worker("w1", 1)
	for i, change := range []func(*task.Task){
		func(t *task.Task) { t.Command.Run.Argv = []string{"./absent", "{{i}}"} },
		func(t *task.Task) { t.Command.Run.Argv = []string{"sh", "-c", "exit 1", "sh", "{{i}}"} },
		func(t *task.Task) { t.Command.Run.Argv = []string{"sh", "{{nope}}"} },
		func(t *task.Task) { t.Command.Build = &task.Step{Argv: []string{"false"}} },
		func(t *task.Task) {
			t.Command.Run.Argv = []string{"sleep", "1000", "{{i}}"}
			t.Optimization.IterationTimeout = task.Duration(200 * time.Millisecond)
		},
	} {
		bad := s.script(fmt.Sprintf("bad-%d", i), 1, "")
		change(bad)
		s.submit(bad)
		require.Equal(t, store.TaskFailed, s.await(bad.Name).State)
		s.submit(s.script(fmt.Sprintf("good-%d", i), 1, alone))
		s.complete(fmt.Sprintf("good-%d", i))
	}
}

// The task's time ends what runs, and what has not begun never does: two
// quick ones, one that hangs, two behind it.
func TestKernelInvariant04_TotalStopsWhatHasNotBegun(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	s.worker("w1", 1)
	spec := s.script("total", 5, began+`[ "$1" != 3 ] || sleep 1000`)
	spec.Optimization.MaxParallel = 1
	spec.Optimization.IterationTimeout, spec.Optimization.Timeout = task.Duration(20*time.Second), task.Duration(4*time.Second)
	s.submit(spec)
	row := s.complete("total")
	require.Equal(t, []experiment.Outcome{experiment.OutcomeSuccess, experiment.OutcomeSuccess, experiment.OutcomeTotal,
		experiment.OutcomeNotStarted, experiment.OutcomeNotStarted}, s.outcomes(row))
	require.Equal(t, []string{"1", "2", "3"}, s.trace("began"))
	require.Equal(t, "the task's time was over", row.Cause)
	require.Equal(t, 1, *row.Best, "a partial result is a result")
	third := s.experiments(row)[2]
	require.Equal(t, "task", third.Failure.Timeout)
	require.LessOrEqual(t, third.Failure.Limit, 4*time.Second, "it had what was left, no more")
	for i, e := range s.experiments(row) {
		require.Equal(t, int64(i+1), e.Parameters["i"], "every configuration has its row")
	}
}

func TestKernelInvariant05_TimeoutOfOneDoesNotStopTheSweep(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	s.worker("w1", 1)
	spec := s.script("sweep", 4, `[ "$1" != 2 ] || sleep 1000`)
	spec.Optimization.IterationTimeout = task.Duration(time.Second)
	s.submit(spec)
	row := s.complete("sweep")
	require.Equal(t, []experiment.Outcome{experiment.OutcomeSuccess, experiment.OutcomeTimeout, experiment.OutcomeSuccess,
		experiment.OutcomeSuccess}, s.outcomes(row))
	require.Equal(t, "experiment", s.experiments(row)[1].Failure.Timeout)
}

// Five operations whose total is no longer than one experiment may take, the
// first of each hanging: the cause is the total, the device has one user at a
// time, and each operation gets it clean.
func TestKernelInvariant06_FiveOperationsThatHang(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	s.worker("w1", 1)
	for i := range 5 {
		spec := s.script(fmt.Sprintf("hang-%d", i), 2, alone+began+"sleep 1000 & wait")
		spec.Optimization.MaxParallel = 1
		spec.Optimization.IterationTimeout, spec.Optimization.Timeout = task.Duration(500*time.Millisecond), task.Duration(500*time.Millisecond)
		s.submit(spec)
	}
	for i := range 5 {
		row := s.await(fmt.Sprintf("hang-%d", i))
		require.Equal(t, []experiment.Outcome{experiment.OutcomeTotal, experiment.OutcomeNotStarted}, s.outcomes(row))
	}
	require.Empty(t, s.trace("clash"), "two at once, or one that outlived its run")
	require.Len(t, s.trace("began"), 5)
}

// Rows are there before the next experiment starts, and a manager that goes in
// the middle takes none along.
func TestKernelInvariant07_FinishedRowsSurvive(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	s.worker("w1", 1)
	spec := s.script("partial", 4, began+`[ "$1" != 3 ] || sleep 1000`)
	spec.Optimization.MaxParallel = 1
	spec.Optimization.Timeout, spec.Optimization.IterationTimeout = task.Duration(6*time.Second), task.Duration(6*time.Second)
	row := s.submit(spec)
	s.started(3)
	s.stop()
	require.Equal(t, experiment.Success, s.experiments(row)[0].State)
	require.Equal(t, experiment.Success, s.experiments(row)[1].State)
	s.dispatch()
	row = s.complete("partial")
	require.Equal(t, []experiment.Outcome{experiment.OutcomeSuccess, experiment.OutcomeSuccess, experiment.OutcomeTotal,
		experiment.OutcomeNotStarted}, s.outcomes(row))
	require.Equal(t, []string{"1", "2", "3"}, s.trace("began"))
}

// The manager's clock frees an experiment, never a device: while a program
// overruns on a worker that cannot be heard, nothing else starts there.
func TestKernelInvariant09_LeaseThatRunsOutFreesNoDevice(t *testing.T) {
	t.Parallel()
	s := newStand(t, brief)
	u, err := url.Parse(s.nats.URL())
	require.NoError(t, err)
	wire, err := relay.Listen(t.Context(), u.Host)
	require.NoError(t, err)
	t.Cleanup(wire.Close)
	var now, most, calls atomic.Int32
	release := make(chan struct{})
	s.worker("w1", 1, func(c *setup) { c.url = "nats://" + wire.Addr() }, runs(func(context.Context, []node.Device) command.Result {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer now.Add(-1)
		if calls.Add(1) == 1 {
			<-release // deaf to its context
		}
		return ok()
	}))
	row := s.submit(noop("overrun", 1))
	s.until("it runs", func() bool { return calls.Load() == 1 })
	wire.Set(relay.Refused)
	s.until("the lease runs out", func() bool { return s.experiments(row)[0].State == experiment.Queued })
	wire.Set(relay.Open)
	s.until("the worker is heard again", func() bool { return s.isOnline("w1") })
	s.submit(noop("behind", 1))
	s.until("both are offered", func() bool { return s.offers() == 2 })
	require.Equal(t, int32(1), calls.Load())
	close(release)
	s.complete("overrun")
	s.complete("behind")
	require.Equal(t, int32(1), most.Load(), "one at a time")
	s.requireOnce(row)
}

// Nobody runs what nobody waits for any more.
func TestKernelInvariant11_AbandonedWorkDoesNotRun(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	row := s.submit(s.script("abandoned", 2, began))
	s.until("it is offered", func() bool { return s.offers() == 1 })
	require.NoError(t, s.store.CancelTask(t.Context(), row.ID, "nobody waits"))
	s.worker("w1", 1)
	s.submit(noop("other", 3))
	s.complete("other")
	s.until("no offer is left", func() bool { return s.offers() == 0 })
	require.Empty(t, s.trace("began"))
	require.Equal(t, []experiment.Outcome{experiment.OutcomeCancelled}, s.outcomes(row))
}

// A worker asks again until the manager is back, and its answer is one grant.
func TestKernelInvariant12_AskingIsTolerantAndRepeatable(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	p := s.puppet("p1")
	p.beat()
	row := s.submit(noop("asked", 1))
	s.until("it is queued", func() bool { return len(s.experiments(row)) == 1 })
	item := itemOf(s.experiments(row)[0].ID)
	first := p.claim(item)[0]
	s.stop()
	_, err := ask[struct{}](p, "fleetune.claim.p1", struct{}{})
	require.Error(t, err, "nobody answers")
	s.dispatch()
	again := p.claim(item)[0]
	require.Equal(t, first.Epoch, again.Epoch)
	require.NotEmpty(t, p.claim(itemOf(p.session))[0].Refused, "an experiment that nobody knows")
}

// The order is that of the file, the first of equals wins, and it does so again.
func TestKernelInvariant13_ChoiceIsDeterministic(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	s.worker("w1", 3)
	for _, name := range []string{"once", "twice"} {
		spec := noop(name, 6)
		spec.Space = space.Space{Parameters: []space.Parameter{
			{Name: "z", Type: space.Choice, Values: []any{"late", "early"}},
			{Name: "a", Type: space.Choice, Values: []any{int64(3), int64(1), int64(2)}},
		}}
		s.submit(spec)
		row := s.complete(name)
		var order []string
		for _, e := range s.experiments(row) {
			order = append(order, fmt.Sprint(e.Parameters["z"], " ", e.Parameters["a"]))
		}
		require.Equal(t, []string{"late 3", "late 1", "late 2", "early 3", "early 1", "early 2"}, order)
		require.Equal(t, 1, *row.Best, "all are equal")
	}
}

// A row without the metric cannot win by what else it has.
func TestKernelInvariant14_WinnersNumbersComeFromOneRow(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	s.worker("w1", 1)
	spec := s.script("rows", 2, `if [ "$1" = 1 ]; then
printf '{"schema":1,"run_id":"%s","correct":true,"metrics":{"speedup":{"unit":"","samples":[9]}}}' "$EXP_RUN_ID" > "$EXP_RESULT_PATH"
exit 0; fi`+"\n")
	s.submit(spec)
	row := s.complete("rows")
	require.Equal(t, []experiment.Outcome{experiment.OutcomeNoMetric, experiment.OutcomeSuccess}, s.outcomes(row))
	require.Equal(t, 2, *row.Best)
	best := s.experiments(row)[1]
	require.Equal(t, []float64{2}, best.Scores)
	require.Len(t, best.Metrics, 1)
	require.Nil(t, s.experiments(row)[0].Scores)
}
