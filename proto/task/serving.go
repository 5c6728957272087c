package task

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/proto/space"
)

// KindServing experiments start an inference engine, load it and stop it.
const KindServing = "serving"

// A Serving experiment starts an engine with the arguments of a point, waits
// until it serves, loads it cell by cell, and stops it. Every experiment of a
// task loads the same cells.
type Serving struct {
	// Runtime is base_runtime as written; Engine is what it selects: vllm,
	// sglang, tensorrt-llm or llama.cpp.
	Runtime string `json:"base_runtime"`
	Engine  string `json:"engine"`
	// Version of the engine that the arguments are for; empty is the newest
	// that is known.
	Version string `json:"engine_version,omitempty"`
	// Launcher is local, docker, kubernetes or endpoint.
	Launcher string `json:"launcher"`
	// Models has one entry, or one for every value of the parameter "model".
	Models []Model `json:"models"`
	// Image is the container image with its tag; empty is the engine's own.
	Image    string `json:"image,omitempty"`
	ImageTag string `json:"runtime_image_tag,omitempty"`
	// Program starts the engine: an interpreter of a virtual environment, or
	// the engine's own program, in the image where a launcher runs one; empty
	// is what the worker finds, or what the engine's image has.
	Program []string `json:"program,omitempty"`
	// Endpoint is a server that runs already; launcher endpoint only.
	Endpoint   *Endpoint   `json:"endpoint,omitempty"`
	Kubernetes *Kubernetes `json:"kubernetes,omitempty"`
	// Simulate replaces the engine by the simulated one: a rehearsal.
	Simulate *Simulate `json:"simulate,omitempty"`
	Env      Env       `json:"env"`

	Benchmark Benchmark `json:"benchmark"`
	SLO       *SLO      `json:"slo,omitempty"`
	// Scoring is penalty or legacy.
	Scoring Scoring `json:"scoring"`
	// CostPerDeviceHour prices a device, in any currency; 0 is unknown.
	CostPerDeviceHour float64 `json:"cost_per_device_hour,omitempty"`

	// LoadTimeout bounds the time from the start of the engine until it
	// serves, BenchmarkTimeout all cells together.
	LoadTimeout      Duration `json:"load_timeout"`
	BenchmarkTimeout Duration `json:"benchmark_timeout"`

	// NoBaseline leaves out the experiment with the engine's defaults.
	NoBaseline bool `json:"no_baseline,omitempty"`
	// Baseline is the point measured first; parameters that it does not name
	// are left to the engine, and an empty one is the engine's defaults.
	Baseline space.Point `json:"baseline"`
	// Finalists is how many leaders are measured again beside the baseline.
	Finalists  int        `json:"finalists"`
	Thresholds Thresholds `json:"thresholds"`
}

// Model returns the model that a point names, or the only one.
func (s *Serving) Model(p space.Point) Model {
	id, _ := p[ParameterModel].(string)
	for _, m := range s.Models {
		if m.ID == id {
			return m
		}
	}
	if len(s.Models) == 0 {
		return Model{}
	}
	return s.Models[0]
}

// Parameters of a serving task that are no arguments of the engine. The
// prefixes stand before the name of a field of quant_config, of
// parallel_config, or of an environment variable.
const (
	ParameterModel  = "model"
	PrefixQuant     = "quant."
	PrefixParallel  = "parallel."
	PrefixEnv       = "env."
	ParameterPreset = "preset" // behind PrefixQuant or PrefixParallel
)

// Omitted is the value of a parameter that is left to the engine: null in a
// task file.
const Omitted = "(default)"

// A Model is what an engine serves.
type Model struct {
	// ID is a hub id (org/name), a folder under the worker's model root, or an
	// absolute path.
	ID       string `json:"id_or_path"`
	Revision string `json:"revision,omitempty"`
	// Namespace stands before the names of containers, and is the namespace on
	// Kubernetes.
	Namespace string `json:"namespace,omitempty"`
	// TokenSecret names the secret that opens a gated model.
	TokenSecret string `json:"token_secret,omitempty"`
	// QuantMethod marks a checkpoint that is quantised already (awq, gptq…).
	QuantMethod string `json:"quant_method,omitempty"`
	// Config is the file beside the task file that Architecture is read from.
	Config string `json:"config,omitempty"`
	// Architecture is what the memory estimate needs, as far as it is known.
	Architecture *Architecture `json:"architecture,omitempty"`
}

// Architecture is the shape of a decoder-only transformer, as its config.json
// tells it.
type Architecture struct {
	Name            string `json:"name,omitempty"`
	Layers          int    `json:"layers"`
	Hidden          int    `json:"hidden"`
	Intermediate    int    `json:"intermediate"`
	Heads           int    `json:"heads"`
	KVHeads         int    `json:"kv_heads"`
	HeadDim         int    `json:"head_dim"`
	Vocabulary      int    `json:"vocabulary"`
	TiedEmbeddings  bool   `json:"tied_embeddings,omitempty"`
	MaxPositions    int    `json:"max_positions,omitempty"`
	DType           string `json:"dtype,omitempty"`
	QuantMethod     string `json:"quant_method,omitempty"`
	QuantBits       int    `json:"quant_bits,omitempty"`
	Experts         int    `json:"experts,omitempty"`
	ExpertsPerToken int    `json:"experts_per_token,omitempty"`
	SharedExperts   int    `json:"shared_experts,omitempty"`
	MoEIntermediate int    `json:"moe_intermediate,omitempty"`
	DenseLayers     int    `json:"dense_layers,omitempty"` // of a mixture of experts
	KVLoraRank      int    `json:"kv_lora_rank,omitempty"` // multi-head latent attention
	RopeHeadDim     int    `json:"rope_head_dim,omitempty"`
	QLoraRank       int    `json:"q_lora_rank,omitempty"`
	VHeadDim        int    `json:"v_head_dim,omitempty"`
	SlidingWindow   int    `json:"sliding_window,omitempty"`
	WeightBytes     int64  `json:"weight_bytes,omitempty"` // of the files, where known
	ParameterCount  int64  `json:"parameter_count,omitempty"`
}

// An Endpoint is a server that runs already.
type Endpoint struct {
	URL string `json:"url"`
	// KeySecret names the secret that holds the API key.
	KeySecret string `json:"key_secret,omitempty"`
}

// Kubernetes says how the launcher of that name places an engine.
type Kubernetes struct {
	Namespace string `json:"namespace,omitempty"`
	// Storage is the volume with the models.
	Storage      *Storage          `json:"storage,omitempty"`
	NodeSelector map[string]string `json:"node_selector,omitempty"`
	// OME writes an InferenceService instead of a Deployment.
	OME bool `json:"ome,omitempty"`
	// BaseModel and Runtime are clusterbasemodel_config and
	// clusterservingruntime_config.
	BaseModel json.RawMessage `json:"clusterbasemodel_config,omitempty"`
	Runtime   json.RawMessage `json:"clusterservingruntime_config,omitempty"`
}

// Storage is a volume with models.
type Storage struct {
	Type      string `json:"type"`
	Name      string `json:"pvc_name"`
	Subpath   string `json:"pvc_subpath,omitempty"`
	MountPath string `json:"mount_path"`
}

// Model is a model of the volume as a pod sees it: a path below the mount as it
// is, else the mounted folder where the volume has one model alone, else the
// folder of the model's name.
func (s *Storage) Model(id string) string {
	switch {
	case path.IsAbs(id) && strings.HasPrefix(path.Clean(id)+"/", path.Clean(s.MountPath)+"/"):
		return path.Clean(id)
	case path.IsAbs(id), s.Subpath != "":
		return s.MountPath
	}
	return path.Join(s.MountPath, id)
}

// Simulate names the hardware of a rehearsal.
type Simulate struct {
	// GPU is a device that the simulated engine knows, such as h100-sxm.
	GPU string `json:"gpu"`
	// Speed above 1 lets simulated time pass faster than the clock.
	Speed float64 `json:"speed,omitempty"`
}

// Benchmark is the fixed set of cells and how each is loaded.
type Benchmark struct {
	// Task is text-to-text, text-to-embeddings or text-to-rerank.
	Task      string `json:"task"`
	ModelName string `json:"model_name,omitempty"`
	Tokenizer string `json:"model_tokenizer,omitempty"`
	// Scenarios × Concurrency are the cells, the concurrency varying fastest.
	Scenarios   []string `json:"traffic_scenarios"`
	Concurrency []int    `json:"num_concurrency"`
	// CellTime and CellRequests end a cell, whichever comes first.
	CellTime     Duration `json:"cell_time"`
	CellRequests int      `json:"cell_requests"`
	// Warmup requests before the first cell, not measured.
	Warmup int `json:"warmup"`
	// Extra members of every request body.
	Extra   map[string]json.RawMessage `json:"additional_params,omitempty"`
	Dataset *Dataset                   `json:"dataset,omitempty"`
}

// A Dataset is the source of the scenario "dataset", and of the prompts of the
// others where it is given.
type Dataset struct {
	URL         string `json:"url"`
	Deduplicate bool   `json:"deduplicate"`
	// TokenSecret names the secret that opens the URL.
	TokenSecret string `json:"token_secret,omitempty"`
}

// A Cell is one traffic scenario at one concurrency.
type Cell struct {
	Scenario    string `json:"scenario"`
	Concurrency int    `json:"concurrency"`
}

func (c Cell) String() string { return fmt.Sprintf("%s × %d", c.Scenario, c.Concurrency) }

// Cells lists the fixed set, in the order in which it is measured.
func (b *Benchmark) Cells() []Cell {
	cells := make([]Cell, 0, len(b.Scenarios)*len(b.Concurrency))
	for _, s := range b.Scenarios {
		for _, n := range b.Concurrency {
			cells = append(cells, Cell{Scenario: s, Concurrency: n})
		}
	}
	return cells
}

// Scoring says how missed SLOs enter a score.
type Scoring string

// The scorings: a continuous penalty that stays finite and keeps the sign, and
// the formula of LLM Autotuner.
const (
	ScoringPenalty Scoring = "penalty"
	ScoringLegacy  Scoring = "legacy"
)

// SLO is what users of the model are promised.
type SLO struct {
	Terms []SLOTerm `json:"terms"`
	// Steepness of the penalty: lower is steeper.
	Steepness float64 `json:"steepness"`
}

// An SLOTerm bounds one metric from above.
type SLOTerm struct {
	// Metric is the name in the measurement, such as p90_e2e_latency.
	Metric string `json:"metric"`
	// Threshold in the metric's unit: seconds.
	Threshold float64 `json:"threshold"`
	Weight    float64 `json:"weight"`
	// HardFail makes a configuration infeasible when it exceeds the threshold
	// by more than FailRatio of it.
	HardFail  bool    `json:"hard_fail,omitempty"`
	FailRatio float64 `json:"fail_ratio"`
}

// IsArgument says whether a parameter of a serving task is an argument of the
// engine, as opposed to an axis that is mapped to arguments or environment.
func IsArgument(parameter string) bool {
	return parameter != ParameterModel && !strings.HasPrefix(parameter, PrefixQuant) &&
		!strings.HasPrefix(parameter, PrefixParallel) && !strings.HasPrefix(parameter, PrefixEnv)
}

// place names the launcher that a worker must have, and the engine where
// neither the task nor an image brings it.
func (s *Serving) place() (launcher, engine string) {
	switch {
	case s.Simulate != nil:
		return "local", ""
	case s.Launcher == "local" && len(s.Program) == 0:
		return s.Launcher, s.Engine
	default:
		return s.Launcher, ""
	}
}

// secrets lists the names of all secrets that an experiment resolves.
func (s *Serving) secrets() []string {
	names := slices.Collect(maps.Values(s.Env.Secrets))
	for _, m := range s.Models {
		names = append(names, m.TokenSecret)
	}
	if s.Endpoint != nil {
		names = append(names, s.Endpoint.KeySecret)
	}
	if s.Benchmark.Dataset != nil {
		names = append(names, s.Benchmark.Dataset.TokenSecret)
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == "" })
}
