package dispatch_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/dispatch"
	"github.com/fleetune/fleetune/manager/postgres/pgtest"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/fleetune/fleetune/shared/natsd"
	"github.com/fleetune/fleetune/worker/agent"
	"github.com/fleetune/fleetune/worker/command"
	"github.com/fleetune/fleetune/worker/device"
	"github.com/fleetune/fleetune/worker/process"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { pgtest.Main(m, goleak.IgnoreCurrent()) }

// A stand is a whole Fleetune but for its outer doors: a real PostgreSQL, a
// real NATS server, a dispatcher, and as many agents as a test starts.
type stand struct {
	t      *testing.T
	store  *store.Store
	nats   *natsd.Server
	secret []byte
	log    zerolog.Logger
	lease  time.Duration
	stop   context.CancelFunc // of the dispatcher
}

func newStand(t *testing.T, lease time.Duration) *stand {
	t.Helper()
	s := &stand{t: t, store: pgtest.Store(t), secret: []byte("a secret of the test stand"), lease: lease}
	s.log = zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
	if os.Getenv("FLEETUNE_TEST_DEBUG") != "" {
		s.log = s.log.Level(zerolog.DebugLevel)
	}
	var err error
	s.nats, err = natsd.Start(t.Context(), natsd.Options{Dir: t.TempDir(), Secret: s.secret, Log: s.log})
	require.NoError(t, err)
	t.Cleanup(s.nats.Shutdown)
	s.dispatch()
	return s
}

// dispatch starts a dispatcher, which the end of the test stops.
func (s *stand) dispatch() {
	b, err := bus.Connect(s.t.Context(), bus.Options{
		URL: s.nats.URL(), Name: "manager", User: natsd.ManagerUser, Password: natsd.ManagerPassword(s.secret), Log: s.log,
	})
	require.NoError(s.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	d := dispatch.New(dispatch.Config{Store: s.store, Bus: b, Log: s.log, Lease: s.lease})
	go func() { done <- d.Run(ctx) }()
	var once bool
	s.stop = func() {
		if once {
			return
		}
		once = true
		cancel()
		require.NoError(s.t, <-done)
		b.Close()
	}
	s.t.Cleanup(s.stop)
}

// worker starts an agent with CPU slots and returns how to stop it.
func (s *stand) worker(name string, slots int, change ...func(*agent.Config)) (*agent.Agent, context.CancelFunc) {
	s.t.Helper()
	b, err := bus.Connect(s.t.Context(), bus.Options{
		URL: s.nats.URL(), Name: name, User: name, Password: natsd.WorkerPassword(s.secret, name), Log: s.log,
	})
	require.NoError(s.t, err)
	runner := process.New(process.Config{})
	devices := make([]node.Device, slots)
	for i := range devices {
		devices[i] = node.Device{ID: fmt.Sprintf("%s-slot-%d", name, i), Index: i, Vendor: "cpu", Model: "test slot", Health: node.Healthy}
	}
	semaphore, err := device.NewSemaphore(devices, device.Config{LockFolder: s.t.TempDir(), Owner: name, Sweep: runner.Sweep})
	require.NoError(s.t, err)
	config := agent.Config{
		Node: node.Advertisement{
			Worker: name, Host: "stand", Pool: "default", Kinds: []string{task.KindCommand, task.KindNoop}, StartedAt: time.Now(),
		},
		Dir: s.t.TempDir(), Bus: b, Semaphore: semaphore, Log: s.log,
		Kinds: map[string]agent.Kind{
			task.KindNoop:    agent.Noop{},
			task.KindCommand: agent.Command{Runner: command.New(runner, command.Options{})},
		},
	}
	for _, c := range change {
		c(&config)
	}
	a, err := agent.New(config)
	require.NoError(s.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	var once bool
	stop := func() {
		if once {
			return
		}
		once = true
		cancel()
		require.NoError(s.t, <-done)
		require.NoError(s.t, semaphore.Close())
		b.Close()
	}
	s.t.Cleanup(stop)
	return a, stop
}

// noop is a task of n experiments that do nothing.
func noop(name string, n int) *task.Task {
	return &task.Task{
		Name:  name,
		Space: space.Space{Parameters: []space.Parameter{{Name: "i", Type: space.Integer, Low: 1, High: float64(n)}}},
		Optimization: task.Optimization{
			Strategy: "grid_search", Objectives: []task.Objective{{Metric: "noop", Direction: task.Minimize}},
			MaxIterations: n, IterationTimeout: task.Duration(time.Minute), Timeout: task.Duration(time.Hour), Repeats: 1,
		},
		Resources: node.Requirements{Pool: "default", Accelerator: "any", Devices: 1},
		Priority:  task.Normal,
	}
}

// submit stores a task.
func (s *stand) submit(t *task.Task) store.Task {
	s.t.Helper()
	row, err := s.store.CreateTask(s.t.Context(), store.NewTask{Spec: t, Source: "test", Planned: t.Optimization.MaxIterations})
	require.NoError(s.t, err)
	return row
}

// await waits until a task is final and returns it.
func (s *stand) await(name string) store.Task {
	s.t.Helper()
	row, err := s.awaitFor(name, time.Minute)
	require.NoError(s.t, err)
	return row
}

func (s *stand) awaitFor(name string, limit time.Duration) (store.Task, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), limit)
	defer cancel()
	changed := make(chan struct{}, 1)
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		_ = s.store.Listen(ctx, []string{store.ChannelEvents}, func(_, _ string) { // ends with ctx
			select {
			case changed <- struct{}{}:
			default:
			}
		})
	}()
	defer func() { cancel(); <-listening }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		row, err := s.store.Task(ctx, name)
		if err != nil || row.State.Final() {
			return row, err
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return row, fmt.Errorf("task %s is still %s: %w", name, row.State, ctx.Err())
		}
	}
}

// experiments returns all of a task's experiments.
func (s *stand) experiments(t store.Task) []store.Experiment {
	s.t.Helper()
	list, err := s.store.Experiments(s.t.Context(), t.ID, 0, 1_000_000)
	require.NoError(s.t, err)
	return list
}

// requireOnce checks that every experiment has exactly one accepted result.
func (s *stand) requireOnce(t store.Task) {
	s.t.Helper()
	for _, e := range s.experiments(t) {
		attempts, err := s.store.Attempts(s.t.Context(), e.ID)
		require.NoError(s.t, err)
		accepted := 0
		for _, a := range attempts {
			if a.Accepted {
				accepted++
			}
		}
		require.Equal(s.t, 1, accepted, "experiment %d has %d accepted results", e.Number, accepted)
		require.Equal(s.t, experiment.Success, e.State)
	}
}
