package dispatch_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/worker/agent"
	"github.com/fleetune/fleetune/worker/command"
	"github.com/fleetune/fleetune/worker/launch"
	"github.com/fleetune/fleetune/worker/launch/local"
	"github.com/fleetune/fleetune/worker/launch/port"
	"github.com/fleetune/fleetune/worker/process"
	"github.com/fleetune/fleetune/worker/serving"
	"github.com/fleetune/fleetune/worker/serving/hub"
	"github.com/fleetune/fleetune/worker/serving/testengine"
	"github.com/stretchr/testify/require"
)

// server makes a worker one that launches engines.
func server(c *setup) {
	c.Node.Kinds = append(c.Node.Kinds, task.KindServing)
	c.Node.Launchers = []string{local.Name}
	c.Kinds[task.KindServing] = agent.Serving{Kind: serving.New(serving.Config{
		Launchers: map[string]launch.Launcher{local.Name: local.New(local.Config{Runner: process.New(process.Config{}), Ports: port.New()})},
		Hub:       hub.New(hub.Config{Cache: filepath.Join(c.Dir, "models")}),
	})}
}

// engine is a task of one experiment whose engine behaves in a shape.
func (s *stand) engine(name string, shape testengine.Shape) *task.Task {
	s.t.Helper()
	model := filepath.Join(s.dir, "model.gguf")
	require.NoError(s.t, os.WriteFile(model, []byte("GGUF"), 0o600))
	return &task.Task{
		Name:  name,
		Space: space.Space{Parameters: []space.Parameter{{Name: "threads", Type: space.Integer, Low: 1, High: 1}}},
		Optimization: task.Optimization{
			Strategy: "grid_search", Objectives: []task.Objective{{Metric: "mean_ttft", Direction: task.Minimize}},
			MaxIterations: 1, IterationTimeout: task.Duration(20 * time.Second), Timeout: task.Duration(time.Hour), Repeats: 1,
		},
		Serving: &task.Serving{
			Runtime: "llama.cpp", Engine: "llama.cpp", Launcher: local.Name, Models: []task.Model{{ID: model}},
			Program: testengine.Program(shape, s.dir), NoBaseline: true, Scoring: task.ScoringPenalty,
			Benchmark: task.Benchmark{Task: "text-to-text", Scenarios: []string{"D(20,5)"}, Concurrency: []int{1, 4},
				CellRequests: 20, CellTime: task.Duration(20 * time.Second), Warmup: 2},
			LoadTimeout: task.Duration(20 * time.Second), BenchmarkTimeout: task.Duration(20 * time.Second),
		},
		Resources: node.Requirements{Pool: "default", Accelerator: "any", Devices: 1},
		Priority:  task.Normal,
	}
}

// heard tells a test which part of its experiments begins.
type heard struct {
	agent.Kind
	phases chan string
}

func (h heard) Stage(ctx context.Context, j command.Job) (agent.Staged, *command.Result) {
	tell, last := j.Phase, ""
	j.Phase = func(name, detail string) {
		tell(name, detail)
		if name != last {
			h.phases <- name
		}
		last = name
	}
	return h.Kind.Stage(ctx, j)
}

// freed checks that an engine left nothing, and that its device runs another
// experiment at once.
func (s *stand) freed(dir string) {
	s.t.Helper()
	require.True(s.t, testengine.Free(dir), "a process of the engine is left")
	s.submit(noop("after", 1))
	s.complete("after")
}

// Whatever goes wrong with an engine has a name, and leaves the device free.
func TestEnginesGoWrong(t *testing.T) {
	for shape, c := range map[testengine.Shape]struct {
		outcome experiment.Outcome
		change  func(*task.Task)
	}{
		testengine.Good:        {outcome: experiment.OutcomeSuccess},
		testengine.Leaks:       {outcome: experiment.OutcomeSuccess},
		testengine.Floods:      {outcome: experiment.OutcomeSuccess},
		testengine.DiesLoading: {outcome: experiment.OutcomeOutOfMemory},
		testengine.DiesLater:   {outcome: experiment.OutcomeOutOfMemory},
		testengine.BadFlag:     {outcome: experiment.OutcomeFailed},
		testengine.Fails:       {outcome: experiment.OutcomeFailed},
		testengine.NeverReady: {outcome: experiment.OutcomeTimeout, change: func(t *task.Task) {
			t.Serving.LoadTimeout = task.Duration(time.Second)
		}},
		testengine.Slow: {outcome: experiment.OutcomeTimeout, change: func(t *task.Task) {
			t.Serving.BenchmarkTimeout = task.Duration(time.Second)
		}},
		testengine.Deaf: {outcome: experiment.OutcomeTimeout, change: func(t *task.Task) {
			t.Serving.Benchmark.CellRequests, t.Optimization.IterationTimeout = 1_000_000, task.Duration(2*time.Second)
		}},
	} {
		t.Run(string(shape), func(t *testing.T) {
			t.Parallel()
			s := newStand(t, 30*time.Second)
			s.worker("w1", 1, server)
			spec := s.engine("engine", shape)
			if c.change != nil {
				c.change(spec)
			}
			row := s.submit(spec)
			s.await("engine")
			require.Equal(t, []experiment.Outcome{c.outcome}, s.outcomes(row))
			s.freed(s.dir)
		})
	}
}

// A cancelled task's engine is gone, whatever it was doing.
func TestCancelledEngines(t *testing.T) {
	for phase, shape := range map[string]testengine.Shape{
		"load": testengine.NeverReady, "benchmark": testengine.Slow, "stop": testengine.Deaf,
	} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			s := newStand(t, 30*time.Second)
			phases := make(chan string, 10)
			s.worker("w1", 1, server, func(c *setup) {
				c.Kinds[task.KindServing] = heard{Kind: c.Kinds[task.KindServing], phases: phases}
			})
			spec := s.engine("engine", shape)
			spec.Serving.BenchmarkTimeout = task.Duration(5 * time.Second)
			row := s.submit(spec)
			s.until("the engine is in phase "+phase, func() bool {
				select {
				case now := <-phases:
					return now == phase
				default:
					return false
				}
			})
			require.NoError(t, s.store.CancelTask(t.Context(), row.ID, "test"))
			s.until("the attempt is over", func() bool {
				e := s.experiments(row)[0]
				return e.State.Final() && testengine.Free(s.dir)
			})
			s.freed(s.dir)
		})
	}
}
