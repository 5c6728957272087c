package form

import (
	"fmt"

	"github.com/fleetune/fleetune/proto/task/internal/document"
)

// A Model says what an engine serves.
type Model struct {
	// A hub id (org/name, or org/name:Q4_K_M for one quantisation of a repository
	// of GGUF files), a folder under the worker's model root, or an
	// absolute path.
	IDOrPath string `json:"id_or_path,omitempty" jsonschema:"maxLength=1000"`
	// Older word for id_or_path.
	Name string `json:"name,omitempty" jsonschema:"maxLength=1000"`
	// The hub's branch, tag or commit.
	Revision string `json:"revision,omitempty" jsonschema:"maxLength=200"`
	// Stands before the names of containers, and is the namespace on
	// Kubernetes.
	Namespace string `json:"namespace,omitempty" jsonschema:"maxLength=63"`
	// The name of the secret that opens a gated model; never the token.
	HFToken string `json:"hf_token,omitempty" jsonschema:"maxLength=200"`
	// Marks a checkpoint that is quantised already, as in awq.
	Quantization string `json:"quantization,omitempty" jsonschema:"maxLength=63"`
	// The same, as the checkpoint's own configuration says it.
	QuantizationConfig *QuantizationConfig `json:"quantization_config,omitempty"`
	// The model's config.json, beside the task file: with it, what cannot fit
	// the devices is refused before one is touched.
	Config Path `json:"config,omitempty"`
}

// QuantizationConfig is the part of a checkpoint's configuration that counts.
type QuantizationConfig struct {
	// How the checkpoint was quantised.
	QuantMethod string `json:"quant_method,omitempty" jsonschema:"maxLength=63"`
}

// Models are one model or a list of them, which then is a parameter.
type Models []PlacedModel

// A PlacedModel knows where it stands in the file.
type PlacedModel struct {
	Model
	Path string
}

// BindNode reads an id, a mapping, or a list of either.
func (m *Models) BindNode(b *document.Binder, n *document.Node, at string) {
	if n.Kind != document.List {
		*m = append(*m, bindModel(b, n, at))
		return
	}
	if len(n.Items) == 0 {
		b.Fail(at, "names no model", "at least one")
	}
	for i, item := range n.Items {
		*m = append(*m, bindModel(b, item, document.Item(at, i)))
	}
}

func bindModel(b *document.Binder, n *document.Node, at string) PlacedModel {
	m := PlacedModel{Path: at}
	switch n.Kind {
	case document.Text:
		m.IDOrPath = n.Source
	case document.Map:
		b.Bind(n, at, &m.Model)
	default:
		b.Mismatch(n, at, "a mapping with id_or_path, or the id itself")
	}
	return m
}

// Values are one value or a list of them; null is a value that leaves the
// choice to the engine.
type Values []Value

// BindNode reads a scalar or a list.
func (v *Values) BindNode(b *document.Binder, n *document.Node, at string) {
	if n.Kind != document.List {
		var one Value
		b.Bind(n, at, &one)
		*v = Values{one}
		return
	}
	for i, item := range n.Items {
		var one Value
		b.Bind(item, document.Item(at, i), &one)
		*v = append(*v, one)
	}
}

// Counts are one whole number or a list of them.
type Counts []int64

// BindNode reads a number or a list of numbers, each at least 1.
func (c *Counts) BindNode(b *document.Binder, n *document.Node, at string) {
	items, path := []*document.Node{n}, func(int) string { return at }
	if n.Kind == document.List {
		items, path = n.Items, func(i int) string { return document.Item(at, i) }
	}
	for i, item := range items {
		before := len(b.Problems)
		var count int64
		if b.Bind(item, path(i), &count); len(b.Problems) > before {
			continue
		}
		if count < 1 || count > 1_000_000 {
			b.Fail(path(i), fmt.Sprintf("is %d", count), "a whole number from 1 to 1000000")
			continue
		}
		*c = append(*c, count)
	}
}

// QuantConfig maps precision to the engine's own arguments. Each field is a
// value, or a list that is then a parameter.
type QuantConfig struct {
	// Sets of fields by name, each a value of one parameter.
	Presets Texts `json:"presets,omitempty"`
	// One preset.
	Preset Texts `json:"preset,omitempty"`
	// Precision of the matrix products and weights.
	GEMM Values `json:"gemm_dtype,omitempty"`
	// Precision of the KV cache.
	KVCache Values `json:"kvcache_dtype,omitempty"`
	// Precision of attention.
	Attention Values `json:"attention_dtype,omitempty"`
	// Precision of the experts in a mixture of experts.
	MoE Values `json:"moe_dtype,omitempty"`
}

// ParallelConfig maps degrees of parallelism to the engine's own arguments and
// to the devices that an experiment needs.
type ParallelConfig struct {
	// Sets of fields by name, each a value of one parameter.
	Presets Texts `json:"presets,omitempty"`
	// One preset.
	Preset Texts `json:"preset,omitempty"`
	// Tensor parallelism.
	TP Values `json:"tp,omitempty"`
	// Pipeline parallelism.
	PP Values `json:"pp,omitempty"`
	// Data parallelism.
	DP Values `json:"dp,omitempty"`
	// Context parallelism.
	CP Values `json:"cp,omitempty"`
	// Context parallelism of decoding, within the ranks of tp.
	DCP Values `json:"dcp,omitempty"`
	// Whether experts are spread over the devices.
	ExpertParallel Values `json:"enable_expert_parallel,omitempty"`
	// Tensor parallelism of the experts.
	MoETP Values `json:"moe_tp,omitempty"`
	// Expert parallelism.
	MoEEP Values `json:"moe_ep,omitempty"`
	// Expert clusters.
	MoECluster Values `json:"moe_cluster,omitempty"`
	// Tensor parallelism of the dense layers in a mixture of experts.
	MoEDenseTP Values `json:"moe_dense_tp,omitempty"`
}

// Benchmark says how every configuration is loaded.
type Benchmark struct {
	// What the model is asked for.
	Task string `json:"task,omitempty" jsonschema:"enum=text-to-text,enum=text-to-embeddings,enum=text-to-rerank,default=text-to-text"`
	// The model's name in requests; the model's id unless told otherwise.
	ModelName string `json:"model_name,omitempty" jsonschema:"maxLength=1000"`
	// A hub id or a file whose tokenizer counts the tokens of prompts.
	ModelTokenizer string `json:"model_tokenizer,omitempty" jsonschema:"maxLength=1000"`
	// Lengths of prompts and answers in tokens: D(in,out) fixed,
	// N(mean,deviation)/(mean,deviation) normal, U(min,max)/(min,max) uniform,
	// E(tokens), R(document,query), or dataset.
	TrafficScenarios Texts `json:"traffic_scenarios,omitempty" jsonschema:"maxItems=64,default=D(100\\,100)"`
	// Requests in flight; every scenario at every concurrency is a cell.
	NumConcurrency Counts `json:"num_concurrency,omitempty" jsonschema:"maxItems=64,default=1"`
	// The longest time of a cell, in minutes.
	MaxTimePerIteration float64 `json:"max_time_per_iteration,omitempty" jsonschema:"minimum=0.001,maximum=10000,default=10"`
	// Requests of a cell.
	MaxRequestsPerIteration int64 `json:"max_requests_per_iteration,omitempty" jsonschema:"minimum=1,maximum=10000000,default=50"`
	// Requests before the first cell that are not measured.
	Warmup int64 `json:"warmup,omitempty" jsonschema:"minimum=0,maximum=100000,default=3"`
	// Members of every request's body.
	AdditionalParams Options `json:"additional_params,omitempty"`
	// Prompts to send: a file, or a URL of one (CSV, JSONL, gz, zip, tar.gz).
	DatasetURL string `json:"dataset_url,omitempty" jsonschema:"maxLength=4000"`
	// Leave out prompts that appeared before.
	DatasetDeduplicate bool `json:"dataset_deduplicate,omitempty" jsonschema:"default=true"`
	// The name of the secret that opens the URL.
	DatasetToken string `json:"dataset_token,omitempty" jsonschema:"maxLength=200"`
}

// SLO is what users of the model are promised.
type SLO struct {
	// Time from the request to the last token.
	Latency *SLOMetric `json:"latency,omitempty"`
	// Time to the first token.
	TTFT *SLOMetric `json:"ttft,omitempty"`
	// Time per output token after the first.
	TPOT *SLOMetric `json:"tpot,omitempty"`
	// How the penalty grows beyond a threshold: lower is steeper.
	Steepness float64 `json:"steepness,omitempty" jsonschema:"minimum=0.000001,maximum=1000,default=0.1"`
}

// An SLOTermForm bounds one figure.
type SLOTermForm struct {
	// The most that is promised, in seconds.
	Threshold *Limit `json:"threshold,omitempty"`
	// How much a violation counts beside the others.
	Weight float64 `json:"weight,omitempty" jsonschema:"minimum=0,maximum=1000000,default=1"`
	// Whether a configuration that exceeds the threshold by more than
	// fail_ratio is infeasible.
	HardFail bool `json:"hard_fail,omitempty" jsonschema:"default=false"`
	// The share of the threshold that a hard limit may be exceeded by.
	FailRatio float64 `json:"fail_ratio,omitempty" jsonschema:"minimum=0,maximum=1000000,default=0.5"`
}

// Mean returns the bound on the mean.
func (m *SLOMetric) Mean() *SLOTerm {
	return &SLOTerm{Threshold: m.Threshold, Weight: m.Weight, HardFail: m.HardFail, FailRatio: m.FailRatio}
}

// An SLOMetricForm bounds the mean directly, and percentiles by name.
type SLOMetricForm struct {
	// The most that the mean may be, in seconds.
	Threshold *Limit `json:"threshold,omitempty"`
	// How much a violation counts beside the others.
	Weight float64 `json:"weight,omitempty" jsonschema:"minimum=0,maximum=1000000,default=1"`
	// Whether a configuration that exceeds the threshold by more than
	// fail_ratio is infeasible.
	HardFail bool `json:"hard_fail,omitempty" jsonschema:"default=false"`
	// The share of the threshold that a hard limit may be exceeded by.
	FailRatio float64 `json:"fail_ratio,omitempty" jsonschema:"minimum=0,maximum=1000000,default=0.5"`
	// The median.
	P50 *SLOTerm `json:"p50,omitempty"`
	// The 90th percentile.
	P90 *SLOTerm `json:"p90,omitempty"`
	// The 99th percentile.
	P99 *SLOTerm `json:"p99,omitempty"`
}

// An Endpoint is a server that runs already.
type Endpoint struct {
	// Its address, as in http://127.0.0.1:8000.
	URL string `json:"url" jsonschema:"maxLength=2000" expected:"the server's address, as in \"http://127.0.0.1:8000\""`
	// The name of the secret that holds its API key.
	KeySecret string `json:"key_secret,omitempty" jsonschema:"maxLength=200"`
}

// Simulate rehearses the task on the simulated engine; every figure then says
// that it is simulated.
type Simulate struct {
	// The device to simulate, as in h100-sxm.
	GPU string `json:"gpu" jsonschema:"maxLength=63" expected:"a device to simulate, as in \"h100-sxm\""`
	// How much faster than the clock simulated time passes.
	Speed float64 `json:"speed,omitempty" jsonschema:"minimum=0.01,maximum=1000,default=1"`
}

// Storage is a volume with models on Kubernetes.
type Storage struct {
	// The kind of volume.
	Type string `json:"type,omitempty" jsonschema:"enum=pvc,default=pvc"`
	// The claim.
	PVCName string `json:"pvc_name" jsonschema:"maxLength=253" expected:"the name of a persistent volume claim"`
	// The folder in the volume.
	PVCSubpath string `json:"pvc_subpath,omitempty" jsonschema:"maxLength=1000"`
	// Where the engine sees it.
	MountPath string `json:"mount_path" jsonschema:"maxLength=1000" expected:"where the engine sees the models, as in \"/models\""`
}

// Baseline is true, false, or a configuration.
type Baseline struct {
	Off   bool
	Point Point
}

// BindNode reads a boolean or a mapping.
func (s *Baseline) BindNode(b *document.Binder, n *document.Node, at string) {
	switch n.Kind {
	case document.Bool:
		s.Off = !n.Bool
	case document.Map:
		b.Bind(n, at, &s.Point)
	default:
		b.Mismatch(n, at, "true, false, or a mapping of parameters to values")
	}
}
