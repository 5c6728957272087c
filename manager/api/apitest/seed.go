package apitest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/google/uuid"
)

// epoch is when everything on a seeded stand happened, give or take minutes.
var epoch = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)

// At is a moment on a seeded stand, minutes after its beginning.
func At(minutes float64) time.Time { return epoch.Add(time.Duration(minutes * float64(time.Minute))) }

// Source is the task file that seeded tasks were made from.
func Source(name string) string {
	return fmt.Sprintf(`task_name: %s
description: a kernel with two knobs
parameters:
  tile: [8, 16, 32, 64]
  unroll: [1, 2, 4]
optimization:
  strategy: grid_search
  objective: minimize_time_ms
  max_iterations: 12
  max_parallel: 2
command:
  run: ["./bench", "--tile={{tile}}", "--unroll={{unroll}}"]
`, name)
}

// Create stores a task made from Source.
func (s *Stand) Create(t testing.TB, name string) store.Task {
	t.Helper()
	spec, problems := task.Decode("task.yaml", []byte(Source(name)))
	if spec == nil {
		t.Fatal(problems)
	}
	created, err := s.Store.CreateTask(context.Background(), store.NewTask{Spec: spec, Source: Source(name), Planned: 12})
	if err != nil {
		t.Fatal(err)
	}
	return created
}

// Lead takes the leader lease and returns its term.
func (s *Stand) Lead(t testing.TB) int64 {
	t.Helper()
	lead, err := s.Store.AcquireLeader(context.Background(), uuid.Max, "", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return lead.Term
}

// Queue adds experiments to a task, numbered from first on.
func (s *Stand) Queue(t testing.TB, of store.Task, first int, points ...space.Point) []store.NewExperiment {
	t.Helper()
	var list []store.NewExperiment
	for i, p := range points {
		purpose := experiment.Search
		if first+i == 1 {
			purpose = experiment.Baseline
		}
		list = append(list, store.NewExperiment{ID: uuid.New(), Number: first + i, Purpose: purpose, Parameters: p})
	}
	s.Insert(t, of, list...)
	return list
}

// Insert adds experiments to a task.
func (s *Stand) Insert(t testing.TB, of store.Task, list ...store.NewExperiment) {
	t.Helper()
	if err := s.Store.InsertExperiments(context.Background(), s.Lead(t), of.ID, list); err != nil {
		t.Fatal(err)
	}
}

// Claim gives an experiment to a worker.
func (s *Stand) Claim(t testing.TB, id uuid.UUID, worker string, devices ...string) store.Granted {
	t.Helper()
	claim := store.Claim{ID: uuid.New(), Experiment: id, Worker: worker, Session: uuid.Max, Devices: devices}
	granted, err := s.Store.Claim(context.Background(), []store.Claim{claim})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Store.AnnounceWork(context.Background()); err != nil {
		t.Fatal(err)
	}
	g, ok := granted[claim.ID]
	if !ok {
		t.Fatalf("the claim of %s was refused", id)
	}
	return g
}

// Report commits the result of a claim.
func (s *Stand) Report(t testing.TB, g store.Granted, worker string, outcome experiment.Outcome, ms float64, failure *experiment.Failure) {
	t.Helper()
	report := wire.Report{Version: wire.Version, Worker: worker, Experiment: g.Experiment, Task: g.Task, Epoch: g.Epoch,
		Attempt: g.Attempt, Devices: []string{"cpu-0"}, StartedAt: At(1), FinishedAt: At(2), Outcome: outcome, Failure: failure,
		Timings: map[string]time.Duration{"running": 1500 * time.Millisecond}}
	result := store.Result{Report: report}
	if outcome == experiment.OutcomeSuccess {
		result.Measurement = &experiment.Measurement{Metrics: map[string]experiment.Metric{"time_ms": {
			Unit: "ms", Samples: []float64{ms - 0.5, ms, ms + 0.5}, Median: ms, Spread: 0.5}}}
		result.Scores = []float64{ms}
	}
	committed, err := s.Store.CommitResults(context.Background(), []store.Result{result}, 1)
	if err != nil || len(committed) != 1 {
		t.Fatalf("committing a result: %v, %v", committed, err)
	}
	if err := s.Store.AnnounceProgress(context.Background(), map[uuid.UUID][]int{g.Task: {committed[0].Number}}); err != nil {
		t.Fatal(err)
	}
}

// Finish claims and reports an experiment at once.
func (s *Stand) Finish(t testing.TB, id uuid.UUID, ms float64) {
	t.Helper()
	s.Report(t, s.Claim(t, id, "node-a", "cpu-0"), "node-a", experiment.OutcomeSuccess, ms, nil)
}

// Running stores a task named name that is under way: a baseline, a better
// point, one out of memory, one running on node-a and one queued.
func (s *Stand) Running(t testing.TB, name string) (store.Task, []store.NewExperiment) {
	t.Helper()
	created := s.Create(t, name)
	list := s.Queue(t, created, 1, Point(8, 1), Point(8, 2), Point(8, 4), Point(16, 1), Point(16, 2))
	s.Finish(t, list[0].ID, 12)
	if err := s.Store.SetBaseline(context.Background(), created.ID, 1); err != nil {
		t.Fatal(err)
	}
	s.Finish(t, list[1].ID, 4)
	code := 137
	s.Report(t, s.Claim(t, list[2].ID, "node-a", "cpu-0"), "node-a", experiment.OutcomeOutOfMemory, 0, &experiment.Failure{
		Phase: "run", Message: "killed for memory", Hint: "a smaller tile needs less", ExitCode: &code, Signal: "killed",
		LogTail: "allocating 64 GiB\n"})
	s.Claim(t, list[3].ID, "node-a", "cpu-0")
	s.Date(t, created)
	return s.reread(t, created), list
}

// Complete stores a task named name that has ended with a confirmed best.
func (s *Stand) Complete(t testing.TB, name string) store.Task {
	t.Helper()
	created := s.Create(t, name)
	list := s.Queue(t, created, 1, Point(8, 1), Point(32, 4))
	s.Finish(t, list[0].ID, 12)
	if err := s.Store.SetBaseline(context.Background(), created.ID, 1); err != nil {
		t.Fatal(err)
	}
	s.Finish(t, list[1].ID, 3)
	two := 2
	confirm := store.NewExperiment{ID: uuid.New(), Number: 3, Purpose: experiment.Confirm, Confirms: &two, Parameters: Point(32, 4)}
	s.Insert(t, created, confirm)
	s.Finish(t, confirm.ID, 3)
	speedup := []byte(`{"ratio": 4, "low": 3.8, "high": 4.2, "confidence": 0.95, "significant": true}`)
	if err := s.Store.FinishTask(context.Background(), created.ID, store.TaskCompleted, "the space is exhausted", &two, speedup); err != nil {
		t.Fatal(err)
	}
	s.Date(t, created)
	return s.reread(t, created)
}

// Point of the space of Source.
func Point(tile, unroll int64) space.Point { return space.Point{"tile": tile, "unroll": unroll} }

// Date moves a task and its experiments to known moments, so that what is
// printed of them is the same every time.
func (s *Stand) Date(t testing.TB, of store.Task) {
	t.Helper()
	for _, statement := range []string{
		`UPDATE tasks SET created_at = $2, started_at = CASE WHEN started_at IS NOT NULL THEN $2::timestamptz + interval '1 minute' END,
			deadline_at = CASE WHEN deadline_at IS NOT NULL THEN $2::timestamptz + interval '61 minutes' END,
			finished_at = CASE WHEN finished_at IS NOT NULL THEN $2::timestamptz + interval '5 minutes' END WHERE id = $1`,
		`UPDATE experiments SET queued_at = $2, started_at = CASE WHEN started_at IS NOT NULL THEN $2::timestamptz + interval '1 minute' END,
			finished_at = CASE WHEN finished_at IS NOT NULL THEN $2::timestamptz + interval '2 minutes' END WHERE task_id = $1`,
	} {
		if _, err := s.Pool.Exec(context.Background(), statement, of.ID, At(0)); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *Stand) reread(t testing.TB, of store.Task) store.Task {
	t.Helper()
	now, err := s.Store.Task(context.Background(), of.ID.String())
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// Workers saves two workers: node-a with two CPU slots, of which one is held
// by the experiment given, and node-b, which is lost.
func (s *Stand) Workers(t testing.TB, held ...uuid.UUID) {
	t.Helper()
	s.Phase(t, "running", held...)
}

// Phase saves the same workers, and what is done for the experiments held.
func (s *Stand) Phase(t testing.TB, phase string, held ...uuid.UUID) {
	t.Helper()
	slot := func(i int) node.Device {
		return node.Device{ID: fmt.Sprintf("cpu-%d", i), Index: i, Vendor: node.CPU, Model: "Example CPU", Cores: []int{i + 1}, Health: node.Healthy}
	}
	a := store.Worker{Name: "node-a", Session: uuid.Max, State: store.WorkerOnline, LastBeatAt: At(4),
		Node: node.Advertisement{Worker: "node-a", Host: "a.example", Pool: "default", Kinds: []string{"command", "noop"},
			Launchers: []string{"docker", "local"}, Engines: map[string]string{"vllm": "0.11.0", "llama.cpp": ""}, Models: []string{"org/model"},
			Devices: []node.Device{slot(0), slot(1)}, Version: "test", StartedAt: At(0)}}
	for i, id := range held {
		a.Held = append(a.Held, wire.Held{Experiment: id, Epoch: 1, Phase: phase, Detail: "sample 2 of 5", Devices: []string{fmt.Sprintf("cpu-%d", i)}})
	}
	b := store.Worker{Name: "node-b", Session: uuid.Max, State: store.WorkerLost, LastBeatAt: At(1),
		Node: node.Advertisement{Worker: "node-b", Host: "b.example", Pool: "default", Kinds: []string{"command"},
			Devices: []node.Device{slot(0)}, Version: "test", StartedAt: At(0)}}
	if err := s.Store.SaveWorkers(context.Background(), []store.Worker{a, b}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pool.Exec(context.Background(), `UPDATE workers SET first_seen = $1`, At(0)); err != nil {
		t.Fatal(err)
	}
}
