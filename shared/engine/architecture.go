package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/proto/task"
)

// ErrConfig says that a file is no config.json of a model that can be
// estimated.
var ErrConfig = errors.New("no usable config.json")

// modelConfig is what ParseConfig reads of a config.json. Families of models
// name the same things differently.
type modelConfig struct {
	Architectures []string        `json:"architectures"`
	ModelType     string          `json:"model_type"`
	TextConfig    json.RawMessage `json:"text_config"` // of models that also see or hear
	LLMConfig     json.RawMessage `json:"llm_config"`

	Layers       count `json:"num_hidden_layers"`
	LayersGPT    count `json:"n_layer"`
	Hidden       count `json:"hidden_size"`
	HiddenGPT    count `json:"n_embd"`
	Intermediate count `json:"intermediate_size"`
	InnerGPT     count `json:"n_inner"`
	Heads        count `json:"num_attention_heads"`
	HeadsGPT     count `json:"n_head"`
	KVHeads      count `json:"num_key_value_heads"`
	HeadDim      count `json:"head_dim"`
	Vocabulary   count `json:"vocab_size"`
	Tied         *bool `json:"tie_word_embeddings"`
	MaxPositions count `json:"max_position_embeddings"`
	PositionsGPT count `json:"n_positions"`

	TorchDType string `json:"torch_dtype"`
	DType      string `json:"dtype"`

	LocalExperts       count   `json:"num_local_experts"`
	RoutedExperts      count   `json:"n_routed_experts"`
	NumExperts         count   `json:"num_experts"`
	PerToken           count   `json:"num_experts_per_tok"`
	SharedExperts      count   `json:"n_shared_experts"`
	SharedIntermediate count   `json:"shared_expert_intermediate_size"`
	MoEIntermediate    count   `json:"moe_intermediate_size"`
	FirstDense         count   `json:"first_k_dense_replace"`
	SparseStep         count   `json:"decoder_sparse_step"`
	MLPOnly            []count `json:"mlp_only_layers"`
	InterleaveStep     count   `json:"interleave_moe_layer_step"`
	DenseIntermediate  count   `json:"intermediate_size_mlp"`
	MoEFrequency       every   `json:"moe_layer_freq"`

	KVLoraRank count `json:"kv_lora_rank"`
	QLoraRank  count `json:"q_lora_rank"`
	NopeDim    count `json:"qk_nope_head_dim"`
	RopeDim    count `json:"qk_rope_head_dim"`
	VHeadDim   count `json:"v_head_dim"`

	// LayerTypes tells full from sliding and other kinds of attention.
	LayerTypes       []string `json:"layer_types"`
	AttentionChunk   count    `json:"attention_chunk_size"`
	SlidingWindow    count    `json:"sliding_window"`
	UseSlidingWindow *bool    `json:"use_sliding_window"`
	Quantization     *quant   `json:"quantization_config"`
}

// every says which layers are mixtures of experts: one in so many, or a list
// with a 1 for each that is.
type every struct {
	step  int
	dense int
}

func (e *every) UnmarshalJSON(data []byte) error {
	var list []count
	if json.Unmarshal(data, &list) == nil {
		for _, is := range list {
			if is == 0 {
				e.dense++
			}
		}
		return nil
	}
	var step count
	if err := step.UnmarshalJSON(data); err != nil {
		return err
	}
	e.step = int(step)
	return nil
}

type quant struct {
	Method    string `json:"quant_method"`
	Algorithm string `json:"quant_algo"`
	Bits      count  `json:"bits"`
	Load4     bool   `json:"load_in_4bit"`
	Groups    map[string]struct {
		Weights *struct {
			Bits count `json:"num_bits"`
		} `json:"weights"`
	} `json:"config_groups"`
}

// count is a whole number that a config may leave null, or write as 8.0.
type count int

// maxCount bounds every number of a config, so that their products stay within
// a float64's whole numbers by far.
const maxCount = 1 << 24

func (c *count) UnmarshalJSON(data []byte) error {
	var f *float64
	_ = json.Unmarshal(data, &f) // something else under a known name is left unknown, as null is
	if f != nil && *f >= 0 && *f <= maxCount {
		*c = count(*f)
	}
	return nil
}

// ParseConfig reads the architecture from a model's config.json. The error
// wraps ErrConfig.
func ParseConfig(config []byte) (task.Architecture, error) {
	var c modelConfig
	if err := json.Unmarshal(config, &c); err != nil {
		return task.Architecture{}, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	for _, inner := range []json.RawMessage{c.TextConfig, c.LLMConfig} {
		if c.layers() > 0 || len(inner) == 0 {
			continue
		}
		name, quantization := c.Architectures, c.Quantization
		if err := json.Unmarshal(inner, &c); err != nil {
			return task.Architecture{}, fmt.Errorf("%w: %w", ErrConfig, err)
		}
		if len(name) > 0 {
			c.Architectures = name
		}
		if c.Quantization == nil {
			c.Quantization = quantization
		}
	}
	for _, part := range [][]byte{config, c.TextConfig, c.LLMConfig} {
		if err := c.uniform(part); err != nil {
			return task.Architecture{}, err
		}
	}
	a := c.architecture()
	for _, need := range []struct {
		name  string
		value int
	}{{"num_hidden_layers", a.Layers}, {"hidden_size", a.Hidden}, {"num_attention_heads", a.Heads}, {"vocab_size", a.Vocabulary}} {
		if need.value == 0 {
			return task.Architecture{}, fmt.Errorf("%w: it has no %s", ErrConfig, need.name)
		}
	}
	return a, nil
}

// uniform refuses models whose layers differ in kind: their weights and caches
// are not what the shape says, and an estimate must not be too high.
func (c *modelConfig) uniform(config []byte) error {
	for _, kind := range c.LayerTypes {
		if kind != "full_attention" && kind != "sliding_attention" && kind != "chunked_attention" {
			return fmt.Errorf("%w: it has layers of the kind %q", ErrConfig, kind)
		}
	}
	if len(config) == 0 {
		return nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(config, &members); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	for _, key := range []string{"block_configs", "hybrid_override_pattern", "attn_layer_period", "full_attention_interval", "mamba_d_state", "state_size", "ssm_cfg", "linear_attn_config"} {
		if value, ok := members[key]; ok && string(value) != "null" {
			return fmt.Errorf("%w: %s says that its layers are of several kinds", ErrConfig, key)
		}
	}
	return nil
}

func (c *modelConfig) layers() int { return int(max(c.Layers, c.LayersGPT)) }

func (c *modelConfig) architecture() task.Architecture {
	a := task.Architecture{
		Name: c.ModelType, Layers: c.layers(), Hidden: int(max(c.Hidden, c.HiddenGPT)), Intermediate: int(max(c.Intermediate, c.InnerGPT)),
		Heads: int(max(c.Heads, c.HeadsGPT)), KVHeads: int(c.KVHeads), HeadDim: int(c.HeadDim), Vocabulary: int(c.Vocabulary),
		MaxPositions: int(max(c.MaxPositions, c.PositionsGPT)), DType: strings.TrimPrefix(c.TorchDType, "torch."),
		Experts: int(max(c.LocalExperts, c.RoutedExperts, c.NumExperts)), ExpertsPerToken: int(c.PerToken), SharedExperts: int(c.SharedExperts),
		MoEIntermediate: int(c.MoEIntermediate),
		KVLoraRank:      int(c.KVLoraRank), RopeHeadDim: int(c.RopeDim), QLoraRank: int(c.QLoraRank), VHeadDim: int(c.VHeadDim),
	}
	if len(c.Architectures) > 0 {
		a.Name = c.Architectures[0]
	}
	if a.DType == "" {
		a.DType = c.DType
	}
	if a.KVHeads == 0 {
		a.KVHeads = a.Heads
	}
	if a.KVLoraRank > 0 && c.NopeDim > 0 {
		a.HeadDim = int(c.NopeDim)
	}
	if a.HeadDim == 0 && a.Heads > 0 {
		a.HeadDim = a.Hidden / a.Heads
	}
	if a.Intermediate == 0 {
		a.Intermediate = 4 * a.Hidden
	}
	a.TiedEmbeddings = tied(c)
	if c.UseSlidingWindow == nil || *c.UseSlidingWindow {
		a.SlidingWindow = int(c.SlidingWindow)
	}
	if slices.Contains(c.LayerTypes, "sliding_attention") {
		a.SlidingWindow = max(int(c.SlidingWindow), 1)
	}
	if c.AttentionChunk > 0 {
		a.SlidingWindow = int(c.AttentionChunk)
	}
	c.experts(&a)
	c.quantization(&a)
	return a
}

// tied says whether input and output share their embeddings; where the config
// is silent, as the class of the model has it.
func tied(c *modelConfig) bool {
	if c.Tied != nil {
		return *c.Tied
	}
	return slices.ContainsFunc([]string{"gemma", "gpt2", "opt", "bloom", "cohere"}, func(family string) bool {
		return strings.HasPrefix(strings.ToLower(c.ModelType), family)
	})
}

func (c *modelConfig) experts(a *task.Architecture) {
	if a.Experts == 0 {
		return
	}
	if a.MoEIntermediate == 0 {
		a.MoEIntermediate = a.Intermediate
	}
	if a.SharedExperts == 0 && c.SharedIntermediate > 0 {
		a.SharedExperts = int(c.SharedIntermediate) / a.MoEIntermediate
	}
	a.DenseLayers = int(c.FirstDense) + len(c.MLPOnly)
	a.DenseLayers = max(a.DenseLayers, c.MoEFrequency.dense)
	for _, step := range []int{int(c.SparseStep), int(c.InterleaveStep), c.MoEFrequency.step} {
		if step > 1 {
			a.DenseLayers = max(a.DenseLayers, a.Layers-a.Layers/step)
		}
	}
	if c.DenseIntermediate > 0 {
		a.Intermediate = int(c.DenseIntermediate)
	}
	a.DenseLayers = min(a.DenseLayers, a.Layers)
}

func (c *modelConfig) quantization(a *task.Architecture) {
	q := c.Quantization
	if q == nil {
		return
	}
	a.QuantMethod, a.QuantBits = strings.ToLower(q.Method), int(q.Bits)
	for _, group := range q.Groups {
		if a.QuantBits == 0 && group.Weights != nil {
			a.QuantBits = int(group.Weights.Bits)
		}
	}
	algorithm := strings.ToLower(q.Algorithm)
	switch {
	case a.QuantBits > 0:
	case a.QuantMethod == "mxfp4" || q.Load4 || strings.Contains(algorithm, "fp4") || strings.HasPrefix(algorithm, "w4"):
		a.QuantBits = 4
	case a.QuantMethod == "fp8" || a.QuantMethod == "fbgemm_fp8" || strings.Contains(algorithm, "8"):
		a.QuantBits = 8
	}
}
