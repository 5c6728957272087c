package dispatch_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/chaos/relay"
	"github.com/fleetune/fleetune/manager/postgres"
	"github.com/fleetune/fleetune/manager/postgres/pgtest"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/worker/agent"
	"github.com/fleetune/fleetune/worker/command"
	"github.com/fleetune/fleetune/worker/process"
	"github.com/stretchr/testify/require"
)

// brief is a lease that tests can wait for.
const brief = 3 * time.Second

// Invariant 1: what JetStream has lost is made again from PostgreSQL, and
// nothing is measured twice for it. Some offers wait when the store goes, one
// experiment runs.
func TestInvariant01_EmptyStoreIsRefilled(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	w := s.worker("w1", 2)
	s.submit(s.script("wiped", 12, began+`[ "$1" = 1 ] || `+gate))
	s.started(3)
	s.until("more are offered", func() bool { return s.offers() > 0 })
	s.wipeNATS()
	s.openGate()
	row := s.complete("wiped")
	require.Len(t, s.trace("began"), 12, "each ran once")
	s.requireOnce(row)
	w.stop()
}

// Invariant 2: every message may come twice, and in every order.
func TestInvariant02_RepeatsAreHarmless(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	p := s.puppet("p1")
	p.beat()
	spec := noop("twice", 3)
	spec.Optimization.MaxParallel = 3
	row := s.submit(spec)
	s.until("they are queued", func() bool { return len(s.experiments(row)) == 3 })
	list := s.experiments(row)

	// Claims: the same one again, and one of somebody else.
	item := itemOf(list[0].ID)
	first := p.claim(item, item)
	again := p.claim(item)
	require.Equal(t, int64(1), first[0].Epoch)
	require.Equal(t, first[0].Epoch, first[1].Epoch)
	require.Equal(t, first[0].Epoch, again[0].Epoch)
	rival := s.puppet("p2")
	rival.beat()
	require.NotEmpty(t, rival.claim(itemOf(list[0].ID))[0].Refused)

	// Reports: twice in a message, in two messages, and after the next claim.
	r := p.result(row.ID, first[0], "noop")
	p.report(r, r)
	p.report(r)
	p.confirmed(3)
	require.Equal(t, []string{"1 success accepted p1"}, s.attempts(list[0]))

	// A failure of the place queues the experiment again, once, however often
	// it is told; the late repeat does not touch the next attempt.
	g := p.takes(list[1].ID)
	infra := p.result(row.ID, g, "noop")
	infra.Outcome, infra.Measurement = experiment.OutcomeInfraError, nil
	infra.Failure = &experiment.Failure{Phase: "run", Message: "the disk is full"}
	p.report(infra)
	p.report(infra)
	p.confirmed(2)
	g = p.takes(list[1].ID)
	require.Equal(t, int64(2), g.Epoch)
	p.report(infra)
	p.report(p.result(row.ID, g, "noop"))
	p.confirmed(2)
	require.Equal(t, []string{"1 infra_error p1", "2 success accepted p1"}, s.attempts(list[1]))

	// Offers: nobody has acknowledged one. Those of experiments that have ended
	// are refused to whoever claims them, and purged.
	require.Positive(t, s.offers())
	require.NotEmpty(t, p.claim(itemOf(list[0].ID))[0].Refused)
	p.report(p.result(row.ID, p.takes(list[2].ID), "noop"))
	s.complete("twice")
	s.until("no offer is left", func() bool { return s.offers() == 0 })
	s.requireOnce(row)
}

// A message may carry what is no report, or one in another's name. What is
// good in it counts all the same.
func TestBadReportDoesNotTakeOthersAlong(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	p := s.puppet("p1")
	p.beat()
	row := s.submit(noop("mixed", 1))
	s.until("it is queued", func() bool { return len(s.experiments(row)) == 1 })
	good := p.result(row.ID, p.takes(s.experiments(row)[0].ID), "noop")
	foreign := good
	foreign.Worker = "p2"
	p.publish([]byte("this is no report"))
	p.report(foreign)
	p.report(foreign, good)
	s.complete("mixed")
	require.Equal(t, []string{"1 success accepted p1"}, s.attempts(s.experiments(row)[0]), "a worker reports in its own name only")
}

// Invariant 4: the manager is down when the result is ready, NATS restarts
// with the result on its way, and PostgreSQL after it.
func TestInvariant04_NothingFinishedIsLost(t *testing.T) {
	t.Parallel()
	_ = pgtest.URL(t) // skips where there is no PostgreSQL
	dir := t.TempDir()
	start := func() *postgres.Server {
		server, err := postgres.Start(t.Context(), postgres.Options{Dir: dir})
		require.NoError(t, err)
		return server
	}
	server := start()
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	db, err := store.Open(t.Context(), server.URL())
	require.NoError(t, err)
	t.Cleanup(db.Close)
	require.NoError(t, db.Migrate(t.Context()))
	s := newStandOn(t, db, 30*time.Second)
	w := s.worker("w1", 1)
	row := s.submit(s.script("kept", 2, began+gate+`echo "$1" >> "$STAND/done"`))
	s.started(1)

	s.stop()
	s.openGate()
	s.until("the first has run", func() bool { return len(s.trace("done")) == 1 })
	spooled := filepath.Join(w.Dir, "spool")
	s.until("its result is on disk", func() bool { return holds(spooled, s.experiments(row)[0].ID.String()) })
	s.restartNATS(func() {
		require.NoError(t, server.Stop())
		server = start()
	})
	s.dispatch()
	s.until("the first is accepted", func() bool {
		list, err := s.store.Experiments(t.Context(), row.ID, 0, 1)
		return err == nil && len(list) == 1 && list[0].State == experiment.Success
	})
	require.NoError(t, server.Stop())
	server = start()
	s.complete("kept")
	require.Equal(t, []string{"1", "2"}, s.trace("began"), "each ran once")
	s.requireOnce(row)
}

// holds says whether any file of a folder contains the text.
func holds(dir, text string) bool {
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return false
	}
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil && strings.Contains(string(data), text) {
			return true
		}
	}
	return false
}

// Invariant 5: the work of a worker that cannot be heard runs elsewhere once
// its lease is over. The worker has stopped its processes by then, learns the
// truth when it is back, and its report changes nothing.
func TestInvariant05_SilentWorkersWorkRunsElsewhere(t *testing.T) {
	t.Parallel()
	s := newStand(t, brief)
	u, err := url.Parse(s.nats.URL())
	require.NoError(t, err)
	wire, err := relay.Listen(t.Context(), u.Host)
	require.NoError(t, err)
	t.Cleanup(wire.Close)
	s.worker("w1", 1, func(c *setup) { c.url = "nats://" + wire.Addr() })
	// The script holds the device's lock as long as it lives: if w1's is not
	// dead when w2's starts, it clashes.
	row := s.submit(s.script("moved", 1, alone+began+gate))
	s.started(1)
	s.worker("w2", 1)
	s.until("w2 is known", func() bool { return s.isOnline("w2") })
	wire.Set(relay.Silent)
	s.started(2)
	taken := s.experiments(row)[0]
	require.Equal(t, "w2", *taken.Worker)
	attempts, err := s.store.Attempts(t.Context(), taken.ID)
	require.NoError(t, err)
	require.Equal(t, "lost", attempts[0].Outcome)
	wire.Set(relay.Open)
	s.until("w1 has told its end", func() bool { return s.attempts(taken)[0] == "1 handed_back w1" })
	require.Equal(t, experiment.Running, s.experiments(row)[0].State)
	s.openGate()
	s.complete("moved")
	require.Empty(t, s.trace("clash"), "w1's process was alive when w2's began")
	require.Equal(t, []string{"1 handed_back w1", "2 success accepted w2"}, s.attempts(taken))
}

func (s *stand) isOnline(name string) bool {
	list, err := s.store.Workers(s.t.Context())
	if err != nil {
		return false
	}
	for _, w := range list {
		if w.Name == name && w.State == store.WorkerOnline {
			return true
		}
	}
	return false
}

// A zombie reports success after its lease ran out and another has the work.
func TestInvariant05_ZombiesLateResultIsNotAccepted(t *testing.T) {
	t.Parallel()
	s := newStand(t, brief)
	zombie, heir := s.puppet("zombie"), s.puppet("heir")
	zombie.beat()
	row := s.submit(noop("haunted", 1))
	s.until("it is queued", func() bool { return len(s.experiments(row)) == 1 })
	e := s.experiments(row)[0]
	old := zombie.takes(e.ID)
	s.until("the lease runs out", func() bool { return s.experiments(row)[0].State == experiment.Queued })
	reply := zombie.beat(wire.Held{Experiment: e.ID, Epoch: old.Epoch, Phase: "running"})
	require.Len(t, reply.Lost, 1, "it is told")
	heir.beat()
	current := heir.takes(e.ID)
	require.Equal(t, old.Epoch+1, current.Epoch)
	zombie.report(zombie.result(row.ID, old, "noop"))
	zombie.confirmed(1)
	require.Equal(t, experiment.Running, s.experiments(row)[0].State)
	heir.report(heir.result(row.ID, current, "noop"))
	s.complete("haunted")
	require.Equal(t, []string{"1 success zombie", "2 success accepted heir"}, s.attempts(e))
}

// Invariant 8: a cancel ends the processes and frees the device, also when the
// manager that took it is gone before it could pass it on.
func TestInvariant08_CancelReachesTheProcess(t *testing.T) {
	t.Parallel()
	for name, down := range map[string]bool{"at once": false, "through the next manager": true} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, 30*time.Second)
			s.worker("w1", 1)
			row := s.submit(s.script("cancelled", 3, alone+began+"sleep 1000 & wait"))
			s.started(1)
			if down {
				s.stop()
			}
			require.NoError(t, s.store.CancelTask(t.Context(), row.ID, "enough"))
			if down {
				s.dispatch()
			}
			s.until("what ran is reported", func() bool { return s.experiments(row)[0].Outcome != nil })
			require.Equal(t, experiment.OutcomeCancelled, *s.experiments(row)[0].Outcome)
			// The device, and the lock that the script held, are free.
			s.submit(s.script("next", 1, alone))
			s.complete("next")
			require.Empty(t, s.trace("clash"))
		})
	}
}

// Invariant 9: failures are told apart and kept with their evidence, and none
// of them has a score.
func TestInvariant09_FailuresAreToldApart(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	s.worker("w1", 2)
	three := 3
	for _, c := range []struct {
		name, text string
		change     func(*task.Task)
		outcome    experiment.Outcome
		want       experiment.Failure
	}{
		{name: "failed", text: "echo first; echo last words >&2; exit 3", outcome: experiment.OutcomeFailed,
			want: experiment.Failure{Phase: "run", ExitCode: &three, LogTail: "last words"}},
		{name: "memory", text: "echo CUDA out of memory >&2; exit 3", outcome: experiment.OutcomeOutOfMemory,
			want: experiment.Failure{Phase: "run", ExitCode: &three, LogTail: "out of memory"}},
		{name: "signal", text: "kill -SEGV $$", outcome: experiment.OutcomeFailed,
			want: experiment.Failure{Phase: "run"}},
		{name: "silent", text: "exit 0", outcome: experiment.OutcomeNoMetric, want: experiment.Failure{Phase: "result"}},
		{name: "other-metric", change: func(t *task.Task) { t.Optimization.Objectives[0].Metric = "speed" },
			outcome: experiment.OutcomeNoMetric, want: experiment.Failure{Phase: "result"}},
		{name: "timeout", text: "echo waiting; sleep 1000", outcome: experiment.OutcomeTimeout,
			change: func(t *task.Task) { t.Optimization.IterationTimeout = task.Duration(300 * time.Millisecond) },
			want:   experiment.Failure{Phase: "run", Timeout: "experiment", LogTail: "waiting"}},
		{name: "build-timeout", outcome: experiment.OutcomeTimeout,
			change: func(t *task.Task) {
				t.Command.Build = &task.Step{Argv: []string{"sleep", "1000"}, Timeout: task.Duration(100 * time.Millisecond)}
			}, want: experiment.Failure{Phase: "build", Timeout: "build"}},
		{name: "render", change: func(t *task.Task) { t.Command.Run.Argv = append(t.Command.Run.Argv, "{{nope}}") },
			outcome: experiment.OutcomeRenderError, want: experiment.Failure{Phase: "render"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := s.script(c.name, 1, c.text+"\n")
			if c.change != nil {
				c.change(spec)
			}
			s.submit(spec)
			row := s.await(c.name)
			require.Equal(t, store.TaskFailed, row.State)
			e := s.experiments(row)[0]
			require.Equal(t, c.outcome, *e.Outcome, e.Failure)
			require.Nil(t, e.Scores)
			require.Equal(t, c.want.Phase, e.Failure.Phase)
			require.Equal(t, c.want.ExitCode, e.Failure.ExitCode)
			require.Equal(t, c.want.Timeout, e.Failure.Timeout)
			require.Contains(t, e.Failure.LogTail, c.want.LogTail)
			require.NotEmpty(t, e.Failure.Message)
			require.Equal(t, []string{"1 " + string(c.outcome) + " accepted w1"}, s.attempts(e))
		})
	}
}

// Invariant 12: a secret is named in the task, resolved on the worker, and
// stands in no row, whatever the program prints.
func TestInvariant12_NoSecretInRows(t *testing.T) {
	t.Parallel()
	const secret = "correct-horse-battery"
	s := newStand(t, 30*time.Second)
	s.worker("w1", 1, func(c *setup) {
		c.Node.Secrets = []string{"key-of-the-vault"}
		c.Kinds[task.KindCommand] = agent.Command{Runner: command.New(process.New(process.Config{}), command.Options{
			Secret: func(string) (string, error) { return secret, nil },
		})}
	})
	spec := s.script("discreet", 1, `[ "$KEY" = `+secret+` ] || exit 7
echo "the key is $KEY" >&2; exit 3`+"\n")
	spec.Command.Run.Argv[2] = strings.ReplaceAll(spec.Command.Run.Argv[2], secret, `"$(echo correct-horse)-battery"`)
	spec.Command.Env.Secrets = map[string]string{"KEY": "key-of-the-vault"}
	s.submit(spec)
	row := s.await("discreet")
	e := s.experiments(row)[0]
	require.Equal(t, 3, *e.Failure.ExitCode, "the program had it")
	require.Contains(t, e.Failure.LogTail, "the key is ")
	require.NotContains(t, e.Failure.LogTail, secret)
	attempts, err := s.store.Attempts(t.Context(), e.ID)
	require.NoError(t, err)
	require.NotContains(t, attempts[0].Failure.LogTail, secret)
}

// What arrives for a task that was deleted is confirmed, so that its worker
// stops to tell of it, and changes nothing.
func TestReportOfADeletedTaskIsDropped(t *testing.T) {
	t.Parallel()
	s := newStand(t, 30*time.Second)
	p := s.puppet("p1")
	p.beat()
	row := s.submit(noop("gone", 1))
	s.until("it is queued", func() bool { return len(s.experiments(row)) == 1 })
	g := p.takes(s.experiments(row)[0].ID)
	first := p.result(row.ID, g, "noop")
	p.report(first)
	p.confirmed(1)
	s.await("gone")
	require.NoError(t, s.store.MarkRecorded(t.Context(), row.ID))
	_, err := s.store.DeleteTask(t.Context(), row.ID, "by the test")
	require.NoError(t, err)
	late := first
	late.Epoch++
	failed := late
	failed.Epoch, failed.Outcome, failed.Measurement = late.Epoch+1, experiment.OutcomeFailed, nil
	p.report(first, late, failed)
	p.confirmed(3)
	left, err := s.store.Attempts(t.Context(), g.Experiment)
	require.NoError(t, err)
	require.Empty(t, left)
}
