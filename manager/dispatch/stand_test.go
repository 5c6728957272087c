package dispatch_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/dispatch"
	"github.com/fleetune/fleetune/manager/postgres/pgtest"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/fleetune/fleetune/shared/natsd"
	"github.com/fleetune/fleetune/worker/agent"
	"github.com/fleetune/fleetune/worker/command"
	"github.com/fleetune/fleetune/worker/device"
	"github.com/fleetune/fleetune/worker/process"
	"github.com/fleetune/fleetune/worker/serving/testengine"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	testengine.Main()
	pgtest.Main(m, goleak.IgnoreCurrent())
}

// A stand is a whole Fleetune but for its outer doors: a real PostgreSQL, a
// real NATS server, a dispatcher, and as many agents as a test starts.
type stand struct {
	t       *testing.T
	store   *store.Store
	nats    *natsd.Server
	natsDir string
	secret  []byte
	log     zerolog.Logger
	lease   time.Duration
	// dir is where the scripts of a test leave their traces.
	dir  string
	stop func() // of the dispatcher
}

func newStand(t *testing.T, lease time.Duration) *stand {
	t.Helper()
	return newStandOn(t, pgtest.Store(t), lease)
}

func newStandOn(t *testing.T, db *store.Store, lease time.Duration) *stand {
	t.Helper()
	s := &stand{t: t, store: db, natsDir: t.TempDir(), dir: t.TempDir(), secret: []byte("a secret of the test stand"), lease: lease}
	s.log = zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.FatalLevel)
	if os.Getenv("FLEETUNE_TEST_DEBUG") != "" {
		s.log = s.log.Level(zerolog.DebugLevel)
	}
	s.startNATS(0)
	t.Cleanup(func() { s.nats.Shutdown() })
	s.dispatch()
	return s
}

func (s *stand) startNATS(port int) {
	s.t.Helper()
	var err error
	s.nats, err = natsd.Start(s.t.Context(), natsd.Options{Dir: s.natsDir, Port: port, Secret: s.secret, Log: s.log})
	require.NoError(s.t, err)
}

// restartNATS takes the server down and up again at the same address, with
// meanwhile between.
func (s *stand) restartNATS(meanwhile func()) {
	s.t.Helper()
	u, err := url.Parse(s.nats.URL())
	require.NoError(s.t, err)
	port, err := strconv.Atoi(u.Port())
	require.NoError(s.t, err)
	s.nats.Shutdown()
	meanwhile()
	s.startNATS(port)
}

// wipeNATS loses everything that JetStream has stored.
func (s *stand) wipeNATS() { s.restartNATS(func() { s.natsDir = s.t.TempDir() }) }

// dispatch starts a dispatcher, which the end of the test stops.
func (s *stand) dispatch() {
	b := s.connect(natsd.ManagerUser, s.nats.URL(), natsd.ManagerPassword(s.secret))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	d := dispatch.New(dispatch.Config{Store: s.store, Bus: b, Log: s.log, Lease: s.lease})
	go func() { done <- d.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(s.t, <-done)
		b.Close()
	})
	s.t.Cleanup(s.stop)
}

func (s *stand) connect(name, url, password string) *bus.Bus {
	s.t.Helper()
	b, err := bus.Connect(context.Background(), bus.Options{URL: url, Name: name, User: name, Password: password, RetryFirst: true, Log: s.log})
	require.NoError(s.t, err)
	return b
}

// setup is what a test may change of a worker.
type setup struct {
	agent.Config
	url, locks string
	devices    []node.Device
}

// A hand is a worker at work.
type hand struct {
	*agent.Agent
	ended chan struct{} // closed when Run has returned
	err   error         // of Run
	stop  func()        // ends the worker as the end of its process's context does
}

// worker starts an agent with CPU slots, which the end of the test stops.
func (s *stand) worker(name string, slots int, change ...func(*setup)) *hand {
	s.t.Helper()
	runner := process.New(process.Config{})
	c := setup{url: s.nats.URL(), locks: s.t.TempDir()}
	for i := range slots {
		c.devices = append(c.devices, node.Device{ID: fmt.Sprintf("%s-slot-%d", name, i), Index: i, Vendor: "cpu", Model: "test slot", Health: node.Healthy})
	}
	c.Config = agent.Config{
		Node: node.Advertisement{
			Worker: name, Host: "stand", Pool: "default", Kinds: []string{task.KindCommand, task.KindNoop}, StartedAt: time.Now(),
		},
		Dir: s.t.TempDir(), Log: s.log,
		Kinds: map[string]agent.Kind{
			task.KindNoop:    agent.Noop{},
			task.KindCommand: agent.Command{Runner: command.New(runner, command.Options{})},
		},
	}
	for _, f := range change {
		f(&c)
	}
	var err error
	c.Bus = s.connect(name, c.url, natsd.WorkerPassword(s.secret, name))
	c.Semaphore, err = device.NewSemaphore(c.devices, device.Config{LockFolder: c.locks, Owner: name, Sweep: runner.Sweep})
	require.NoError(s.t, err)
	h := &hand{ended: make(chan struct{})}
	h.Agent, err = agent.New(c.Config)
	require.NoError(s.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(h.ended)
		h.err = h.Run(ctx)
	}()
	h.stop = sync.OnceFunc(func() {
		cancel()
		<-h.ended
		require.NoError(s.t, c.Semaphore.Close())
		c.Bus.Close()
	})
	s.t.Cleanup(h.stop)
	return h
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

// succeed reports the time $1, which is the point's i.
const succeed = `
printf '{"schema":1,"run_id":"%s","correct":true,"metrics":{"time":{"unit":"s","samples":[%s]}}}' "$EXP_RUN_ID" "$1" > "$EXP_RESULT_PATH"`

// Parts of scripts: began notes that experiment $1 runs, gate waits until the
// test opens it, alone fails when anybody else uses the device.
const (
	began = `echo "$1" >> "$STAND/began"` + "\n"
	gate  = `until [ -e "$STAND/gate" ]; do sleep 0.05; done` + "\n"
	alone = `exec 9> "$STAND/device"; flock -n 9 || { echo "$1" >> "$STAND/clash"; exit 9; }` + "\n"
)

// script is a task of n experiments that run a shell script, with i from 1 to
// n as $1, and then succeed.
func (s *stand) script(name string, n int, text string) *task.Task {
	t := noop(name, n)
	t.Optimization.Objectives[0].Metric = "time"
	t.Command = &task.Command{
		Run:     task.Step{Argv: []string{"sh", "-c", text + succeed, "sh", "{{i}}"}, Timeout: task.Duration(time.Hour)},
		Measure: task.MeasureResultFile, Env: task.Env{Set: map[string]string{"STAND": s.dir}},
	}
	return t
}

// openGate lets every script that waits go on.
func (s *stand) openGate() {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(filepath.Join(s.dir, "gate"), nil, 0o600))
}

// trace returns the lines that scripts have left in a file.
func (s *stand) trace(name string) []string {
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		return nil
	}
	return strings.Fields(string(data))
}

// patience bounds every wait of a test, far beyond what it should take.
const patience = 30 * time.Second

// until waits for a condition.
func (s *stand) until(what string, condition func() bool) {
	s.t.Helper()
	require.Eventually(s.t, condition, patience, 10*time.Millisecond, what)
}

// started waits until n experiments have begun.
func (s *stand) started(n int) {
	s.t.Helper()
	s.until(fmt.Sprintf("%d experiments begin", n), func() bool { return len(s.trace("began")) >= n })
}

// offers is how many experiments are offered on the bus.
func (s *stand) offers() int {
	s.t.Helper()
	b := s.connect(natsd.ManagerUser, s.nats.URL(), natsd.ManagerPassword(s.secret))
	defer b.Close()
	stream, err := b.JetStream().Stream(s.t.Context(), wire.StreamWork)
	if err != nil {
		return -1 // the dispatcher has not made it yet
	}
	return int(stream.CachedInfo().State.Msgs)
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
	var row store.Task
	s.until("task "+name+" ends", func() bool {
		var err error
		row, err = s.store.Task(s.t.Context(), name)
		return err == nil && row.State.Final()
	})
	return row
}

// complete waits for a task's end and checks that it went well.
func (s *stand) complete(name string) store.Task {
	s.t.Helper()
	row := s.await(name)
	require.Equal(s.t, store.TaskCompleted, row.State, row.Cause)
	return row
}

// experiments returns all of a task's experiments.
func (s *stand) experiments(t store.Task) []store.Experiment {
	s.t.Helper()
	list, err := s.store.Experiments(s.t.Context(), t.ID, 0, 1_000_000)
	require.NoError(s.t, err)
	return list
}

// outcomes lists a task's outcomes in the order of its experiments.
func (s *stand) outcomes(t store.Task) []experiment.Outcome {
	s.t.Helper()
	var list []experiment.Outcome
	for _, e := range s.experiments(t) {
		require.NotNil(s.t, e.Outcome, "experiment %d is still %s", e.Number, e.State)
		list = append(list, *e.Outcome)
	}
	return list
}

// attempts describes an experiment's attempts: "1 lost w1", "2 success accepted w2".
func (s *stand) attempts(e store.Experiment) []string {
	s.t.Helper()
	list, err := s.store.Attempts(s.t.Context(), e.ID)
	require.NoError(s.t, err)
	var texts []string
	for _, a := range list {
		text := fmt.Sprintf("%d %s", a.Epoch, a.Outcome)
		if a.Accepted {
			text += " accepted"
		}
		texts = append(texts, text+" "+a.Worker)
	}
	return texts
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
