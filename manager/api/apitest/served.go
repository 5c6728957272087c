package apitest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/score"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/shared/cells"
	"github.com/google/uuid"
)

// ServingSource is the task file of a served task; extra lines go before the
// benchmark.
func ServingSource(name, extra string) string {
	return fmt.Sprintf(`task_name: %s
description: a small model behind vLLM
base_runtime: vllm
model: meta-llama/Llama-3.1-8B-Instruct
parameters:
  max-num-seqs: [16, 64, 256]
  enable-chunked-prefill: [true, false]
optimization:
  strategy: grid_search
  objective: minimize_latency
  max_iterations: 7
  cost_per_device_hour: 3.6
slo:
  ttft: {threshold: 0.5}
  latency:
    p90: {threshold: 4, hard_fail: true, fail_ratio: 0.5}
%sbenchmark:
  traffic_scenarios: ["D(100,100)", "D(2000,200)"]
  num_concurrency: [1, 16]
`, name, extra)
}

// Served stores a serving task named name that has ended: a baseline; a better
// point, which is the best; one that ran out of memory after two cells; one
// that breaks a hard limit; and a confirmation of the best. extra lines join
// its task file, such as one that simulates a GPU.
func (s *Stand) Served(t testing.TB, name, extra string) store.Task {
	t.Helper()
	ctx := context.Background()
	source := ServingSource(name, extra)
	spec, problems := task.Decode("task.yaml", []byte(source))
	if spec == nil {
		t.Fatal(problems)
	}
	created, err := s.Store.CreateTask(ctx, store.NewTask{Spec: spec, Source: source, Planned: 7})
	if err != nil {
		t.Fatal(err)
	}
	points := []space.Point{{}, engine(64, true), engine(256, true), engine(16, false)}
	list := s.Queue(t, created, 1, points...)
	if err := s.Store.SetBaseline(ctx, created.ID, 1); err != nil {
		t.Fatal(err)
	}
	s.serve(t, created, list[0], 1, 4, nil)
	s.serve(t, created, list[1], 0.5, 4, nil)
	code := 1
	s.serve(t, created, list[2], 0.4, 2, &experiment.Failure{Phase: "benchmark", Cause: "oom_at_run", ExitCode: &code,
		Message: "the engine ran out of memory under load", Hint: "lower max-num-seqs", LogTail: "CUDA out of memory\n"})
	s.serve(t, created, list[3], 3, 4, nil)
	two := 2
	confirm := store.NewExperiment{ID: uuid.New(), Number: 5, Purpose: experiment.Confirm, Confirms: &two, Parameters: engine(64, true)}
	s.Insert(t, created, confirm)
	s.serve(t, created, confirm, 0.5, 4, nil)
	speedup := []byte(`{"ratio": 2, "low": 1.9, "high": 2.1, "confidence": 0.95, "significant": true}`)
	if err := s.Store.FinishTask(ctx, created.ID, store.TaskCompleted, "the space is exhausted", &two, speedup); err != nil {
		t.Fatal(err)
	}
	s.Date(t, created)
	return s.reread(t, created)
}

func engine(seqs int64, chunked bool) space.Point {
	return space.Point{"max-num-seqs": seqs, "enable-chunked-prefill": chunked}
}

// serve claims and reports a serving experiment whose times are slow times
// those of a baseline, of which it measured the first n cells.
func (s *Stand) serve(t testing.TB, of store.Task, e store.NewExperiment, slow float64, n int, failure *experiment.Failure) {
	t.Helper()
	g := s.Claim(t, e.ID, "node-a", "gpu-0")
	m := measurement(of.Spec, slow, n, failure)
	if e.Purpose == experiment.Confirm {
		reference := measurement(of.Spec, 1.04, n, nil) // the place was a little slower then
		m.Reference, m.Serving.Reference = reference.Metrics, reference.Serving.Cells
		m.Serving.Launches = []experiment.Launch{{Side: "candidate", Log: "engine", Command: m.Serving.Command, LoadSeconds: 42},
			{Side: "baseline", Log: "baseline engine", Command: []string{"vllm", "serve", "defaults"}, LoadSeconds: 40}, {Side: "baseline", Log: "baseline engine 3", Command: []string{"vllm", "serve", "defaults"}}}
	}
	report := wire.Report{Version: wire.Version, Worker: "node-a", Experiment: g.Experiment, Task: g.Task, Epoch: g.Epoch,
		Attempt: g.Attempt, Devices: []string{"gpu-0"}, StartedAt: At(1), FinishedAt: At(2), Outcome: experiment.OutcomeSuccess,
		Measurement: m, Failure: failure, Timings: map[string]time.Duration{"running": 90 * time.Second}}
	result := store.Result{Report: report}
	if failure != nil {
		result.Outcome = experiment.OutcomeOutOfMemory
	} else {
		verdict := score.Judge(of.Spec, m)
		result.Outcome, result.Failure, result.Scores = verdict.Outcome, verdict.Failure, verdict.Scores
	}
	committed, err := s.Store.CommitResults(context.Background(), []store.Result{result}, 1)
	if err != nil || len(committed) != 1 {
		t.Fatalf("committing a result: %v, %v", committed, err)
	}
}

func measurement(spec *task.Task, slow float64, n int, failure *experiment.Failure) *experiment.Measurement {
	serving := &experiment.Serving{WorldSize: 1, Version: "0.10.0", LoadSeconds: 42, Image: "vllm/vllm-openai:v0.10.0", ImageDigest: "sha256:0123",
		Command:   []string{"vllm", "serve", "meta-llama/Llama-3.1-8B-Instruct", "--host", "127.0.0.1", "--port", "20001"},
		Effective: map[string]string{"kv_cache_dtype": "auto"}, Notes: []string{"expert parallelism is left out: the model has no experts"}}
	if spec.Serving.Simulate != nil {
		serving.Simulated = spec.Serving.Simulate.GPU
	}
	for i, c := range spec.Serving.Benchmark.Cells() {
		cell := experiment.Cell{Scenario: c.Scenario, Concurrency: c.Concurrency}
		if i < n {
			cell.Requests, cell.Metrics = 50, cellMetrics(slow, i)
		} else {
			cell.Missing, cell.Errors, cell.ErrorsByClass = failure.Message, 3, map[string]int{"refused": 3}
		}
		serving.Cells = append(serving.Cells, cell)
	}
	return &experiment.Measurement{Serving: serving, Metrics: cells.Aggregate(serving.Cells, 1, spec.Serving.CostPerDeviceHour)}
}

// cellMetrics are those of the i-th cell, three samples each.
func cellMetrics(slow float64, i int) map[string]experiment.Metric {
	load := 1 + float64(i)
	metrics := map[string]experiment.Metric{}
	add := func(unit string, value float64, names ...string) {
		for _, name := range names {
			metrics[name] = cells.Summarize(unit, []float64{value * 0.99, value, value * 1.01})
		}
	}
	add("s", 0.1*load*slow, "mean_ttft", "p90_ttft", "p99_ttft")
	add("s", 0.005*load*slow, "mean_tpot", "p90_tpot", "p99_tpot")
	add("s", 0.6*load*slow, "mean_e2e_latency", "p50_e2e_latency")
	add("s", 0.7*load*slow, "p90_e2e_latency")
	add("s", 0.8*load*slow, "p99_e2e_latency")
	add("tokens/s", 200*load/slow, "mean_output_throughput")
	add("tokens/s", 400*load/slow, "mean_total_throughput")
	add("requests/s", 2*load/slow, "request_throughput", "goodput")
	add("%", 80, "gpu_utilization")
	add("bytes", 60<<30, "gpu_memory_used")
	add("W", 500, "mean_power")
	add("J", 1.25*slow, "energy_per_token")
	return metrics
}
