package serving

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/shared/engine"
	"github.com/fleetune/fleetune/worker/command"
	"github.com/fleetune/fleetune/worker/launch"
	"github.com/fleetune/fleetune/worker/launch/endpoint"
	"github.com/fleetune/fleetune/worker/launch/local"
	"github.com/fleetune/fleetune/worker/launch/port"
	"github.com/fleetune/fleetune/worker/load/mockopenai"
	"github.com/fleetune/fleetune/worker/process"
	"github.com/fleetune/fleetune/worker/serving/hub"
	"github.com/fleetune/fleetune/worker/serving/testengine"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	testengine.Main()
	if err := process.BecomeSubreaper(); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// A stand is a serving experiment on this machine.
type stand struct {
	t       *testing.T
	config  Config
	spec    task.Serving
	offer   wire.Offer
	devices []node.Device
	budget  time.Duration
	dir     string // the engine's traces
	logs    string

	mu      sync.Mutex
	phases  []string
	details []string
	heard   func(phase string)
}

func newStand(t *testing.T, shape testengine.Shape) *stand {
	t.Helper()
	runner := process.New(process.Config{})
	s := &stand{t: t, dir: t.TempDir(), logs: t.TempDir(), budget: time.Minute}
	model := filepath.Join(t.TempDir(), "model.gguf")
	require.NoError(t, os.WriteFile(model, []byte("GGUF"), 0o600))
	s.config = Config{
		Launchers: map[string]launch.Launcher{
			"local": local.New(local.Config{Runner: runner, Ports: port.New()}), "endpoint": endpoint.Launcher{},
		},
		Hub: hub.New(hub.Config{Cache: t.TempDir(), Root: t.TempDir()}),
	}
	s.spec = task.Serving{
		Runtime: "llama.cpp", Engine: "llama.cpp", Launcher: "local", Models: []task.Model{{ID: model}},
		Program:   testengine.Program(shape, s.dir),
		Benchmark: task.Benchmark{Task: "text-to-text", Scenarios: []string{"D(20,5)"}, Concurrency: []int{1, 4}, CellRequests: 20, CellTime: task.Duration(20 * time.Second), Warmup: 2},
		Scoring:   task.ScoringPenalty, LoadTimeout: task.Duration(30 * time.Second), BenchmarkTimeout: task.Duration(40 * time.Second),
	}
	s.offer = wire.Offer{Experiment: uuid.New(), Task: uuid.New(), TaskName: "stand", Number: 1, Kind: task.KindServing,
		Parameters: space.Point{"threads": float64(1)}, Repeats: 1}
	s.devices = []node.Device{{ID: "cpu-1", Vendor: node.CPU, Model: "slot", Health: node.Healthy}}
	return s
}

// do runs the experiment as the agent does.
func (s *stand) do(ctx context.Context) command.Result {
	s.t.Helper()
	staged, res := s.stage(ctx)
	if res != nil {
		return *res
	}
	defer func() { require.NoError(s.t, staged.Close()) }()
	result := staged.Run(ctx, s.devices, s.budget, false)
	if !result.Unproven {
		require.True(s.t, testengine.Free(s.dir), "a process of the engine is left")
	}
	return result
}

func (s *stand) stage(ctx context.Context) (*Staged, *command.Result) {
	s.t.Helper()
	spec, err := json.Marshal(s.spec)
	require.NoError(s.t, err)
	s.offer.Spec = spec
	tag := "fleetune-test-" + s.offer.Experiment.String()
	return New(s.config).Stage(ctx, command.Job{Offer: s.offer, Tag: tag, Dir: filepath.Join(s.t.TempDir(), tag),
		Log: func(stream string) string { return filepath.Join(s.logs, strings.ReplaceAll(stream, " ", ".")) },
		Phase: func(phase, detail string) {
			s.mu.Lock()
			entered := len(s.phases) == 0 || s.phases[len(s.phases)-1] != phase
			if entered {
				s.phases = append(s.phases, phase)
			}
			if detail != "" {
				s.details = append(s.details, phase+": "+detail)
			}
			heard := s.heard
			s.mu.Unlock()
			if heard != nil && entered {
				heard(phase)
			}
		}})
}

func (s *stand) log(stream string) string {
	data, err := os.ReadFile(filepath.Join(s.logs, stream))
	require.NoError(s.t, err)
	return string(data)
}

func requireOutcome(t *testing.T, want experiment.Outcome, got command.Result) {
	t.Helper()
	require.Equal(t, want, got.Outcome, "%+v", got.Failure)
	require.False(t, got.Unproven)
}

func TestServes(t *testing.T) {
	s := newStand(t, testengine.Good)
	s.spec.SLO = &task.SLO{Terms: []task.SLOTerm{{Metric: "mean_ttft", Threshold: 10}}}
	s.spec.CostPerDeviceHour = 3.6
	s.offer.Repeats = 2
	res := s.do(t.Context())
	requireOutcome(t, experiment.OutcomeSuccess, res)
	serving := res.Measurement.Serving
	require.Len(t, serving.Cells, 2)
	for i, c := range serving.Cells {
		require.Equal(t, []int{1, 4}[i], c.Concurrency)
		require.Empty(t, c.Missing)
		require.Equal(t, 40, c.Requests)
		for _, name := range []string{"mean_e2e_latency", "p99_ttft", "mean_tpot", "p50_itl", "mean_total_throughput_per_gpu", "goodput", "error_rate", "cost_per_million_tokens"} {
			require.Len(t, c.Metrics[name].Samples, 2, name)
		}
		require.Equal(t, "s", c.Metrics["mean_ttft"].Unit)
		require.LessOrEqual(t, c.Metrics["mean_ttft"].Median, c.Metrics["mean_e2e_latency"].Median)
		require.NotContains(t, c.Metrics, "mean_power")
	}
	require.Positive(t, serving.LoadSeconds)
	require.Equal(t, 1, serving.WorldSize)
	require.Contains(t, strings.Join(serving.Command, " "), "--threads 1")
	require.Equal(t, []string{"load", "benchmark", "stop"}, s.phases)
	require.Equal(t, []string{
		"benchmark: warming up",
		"benchmark: D(20,5) × 1, cell 1 of 2, pass 1 of 2", "benchmark: D(20,5) × 4, cell 2 of 2, pass 1 of 2",
		"benchmark: D(20,5) × 1, cell 1 of 2, pass 2 of 2", "benchmark: D(20,5) × 4, cell 2 of 2, pass 2 of 2",
	}, s.details)
	require.Contains(t, s.log("progress"), "serves after")
	require.Contains(t, s.log("engine"), "argv:")
}

// Every configuration of a task gets the same prompts.
func TestConfigurationsGetTheSamePrompts(t *testing.T) {
	var seen [][]string
	id := uuid.New()
	for range 2 {
		mock, err := mockopenai.Start(mockopenai.Config{})
		require.NoError(t, err)
		s := newStand(t, testengine.Good)
		s.spec.Launcher, s.spec.Endpoint, s.spec.Program = "endpoint", &task.Endpoint{URL: mock.URL}, nil
		s.spec.Runtime, s.spec.Engine = "tensorrt-llm", "tensorrt-llm"
		s.offer.Task, s.offer.Parameters, s.spec.Benchmark.Concurrency = id, space.Point{}, []int{1}
		s.spec.Runtime, s.spec.Engine = "llama.cpp", "llama.cpp"
		ready(t, s)
		requireOutcome(t, experiment.OutcomeSuccess, s.do(t.Context()))
		var prompts []string
		for _, r := range mock.Recordings() {
			prompts = append(prompts, r.PromptText())
		}
		mock.Close()
		seen = append(seen, prompts)
	}
	require.NotEmpty(t, seen[0])
	require.Equal(t, seen[0], seen[1])
}

// ready lets an engine that answers no probes pass for ready: the mock server
// has none.
func ready(t *testing.T, s *stand) {
	t.Helper()
	s.config.Client = healthy()
}

func TestFaults(t *testing.T) {
	for shape, c := range map[testengine.Shape]struct {
		outcome experiment.Outcome
		phase   string
		cause   engine.Cause
		timeout string
		change  func(*stand)
	}{
		testengine.NeverReady: {outcome: experiment.OutcomeTimeout, phase: "load", timeout: "load",
			change: func(s *stand) { s.spec.LoadTimeout = task.Duration(time.Second) }},
		testengine.Silent: {outcome: experiment.OutcomeTimeout, phase: "load", timeout: "experiment",
			change: func(s *stand) { s.budget = time.Second }},
		testengine.DiesLoading: {outcome: experiment.OutcomeOutOfMemory, phase: "load", cause: engine.CauseOOMAtLoad},
		testengine.BadFlag:     {outcome: experiment.OutcomeFailed, phase: "load", cause: engine.CauseBadFlag},
		testengine.DiesLater:   {outcome: experiment.OutcomeOutOfMemory, phase: "benchmark", cause: engine.CauseOOMAtRun},
		testengine.Slow: {outcome: experiment.OutcomeTimeout, phase: "benchmark", timeout: "benchmark",
			change: func(s *stand) { s.spec.BenchmarkTimeout = task.Duration(time.Second) }},
		testengine.Fails:  {outcome: experiment.OutcomeFailed, phase: "benchmark", cause: CauseErrors},
		testengine.Leaks:  {outcome: experiment.OutcomeSuccess},
		testengine.Floods: {outcome: experiment.OutcomeSuccess},
		testengine.Deaf: {outcome: experiment.OutcomeTimeout, phase: "benchmark", timeout: "experiment", change: func(s *stand) {
			s.spec.Benchmark.CellRequests, s.budget = 1_000_000, 2*time.Second
		}},
		testengine.PortTaken: {outcome: experiment.OutcomeSuccess},
	} {
		t.Run(string(shape), func(t *testing.T) {
			t.Parallel()
			s := newStand(t, shape)
			if c.change != nil {
				c.change(s)
			}
			res := s.do(t.Context())
			requireOutcome(t, c.outcome, res)
			if c.outcome == experiment.OutcomeSuccess {
				return
			}
			require.Equal(t, c.phase, res.Failure.Phase)
			require.Equal(t, c.timeout, res.Failure.Timeout)
			if c.cause != "" {
				require.Equal(t, string(c.cause), res.Failure.Cause)
			}
			require.NotEmpty(t, res.Failure.Message)
			require.NotEmpty(t, res.Failure.LogTail)
		})
	}
}

// An engine that dies at a later cell leaves the earlier ones valid, and the
// missing one marked.
func TestPartialSuccessIsKept(t *testing.T) {
	s := newStand(t, testengine.DiesLater)
	s.spec.Benchmark.Concurrency = []int{1, 4, 8}
	res := s.do(t.Context())
	requireOutcome(t, experiment.OutcomeOutOfMemory, res)
	cells := res.Measurement.Serving.Cells
	require.Empty(t, cells[0].Missing)
	require.Equal(t, 20, cells[0].Requests)
	require.NotEmpty(t, cells[0].Metrics)
	require.NotEmpty(t, cells[1].Missing)
	require.Empty(t, cells[1].Metrics)
	require.Equal(t, "not measured: "+res.Failure.Message, cells[2].Missing)
	require.NotContains(t, res.Measurement.Metrics, "mean_e2e_latency", "a missing cell was averaged away")
}

// What is asked of an engine that has died ends with it, however much there
// was left to ask.
func TestLoadEndsWithTheEngine(t *testing.T) {
	s := newStand(t, testengine.DiesLater)
	const never = time.Hour
	s.spec.Benchmark.CellRequests, s.spec.Benchmark.CellTime = 1_000_000_000, task.Duration(never)
	s.spec.BenchmarkTimeout, s.budget = task.Duration(never), never
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	requireOutcome(t, experiment.OutcomeOutOfMemory, s.do(ctx))
	require.NoError(t, ctx.Err(), "the load went on")
}

// trouble is a launcher on whose engines something happens that is no fault of
// theirs.
type trouble struct {
	launch.Launcher
	lost     string // how their end is told
	unproven error  // what stopping them comes to
}

func (l trouble) Launch(ctx context.Context, s launch.Spec) (launch.Server, error) {
	v, err := l.Launcher.Launch(ctx, s)
	if err != nil {
		return nil, err
	}
	return troubled{v, l}, nil
}

type troubled struct {
	launch.Server
	with trouble
}

func (v troubled) End() launch.End {
	end := v.Server.End()
	end.Lost = v.with.lost
	return end
}

func (v troubled) Stop(ctx context.Context, grace time.Duration) error {
	return errors.Join(v.Server.Stop(ctx, grace), v.with.unproven)
}

// An engine that its launcher lost sight of says nothing about its
// configuration: the place is at fault, loading and under load.
func TestLostEngines(t *testing.T) {
	for shape, phase := range map[testengine.Shape]string{testengine.DiesLoading: "load", testengine.DiesLater: "benchmark"} {
		t.Run(phase, func(t *testing.T) {
			s := newStand(t, shape)
			s.config.Launchers["local"] = trouble{Launcher: s.config.Launchers["local"], lost: "the daemon tells no more"}
			res := s.do(t.Context())
			requireOutcome(t, experiment.OutcomeInfraError, res)
			require.Equal(t, phase, res.Failure.Phase)
			require.Contains(t, res.Failure.Message, "the engine was lost")
			require.Contains(t, res.Failure.Message, "the daemon tells no more")
			require.Nil(t, res.Measurement, "what was measured before counts for nothing: it is done again elsewhere")
		})
	}
}

// What cannot be proven gone may still use the devices, whatever was measured.
func TestEngineThatIsNotProvenGone(t *testing.T) {
	s := newStand(t, testengine.Good)
	s.config.Launchers["local"] = trouble{Launcher: s.config.Launchers["local"], unproven: launch.ErrUnproven}
	res := s.do(t.Context())
	require.Equal(t, experiment.OutcomeInfraError, res.Outcome)
	require.Equal(t, "stop", res.Failure.Phase)
	require.True(t, res.Unproven)
	require.Contains(t, res.Failure.Message, launch.ErrUnproven.Error())
}

// A flood of output is kept in part and costs no more.
func TestFloodedLogIsBounded(t *testing.T) {
	s := newStand(t, testengine.Floods)
	requireOutcome(t, experiment.OutcomeSuccess, s.do(t.Context()))
	text := s.log("engine")
	require.Less(t, len(text), 5<<20)
	require.Contains(t, text, "bytes left out")
	require.Contains(t, text, "argv:")
}

var errCancel = errors.New("cancelled by the test")

// Cancelled in any phase, the experiment ends and leaves nothing.
func TestCancelInEachPhase(t *testing.T) {
	for phase, shape := range map[string]testengine.Shape{"load": testengine.NeverReady, "benchmark": testengine.Slow, "stop": testengine.Deaf} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			s := newStand(t, shape)
			ctx, cancel := context.WithCancelCause(t.Context())
			s.heard = func(name string) {
				if name == phase {
					cancel(errCancel)
				}
			}
			res := s.do(ctx)
			if phase != "stop" {
				requireOutcome(t, experiment.OutcomeCancelled, res)
				require.Contains(t, res.Failure.Message, errCancel.Error())
			}
			require.False(t, res.Unproven)
		})
	}
}

func TestCancelWhileStaging(t *testing.T) {
	s := newStand(t, testengine.Good)
	held := silence(t)
	s.config.Hub = hub.New(hub.Config{Cache: t.TempDir(), Endpoint: held.URL, Client: held.Client()})
	s.spec.Models = []task.Model{{ID: "org/model"}}
	ctx, cancel := context.WithCancelCause(t.Context())
	s.heard = func(string) { cancel(errCancel) }
	res := s.do(ctx)
	requireOutcome(t, experiment.OutcomeCancelled, res)
	require.Equal(t, "download", res.Failure.Phase)
}

// llama.cpp takes a file: of a folder it is given the one in it. A tokenizer
// that cannot be read is no reason to measure nothing.
func TestFolderWithAGGUFFile(t *testing.T) {
	s := newStand(t, testengine.Good)
	dir := filepath.Join(t.TempDir(), "folder")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "model-Q8_0.gguf"), []byte("GGUF"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "broken.json"), []byte("{}"), 0o600))
	s.spec.Models = []task.Model{{ID: dir}}
	s.spec.Benchmark.Tokenizer = filepath.Join(dir, "broken.json")
	res := s.do(t.Context())
	requireOutcome(t, experiment.OutcomeSuccess, res)
	m := res.Measurement.Serving
	require.Contains(t, m.Command, filepath.Join(dir, "model-Q8_0.gguf"))
	require.Contains(t, strings.Join(m.Notes, "\n"), "prompts were measured in bytes: the tokenizer cannot be used")
}

func TestConfirmationTakesTurns(t *testing.T) {
	s := newStand(t, testengine.Good)
	s.offer.Purpose, s.offer.Baseline, s.offer.Repeats = experiment.Confirm, space.Point{}, 2
	res := s.do(t.Context())
	requireOutcome(t, experiment.OutcomeSuccess, res)
	for _, list := range [][]experiment.Cell{res.Measurement.Serving.Cells, res.Measurement.Serving.Reference} {
		require.Len(t, list, 2)
		for _, c := range list {
			require.Len(t, c.Metrics["mean_ttft"].Samples, 3, "of two nothing would be significant")
		}
	}
	var order []string
	for line := range strings.Lines(s.log("progress")) {
		if _, rest, ok := strings.Cut(line, " "); ok && strings.Contains(rest, "launched") {
			order = append(order, strings.SplitN(rest, ":", 2)[0])
		}
	}
	require.Equal(t, []string{"candidate", "baseline", "baseline", "candidate", "candidate", "baseline"}, order)
	launches := res.Measurement.Serving.Launches
	require.Len(t, launches, len(order))
	for i, l := range launches {
		require.Equal(t, order[i], l.Side)
		require.Equal(t, l.Side == "candidate", strings.Contains(strings.Join(l.Command, " "), "--threads 1"), "%v", l.Command)
		require.Positive(t, l.LoadSeconds)
		require.Contains(t, s.log(strings.ReplaceAll(l.Log, " ", ".")), "argv:", "it is the name of the output")
	}
}

// broken is a launcher whose second engine is a program that ends at once.
type broken struct {
	launch.Launcher
	launches *int
}

func (l broken) Launch(ctx context.Context, s launch.Spec) (launch.Server, error) {
	if *l.launches++; *l.launches == 2 {
		s.Command = func(launch.Place) []string { return []string{"false"} }
	}
	return l.Launcher.Launch(ctx, s)
}

// A baseline that fails beside the candidate has run before: the candidate is
// not to blame, and it is tried once more elsewhere.
func TestBaselineThatFailsInAConfirmation(t *testing.T) {
	s := newStand(t, testengine.Good)
	s.offer.Purpose, s.offer.Baseline = experiment.Confirm, space.Point{}
	s.config.Launchers["local"] = broken{s.config.Launchers["local"], new(int)}
	res := s.do(t.Context())
	requireOutcome(t, experiment.OutcomeInfraError, res)
	require.Contains(t, res.Failure.Message, "the baseline, measured in turns with the candidate")
}

// A confirmation that cannot do all its rounds in its time keeps those it did.
func TestConfirmationKeepsTheRoundsThatFit(t *testing.T) {
	s := newStand(t, testengine.Good)
	s.offer.Baseline, s.offer.Repeats = space.Point{}, 50
	s.spec.Benchmark.Warmup, s.spec.Benchmark.Concurrency = 0, []int{1}
	s.budget = 4 * time.Second
	res := s.do(t.Context())
	requireOutcome(t, experiment.OutcomeSuccess, res)
	n := len(res.Measurement.Serving.Cells[0].Metrics["mean_ttft"].Samples)
	require.Positive(t, n)
	require.Less(t, n, 50)
	require.Len(t, res.Measurement.Serving.Reference[0].Metrics["mean_ttft"].Samples, n)
}

// Secrets reach the engine's environment, and nothing else.
func TestSecretsStayHere(t *testing.T) {
	s := newStand(t, testengine.Tells)
	s.spec.Env.Secrets = map[string]string{"API_SECRET": "vault"}
	s.config.Secret = func(string) (string, error) { return "hunter-2-hunter", nil }
	s.heard = func(string) {
		// Nobody who follows the log sees the secret before it is masked.
		text, _ := os.ReadFile(filepath.Join(s.logs, "engine"))
		require.NotContains(t, string(text), "hunter-2-hunter")
	}
	res := s.do(t.Context())
	requireOutcome(t, experiment.OutcomeSuccess, res)
	text := s.log("engine")
	require.Contains(t, text, "API_SECRET="+strings.Repeat("*", len("hunter-2-hunter")))
	data, err := json.Marshal(res)
	require.NoError(t, err)
	require.NotContains(t, string(data)+text+s.log("progress"), "hunter-2-hunter")
}

// An engine whose last words are its secrets has them masked in the failure.
func TestSecretsStayOutOfFailures(t *testing.T) {
	s := newStand(t, testengine.Betrays)
	s.spec.Env.Secrets = map[string]string{"API_SECRET": "vault"}
	s.config.Secret = func(string) (string, error) { return "hunter-2-hunter", nil }
	res := s.do(t.Context())
	requireOutcome(t, experiment.OutcomeFailed, res)
	data, err := json.Marshal(res)
	require.NoError(t, err)
	require.Contains(t, string(data), "API_SECRET=***")
	require.NotContains(t, string(data)+s.log("engine")+s.log("progress"), "hunter-2-hunter")
}

// An engine that fetches its model itself, where it runs, is given the token for
// that; one whose model was fetched for it is not.
func TestTokenForAnEngineThatFetches(t *testing.T) {
	for launcher, want := range map[string]bool{"kubernetes": true, "local": false} {
		s := newStand(t, testengine.Tells)
		s.config.Launchers["kubernetes"] = s.config.Launchers["local"]
		s.config.Secret = func(string) (string, error) { return "hunter-2-hunter\n", nil }
		s.spec.Launcher, s.spec.Models[0].TokenSecret = launcher, "hub"
		requireOutcome(t, experiment.OutcomeSuccess, s.do(t.Context()))
		text := s.log("engine")
		require.Equal(t, want, strings.Contains(text, "HF_TOKEN="+strings.Repeat("*", len("hunter-2-hunter"))+"\n"), text)
		require.NotContains(t, text, "hunter-2-hunter")
	}
}

// The engine sees its devices and a small environment, not the worker's.
func TestEngineSeesItsDevicesOnly(t *testing.T) {
	t.Setenv("SOMETHING_OF_THE_WORKER", "1")
	s := newStand(t, testengine.Tells)
	s.spec.Env.Set = map[string]string{"CUDA_VISIBLE_DEVICES": "GPU-of-another", "MINE": "yes"}
	s.devices = []node.Device{{ID: "GPU-1", Vendor: "nvidia", Model: "test", Memory: 80e9, Health: node.Healthy}}
	requireOutcome(t, experiment.OutcomeSuccess, s.do(t.Context()))
	text := s.log("engine")
	require.Contains(t, text, "CUDA_VISIBLE_DEVICES=GPU-1\n")
	require.Contains(t, text, "\nMINE=yes\n")
	require.NotContains(t, text, "SOMETHING_OF_THE_WORKER")
}

func TestMissingModelAndProgram(t *testing.T) {
	s := newStand(t, testengine.Good)
	s.spec.Models = []task.Model{{ID: "/no/such/model"}}
	res := s.do(t.Context())
	requireOutcome(t, experiment.OutcomeInfraError, res) // another worker may have it
	require.Equal(t, string(engine.CauseMissingModel), res.Failure.Cause)
	require.Contains(t, res.Failure.Message, "this worker does not have the model")
	require.Contains(t, res.Failure.Message, "/no/such/model")
	require.Contains(t, res.Failure.Hint, "resources.labels")

	s = newStand(t, testengine.Good)
	s.spec.Program = []string{"/no/such/program"}
	res = s.do(t.Context())
	requireOutcome(t, experiment.OutcomeInfraError, res)
	require.Contains(t, res.Failure.Hint, "--engine llama.cpp=PROGRAM")
}
