package dispatch_test

import (
	"context"
	"fmt"
	"net/url"
	"sort"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/chaos/relay"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/worker/agent"
	"github.com/fleetune/fleetune/worker/command"
	"github.com/stretchr/testify/require"
)

func (s *stand) workerState(name string) store.WorkerState {
	list, err := s.store.Workers(s.t.Context())
	if err != nil {
		return ""
	}
	for _, w := range list {
		if w.Name == name {
			return w.State
		}
	}
	return ""
}

// ends waits until a worker has ended by itself.
func (s *stand) ends(h *hand) {
	s.t.Helper()
	select {
	case <-h.ended:
	case <-time.After(patience):
		s.t.Fatal("the worker does not end")
	}
}

// A worker that is drained finishes what it runs, takes nothing more, and goes.
func TestDrainedWorkerFinishesAndLeaves(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	w := s.worker("w1", 2)
	row := s.submit(s.script("drained", 4, began+gate))
	s.started(1)
	s.until("w1 is known", func() bool { return s.isOnline("w1") })
	require.NoError(t, s.store.SetDrain(t.Context(), "w1", true))
	s.until("it drains", func() bool { return s.workerState("w1") == store.WorkerDraining })
	s.openGate()
	s.ends(w)
	require.NoError(t, w.err)
	s.until("it has left", func() bool { return s.workerState("w1") == store.WorkerLeft })
	require.Len(t, s.trace("began"), 1)
	s.until("its result is accepted", func() bool { return s.experiments(row)[0].State == experiment.Success })
	require.Equal(t, []string{"1 success accepted w1"}, s.attempts(s.experiments(row)[0]))
	s.worker("w2", 2)
	row = s.complete("drained")
	s.requireOnce(row)
}

// A wish that is taken back in time leaves the worker where it is.
func TestDrainTakenBack(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	s.worker("w1", 1)
	s.submit(s.script("stays", 3, began+gate))
	s.started(1)
	s.until("w1 is known", func() bool { return s.isOnline("w1") })
	require.NoError(t, s.store.SetDrain(t.Context(), "w1", true))
	s.until("it drains", func() bool { return s.workerState("w1") == store.WorkerDraining })
	require.NoError(t, s.store.SetDrain(t.Context(), "w1", false))
	s.until("it stays", func() bool { return s.workerState("w1") == store.WorkerOnline })
	s.openGate()
	s.requireOnce(s.complete("stays"))
}

// Told a second time, it stops what runs and hands it back: that counts as no
// attempt, and another goes on at once.
func TestSecondDrainHandsBack(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	w := s.worker("w1", 1)
	row := s.submit(s.script("returned", 1, alone+began+gate))
	s.started(1)
	w.Drain()
	w.HandBack()
	s.ends(w)
	require.NoError(t, w.err)
	require.Equal(t, experiment.Queued, s.experiments(row)[0].State)
	s.worker("w2", 1)
	s.started(2)
	s.openGate()
	row = s.complete("returned")
	require.Empty(t, s.trace("clash"))
	e := s.experiments(row)[0]
	require.Equal(t, []string{"1 handed_back w1", "2 success accepted w2"}, s.attempts(e))
	require.Equal(t, 1, e.Attempts)
}

// Two processes under one name: the newer has it, the older stops.
func TestNewerSessionSupersedesTheOlder(t *testing.T) {
	t.Parallel()
	s := newStand(t, brief)
	older := s.worker("w1", 1)
	s.submit(s.script("doubled", 1, began+gate))
	s.started(1)
	s.worker("w1", 1, func(c *setup) { c.Node.StartedAt = time.Now().Add(time.Second) })
	s.ends(older)
	require.ErrorIs(t, older.err, agent.ErrSuperseded)
	s.started(2)
	s.openGate()
	row := s.complete("doubled")
	s.requireOnce(row)
}

// A result that waits in the spool when its worker ends is reported by the
// next session: nothing is measured twice.
func TestRestartedWorkerReportsWhatItsSpoolHolds(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	dir := t.TempDir()
	w := s.worker("w1", 1, func(c *setup) { c.Dir = dir })
	row := s.submit(s.script("spooled", 1, began+gate+`echo "$1" >> "$STAND/done"`))
	s.started(1)
	s.stop() // nobody takes the result
	// The bus is gone too, so that it cannot wait there.
	s.restartNATS(func() {
		s.openGate()
		s.until("its result is on disk", func() bool { return holds(dir+"/spool", s.experiments(row)[0].ID.String()) })
		w.stop()
		s.natsDir = t.TempDir()
	})
	s.dispatch()
	s.worker("w1", 1, func(c *setup) { c.Dir = dir })
	row = s.complete("spooled")
	require.Equal(t, []string{"1 success accepted w1"}, s.attempts(s.experiments(row)[0]))
	require.Len(t, s.trace("began"), 1)
}

// Self-fencing: cut off from the bus, a worker stops its processes before the
// lease is over, without being told.
func TestWorkerThatIsCutOffStopsItsProcesses(t *testing.T) {
	t.Parallel()
	s := newStand(t, brief)
	u, err := url.Parse(s.nats.URL())
	require.NoError(t, err)
	wire, err := relay.Listen(t.Context(), u.Host)
	require.NoError(t, err)
	t.Cleanup(wire.Close)
	began, stopped := make(chan struct{}, 8), make(chan error, 8)
	s.worker("w1", 1, func(c *setup) { c.url = "nats://" + wire.Addr() }, runs(func(ctx context.Context, _ []node.Device) command.Result {
		began <- struct{}{}
		<-ctx.Done()
		stopped <- context.Cause(ctx)
		return command.Result{Outcome: experiment.OutcomeInfraError, Failure: &experiment.Failure{Phase: "run", Message: "stopped"}}
	}))
	row := s.submit(noop("cut", 1))
	select {
	case <-began: // the row says so before the worker knows
	case <-time.After(patience):
		t.Fatal("it never ran")
	}
	wire.Set(relay.Refused)
	select {
	case cause := <-stopped:
		require.Error(t, cause)
	case <-time.After(patience):
		t.Fatal("it runs on, with its lease over")
	}
	require.Equal(t, experiment.Running, s.experiments(row)[0].State, "it is dead while the lease still lasts")
	require.NoError(t, s.store.CancelTask(t.Context(), row.ID, "seen"))
}

// Invariant 6: stopping the dispatcher again and again changes no choice.
func TestInvariant06_RestartsChangeNoChoice(t *testing.T) {
	t.Parallel()
	for _, strategy := range []string{"grid_search", "random"} {
		t.Run(strategy, func(t *testing.T) {
			choice := func(restarts int) []string {
				s := newStand(t, 30*time.Second)
				s.worker("w1", 2)
				spec := s.script("chosen", 24, "")
				spec.Space.Parameters[0].High = 100
				spec.Optimization.Strategy, spec.Optimization.Seed = strategy, 11
				row := s.submit(spec)
				for i := range restarts {
					s.until("some have ended", func() bool {
						list, err := s.store.Experiments(t.Context(), row.ID, 0, 100)
						ended := 0
						for _, e := range list {
							if e.State.Final() {
								ended++
							}
						}
						return err == nil && ended >= 3+7*i%17
					})
					s.stop()
					s.dispatch()
				}
				row = s.complete("chosen")
				s.requireOnce(row)
				var points []string
				for _, e := range s.experiments(row) {
					points = append(points, fmt.Sprint(e.Number, " ", e.Parameters["i"]))
				}
				return points
			}
			undisturbed := choice(0)
			require.Len(t, undisturbed, 24)
			require.Equal(t, undisturbed, choice(3))
			if strategy == "random" {
				require.False(t, sort.StringsAreSorted(undisturbed))
			}
		})
	}
}

// Invariant 7: which limit it was is told by name, for each that there is.
func TestInvariant07_EveryTimeoutIsNamed(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	s.worker("w1", 1)
	short, long := task.Duration(300*time.Millisecond), task.Duration(time.Minute)
	for _, c := range []struct {
		name    string
		change  func(*task.Task)
		outcome experiment.Outcome
	}{
		{"build", func(t *task.Task) { t.Command.Build = &task.Step{Argv: []string{"sleep", "1000"}, Timeout: short} }, experiment.OutcomeTimeout},
		{"check", func(t *task.Task) { t.Command.Check = &task.Step{Argv: []string{"sleep", "1000"}, Timeout: short} }, experiment.OutcomeTimeout},
		{"run", func(t *task.Task) { t.Command.Run.Timeout = short }, experiment.OutcomeTimeout},
		{"experiment", func(t *task.Task) { t.Optimization.IterationTimeout = short }, experiment.OutcomeTimeout},
		{"task", func(t *task.Task) { t.Optimization.IterationTimeout, t.Optimization.Timeout = long, short }, experiment.OutcomeTotal},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := s.script("over-"+c.name, 1, "sleep 1000")
			c.change(spec)
			s.submit(spec)
			e := s.experiments(s.await(spec.Name))[0]
			require.Equal(t, c.outcome, *e.Outcome, e.Failure)
			require.Equal(t, c.name, e.Failure.Timeout)
			require.Positive(t, e.Failure.Limit)
		})
	}
}

// The task's time bounds what comes before the devices as well.
func TestTaskTimeEndsABuild(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	s.worker("w1", 1)
	spec := s.script("slow-build", 1, "true")
	spec.Command.Build = &task.Step{Argv: []string{"sleep", "1000"}, Timeout: task.Duration(time.Hour)}
	spec.Optimization.IterationTimeout, spec.Optimization.Timeout = task.Duration(300*time.Millisecond), task.Duration(300*time.Millisecond)
	s.submit(spec)
	e := s.experiments(s.await("slow-build"))[0]
	require.Equal(t, experiment.OutcomeTotal, *e.Outcome, e.Failure)
	require.Equal(t, "task", e.Failure.Timeout)
	require.Equal(t, "build", e.Failure.Phase)
}
