package engine

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

func config(t testing.TB, name string) task.Architecture {
	t.Helper()
	data, err := os.ReadFile("testdata/configs/" + name + ".json")
	require.NoError(t, err)
	a, err := ParseConfig(data)
	require.NoError(t, err)
	return a
}

// The published numbers of parameters, as the safetensors index of each
// checkpoint totals them; DeepSeek-V3 as its report has it.
func TestParameters(t *testing.T) {
	for name, published := range map[string]float64{
		"llama-3.1-8b": 8_030_261_248, "llama-3.1-70b": 70_553_706_496, "llama-3.2-1b": 1_235_814_400,
		"mixtral-8x7b": 46_702_792_704, "qwen2.5-7b": 7_615_616_512, "deepseek-v3": 671e9,
	} {
		a := config(t, name)
		require.InEpsilon(t, published, float64(Parameters(&a)), 0.01, name)
	}
}

func TestParseConfig(t *testing.T) {
	a := config(t, "deepseek-v3")
	require.Equal(t, task.Architecture{
		Name: "DeepseekV3ForCausalLM", Layers: 61, Hidden: 7168, Intermediate: 18432, Heads: 128, KVHeads: 128, HeadDim: 128, Vocabulary: 129280,
		MaxPositions: 163840, DType: "bfloat16", QuantMethod: "fp8", QuantBits: 8, Experts: 256, ExpertsPerToken: 8, SharedExperts: 1,
		MoEIntermediate: 2048, DenseLayers: 3, KVLoraRank: 512, RopeHeadDim: 64, QLoraRank: 1536, VHeadDim: 128,
	}, a)
	require.Zero(t, config(t, "qwen2.5-7b").SlidingWindow, "it has one and does not use it")
	require.Equal(t, 14336, config(t, "mixtral-8x7b").MoEIntermediate)

	// A model that also sees keeps its text model inside; older names; what is
	// quantised by compressed-tensors.
	a, err := ParseConfig([]byte(`{"architectures": ["SeeingModel"], "model_type": "gemma3", "text_config": {"num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2, "vocab_size": 10,
		"sliding_window": 1024}, "quantization_config": {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 4}}}}}`))
	require.NoError(t, err)
	require.Equal(t, task.Architecture{Name: "SeeingModel", Layers: 2, Hidden: 8, Intermediate: 32, Heads: 2, KVHeads: 2, HeadDim: 4, Vocabulary: 10,
		TiedEmbeddings: true, SlidingWindow: 1024, QuantMethod: "compressed-tensors", QuantBits: 4}, a)
	a, err = ParseConfig([]byte(`{"model_type": "gpt2", "n_layer": 12, "n_embd": 768, "n_head": 12, "vocab_size": 50257, "n_positions": 1024}`))
	require.NoError(t, err)
	require.InEpsilon(t, 124e6, float64(Parameters(&a)), 0.02, "GPT-2 has 124 million")

	const small = `"num_hidden_layers": 4, "hidden_size": 8, "num_attention_heads": 1, "vocab_size": 9, "intermediate_size": 32`
	for text, dense := range map[string]int{
		`"num_experts": 4, "interleave_moe_layer_step": 2, "intermediate_size_mlp": 64`: 2, `"num_experts": 4, "moe_layer_freq": 4`: 3,
		`"num_experts": 4, "moe_layer_freq": [0, 1, 1, 1]`: 1, `"num_experts": 4, "mlp_only_layers": [0, 1]`: 2, `"num_experts": 4`: 0,
	} {
		a, err := ParseConfig([]byte(`{` + small + `, ` + text + `}`))
		require.NoError(t, err)
		require.Equal(t, dense, a.DenseLayers, text)
		require.Equal(t, 32, a.MoEIntermediate)
	}
	a, err = ParseConfig([]byte(`{` + small + `, "layer_types": ["sliding_attention", "full_attention"], "sliding_window": 512, "use_sliding_window": false}`))
	require.NoError(t, err)
	require.Equal(t, 512, a.SlidingWindow)

	for text, refused := range map[string]string{
		`{` + small + `, "layer_types": ["linear_attention", "full_attention"]}`: `no usable config.json: it has layers of the kind "linear_attention"`,
		`{` + small + `, "attn_layer_period": 8}`:                                "no usable config.json: attn_layer_period says that its layers are of several kinds",
		`{"text_config": {` + small + `, "full_attention_interval": 4}}`:         "no usable config.json: full_attention_interval says that its layers are of several kinds",
		`{"hidden_size": 8}`: "no usable config.json: it has no num_hidden_layers",
		`{"num_hidden_layers": 1e300, "hidden_size": 8, "num_attention_heads": 1, "vocab_size": 1}`: "no usable config.json: it has no num_hidden_layers",
		`{"num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 1, "vocab_size": 1e300}`: "no usable config.json: it has no vocab_size",
		`[]`: "no usable config.json: json: cannot unmarshal array into Go value of type engine.modelConfig",
	} {
		_, err := ParseConfig([]byte(text))
		require.ErrorIs(t, err, ErrConfig)
		require.EqualError(t, err, refused)
	}
}

const (
	gpu24  = 24 * gib
	gpu80  = 80 * gib
	gpu141 = 141 * gib
)

func TestEstimates(t *testing.T) {
	for _, row := range []struct {
		engine, model string
		p             space.Point
		memory        int64
		fits          bool
		why           string
	}{
		{VLLM, "llama-3.1-8b", space.Point{}, gpu80, true, ""},
		{VLLM, "llama-3.2-1b", space.Point{}, gpu24, true, ""},
		{VLLM, "llama-3.1-70b", space.Point{}, gpu80, false,
			"needs at least 171.8 GiB on its device (weights 131.4 GiB, activations 0.3 GiB, KV cache 40.0 GiB, context 0.1 GiB), and 73.6 GiB may be used of 80.0 GiB; tp 4 would fit"},
		{VLLM, "llama-3.1-70b", space.Point{"tp": int64(4)}, gpu80, true, ""},
		{VLLM, "llama-3.1-70b", space.Point{"quant.gemm_dtype": "fp8", "max-model-len": int64(8192)}, gpu80, true, ""},
		{VLLM, "llama-3.1-70b", space.Point{"quant.gemm_dtype": "fp8"}, gpu80, false, ""},
		{VLLM, "llama-3.1-70b", space.Point{"cpu-offload-gb": int64(120)}, gpu80, true, ""},
		// 24 GiB hold the weights of 8 billion, and not 131072 tokens beside them.
		{VLLM, "llama-3.1-8b", space.Point{}, gpu24, false, ""},
		{VLLM, "llama-3.1-8b", space.Point{"max-model-len": "16k"}, gpu24, true, ""},
		{VLLM, "llama-3.1-8b", space.Point{"max-model-len": "auto"}, gpu24, true, ""},
		{VLLM, "llama-3.1-8b", space.Point{"max-model-len": int64(65536), "gpu-memory-utilization": 0.95, "kv-cache-dtype": "fp8"}, gpu24, true, ""},
		{VLLM, "llama-3.1-8b", space.Point{"max-model-len": int64(65536), "gpu-memory-utilization": 0.95}, gpu24, false, ""},
		{SGLang, "llama-3.1-8b", space.Point{}, gpu24, true, ""},
		{SGLang, "llama-3.1-70b", space.Point{"tp-size": int64(1)}, gpu80, false, ""},
		{SGLang, "mixtral-8x7b", space.Point{"tp-size": int64(2)}, gpu80, true, ""},
		{SGLang, "mixtral-8x7b", space.Point{}, gpu80, false, ""},
		{VLLM, "deepseek-v3", space.Point{"tp": int64(8), "max-model-len": int64(8192)}, gpu80, false, ""},
		{VLLM, "deepseek-v3", space.Point{"tp": int64(8), "max-model-len": int64(8192)}, gpu141, true, ""},
		{VLLM, "deepseek-v3", space.Point{"tp": int64(2), "dp": int64(8), "enable-expert-parallel": true, "max-model-len": int64(8192)}, gpu141, true, ""},
		{TensorRT, "llama-3.1-70b", space.Point{"tp_size": int64(2)}, gpu80, true, ""},
		{TensorRT, "llama-3.1-70b", space.Point{}, gpu80, false, ""},
		// llama.cpp leaves on the host what does not fit, unless told to.
		{LlamaCpp, "llama-3.1-70b", space.Point{}, gpu24, true, ""},
		{LlamaCpp, "llama-3.1-8b", space.Point{"n-gpu-layers": "all", "ctx-size": int64(262144)}, gpu24, false, ""},
		{VLLM, "llama-3.1-70b", space.Point{}, 0, true, ""},
	} {
		e, a := lookup(t, row.engine, ""), config(t, row.model)
		s := serving(task.Model{ID: row.model, Architecture: &a})
		p, err := e.Plan(s, row.p)
		require.NoError(t, err)
		got := e.Estimate(a, p, row.memory)
		require.Equal(t, row.fits, got.Fits, "%s %s %v: %+v", row.engine, row.model, row.p, got)
		require.Equal(t, got.Fits, got.Why == "")
		if row.why != "" {
			require.Equal(t, row.why, got.Why)
		}
	}
}

// A folder that holds its weights twice does not make the model larger; one
// that holds fewer bytes than the shape says counts.
func TestSizeOfTheFiles(t *testing.T) {
	e, a := lookup(t, VLLM, ""), config(t, "llama-3.1-8b")
	p := plan(t, e, space.Point{})
	weights := func(files int64) int64 {
		a.WeightBytes = files
		return e.Estimate(a, p, 0).Parts[0].Bytes
	}
	whole := weights(0)
	require.InEpsilon(t, 2*8_030_261_248, whole, 0.01)
	require.Equal(t, whole, weights(2*whole))
	require.InEpsilon(t, whole/4, weights(whole/4), 0.001)
}

// The cache of one token, in bytes: 2 vectors × layers × heads × width × 2.
func TestKVCache(t *testing.T) {
	for _, row := range []struct {
		model string
		p     space.Point
		want  int64
	}{
		{"llama-3.1-8b", space.Point{}, 2 * 32 * 8 * 128 * 2},
		{"llama-3.1-8b", space.Point{"tp": int64(4)}, 2 * 32 * 2 * 128 * 2},
		{"llama-3.1-8b", space.Point{"tp": int64(16)}, 2 * 32 * 1 * 128 * 2},
		{"llama-3.1-8b", space.Point{"tp": int64(16), "dcp": int64(2)}, 2 * 32 * 1 * 128 * 2 / 2},
		{"llama-3.1-8b", space.Point{"pp": int64(2)}, 2 * 16 * 8 * 128 * 2},
		{"llama-3.1-8b", space.Point{"kv-cache-dtype": "fp8_e5m2"}, 2 * 32 * 8 * 128},
		{"deepseek-v3", space.Point{"tp": int64(8)}, 61 * (512 + 64) * 2},
	} {
		e, a := lookup(t, VLLM, ""), config(t, row.model)
		p := plan(t, e, row.p)
		require.Equal(t, row.want, e.Estimate(a, p, 0).KVBytesPerToken, "%s %v", row.model, row.p)
	}
}

// More devices and narrower numbers never need more, and size is never negative.
func TestEstimatesAreMonotone(t *testing.T) {
	models := []string{"llama-3.1-8b", "llama-3.1-70b", "llama-3.2-1b", "mixtral-8x7b", "qwen2.5-7b", "deepseek-v3"}
	rapid.Check(t, func(rt *rapid.T) {
		a := config(t, rapid.SampledFrom(models).Draw(rt, "model"))
		width := int64(2)
		if a.QuantBits == 8 {
			width = 1
		}
		a.WeightBytes = rapid.SampledFrom([]int64{0, width * Parameters(&a)}).Draw(rt, "files")
		e := lookup(t, rapid.SampledFrom([]string{VLLM, SGLang, TensorRT}).Draw(rt, "engine"), "")
		base := space.Point{}
		if e.Name() == VLLM {
			base["max-model-len"] = int64(rapid.IntRange(1, 100_000).Draw(rt, "length"))
		}
		total := func(more space.Point) int64 {
			p := space.Point{}
			for _, from := range []space.Point{base, more} {
				for name, value := range from {
					p[name] = value
				}
			}
			made, err := e.Plan(plain(), p)
			if err != nil {
				rt.Fatal(err)
			}
			est := e.Estimate(a, made, gpu80)
			sum := int64(0)
			for _, part := range est.Parts {
				if part.Bytes < 0 {
					rt.Fatalf("%s takes %d bytes", part.Name, part.Bytes)
				}
				sum += part.Bytes
			}
			if sum != est.Total || est.Fits != (est.Total <= est.Budget) {
				rt.Fatalf("%+v", est)
			}
			return est.Total
		}
		tp := rapid.SampledFrom([]int64{1, 2, 4, 8}).Draw(rt, "tp")
		one, two := total(space.Point{"parallel.tp": tp}), total(space.Point{"parallel.tp": 2 * tp})
		if two > one {
			rt.Fatalf("tp %d needs %d, tp %d needs %d", tp, one, 2*tp, two)
		}
		if fp8 := total(space.Point{"parallel.tp": tp, "quant.preset": "dynamic-fp8"}); fp8 > one {
			rt.Fatalf("fp8 needs %d, the default %d", fp8, one)
		}
		if wide := total(space.Point{"parallel.tp": tp, "quant.gemm_dtype": "float32"}); wide < one {
			rt.Fatalf("float32 needs %d, the default %d", wide, one)
		}
	})
}

func FuzzParseConfig(f *testing.F) {
	for _, name := range []string{"llama-3.2-1b", "mixtral-8x7b", "deepseek-v3"} {
		data, err := os.ReadFile("testdata/configs/" + name + ".json")
		require.NoError(f, err)
		f.Add(data)
	}
	e := lookup(f, VLLM, "")
	p := plan(f, e, space.Point{"tp": int64(2), "pp": int64(3)})
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := ParseConfig(data)
		if err != nil {
			return
		}
		if Parameters(&a) <= 0 {
			t.Fatalf("%d parameters of %+v", Parameters(&a), a)
		}
		if est := e.Estimate(a, p, gpu80); est.Total <= 0 || est.KVTokens < 0 || est.Fits != (est.Why == "") {
			t.Fatalf("%+v", est)
		}
	})
}
