package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

func lookup(t testing.TB, name, version string) *Engine {
	t.Helper()
	e, err := Lookup(name)
	require.NoError(t, err)
	e, err = e.At(version)
	require.NoError(t, err)
	return e
}

func plan(t testing.TB, e *Engine, p space.Point) Plan {
	t.Helper()
	made, err := e.Plan(plain(), p)
	require.NoError(t, err)
	return made
}

func TestLookup(t *testing.T) {
	for runtime, want := range map[string]string{
		"vllm": VLLM, "vLLM-llama-small": VLLM, "sglang-mixtral-moe": SGLang, "trtllm": TensorRT, "tensorrt-llm": TensorRT,
		"TensorRT_LLM": TensorRT, "llama.cpp": LlamaCpp, "llama-server": LlamaCpp, "llamacpp": LlamaCpp,
		"vllm2": VLLM, "vllmserver": VLLM, "sglang_v0.5": SGLang, "vllm/small": VLLM,
	} {
		e, err := Lookup(runtime)
		require.NoError(t, err, runtime)
		require.Equal(t, want, e.Name())
	}
	_, err := Lookup("vlm")
	require.ErrorIs(t, err, ErrUnknown)
	require.EqualError(t, err, `unknown engine "vlm": did you mean "vllm"?`)
	_, err = Lookup("vllmm")
	require.EqualError(t, err, `unknown engine "vllmm": did you mean "vllm"?`)
	_, err = Lookup("sglng-llama-small")
	require.EqualError(t, err, `unknown engine "sglng-llama-small": did you mean "sglang"?`)
	_, err = Lookup("ollama")
	require.EqualError(t, err, `unknown engine "ollama": there are vllm, sglang, tensorrt-llm, llama.cpp`)
}

func TestVersions(t *testing.T) {
	for version, want := range map[string]string{
		"": "0.33.0", "0.33.0": "0.33.0", "0.99": "0.33.0", "v0.32.9": "0.30.0", "0.13.0": "0.12.0", "0.10.1.post1": "0.10.0", "0.10": "0.10.0", "0.6.0": "0.10.0",
	} {
		require.Equal(t, want, lookup(t, VLLM, version).Version(), version)
	}
	require.Equal(t, "0.5.2", lookup(t, SGLang, "v0.5.2-cu126").Version())
	require.Equal(t, "0.5.23", lookup(t, SGLang, "0.5.23").Version())
	require.NotEmpty(t, lookup(t, LlamaCpp, "b6500").Version())
	for want, s := range map[string]*task.Serving{
		"0.5.2": {Runtime: "sglang", ImageTag: "v0.5.2-cu126"}, "0.5.23": {Engine: SGLang, ImageTag: "latest"},
		"0.10.0": {Engine: VLLM, Image: "registry:5000/vllm/vllm-openai:v0.10.1"}, "0.33.0": {Engine: VLLM, Image: "registry:5000/vllm"},
	} {
		e, err := Of(s)
		require.NoError(t, err)
		require.Equal(t, want, e.Version())
	}
	e, err := Of(&task.Serving{Engine: VLLM, Image: "vllm/vllm-openai@sha256:0aa0"})
	require.NoError(t, err)
	require.Equal(t, "0.33.0", e.Version(), "a digest is no version")
	e, err = Of(&task.Serving{Engine: VLLM, Version: "0.10.0", ImageTag: "v0.33.0"})
	require.NoError(t, err)
	require.Equal(t, "0.10.0", e.Version(), "what the task says comes first")
	_, err = e.At("latest")
	require.EqualError(t, err, `"latest" is no version of an engine, as in 0.10.0`)
}

// An explicit argument overrides a mapped one, and what it overrides is told
// where it differs.
func TestExplicitArgumentsOverride(t *testing.T) {
	got := plan(t, lookup(t, SGLang, "0.5.2"), space.Point{
		"quant.gemm_dtype": "fp8", "quant.kvcache_dtype": "fp8_e5m2", "tp-size": int64(2), "dtype": "half",
	})
	require.Equal(t, "--quantization fp8 --kv-cache-dtype fp8_e5m2 --dtype half --tp-size 2", strings.Join(got.Flags(), " "))
	require.Equal(t, []string{"dtype: the parameter's half stands, not auto of quant_config"}, got.Notes)
	require.Equal(t, 2, got.Devices())

	for _, alias := range []string{"tp-size", "tensor-parallel-size", "tensor_parallel_size", "--tp-size"} {
		got = plan(t, lookup(t, SGLang, ""), space.Point{"parallel.tp": int64(4), alias: int64(2)})
		require.Equal(t, 2, got.Devices(), alias)
		require.Len(t, got.Arguments, 1)
	}
	_, err := lookup(t, SGLang, "").Plan(plain(), space.Point{"tp-size": int64(2), "tensor-parallel-size": int64(2)})
	require.ErrorIs(t, err, ErrInvalid)
}

// A sibling of a preset overrides its field; what is left to the engine does
// not.
func TestSiblingsOverridePresets(t *testing.T) {
	e := lookup(t, VLLM, "")
	got := plan(t, e, space.Point{"quant.preset": "dynamic-fp8", "quant.kvcache_dtype": "auto", "quant.moe_dtype": task.Omitted,
		"parallel.preset": "balanced", "parallel.dp": int64(1)})
	require.Equal(t, "--quantization fp8 --dtype auto --tensor-parallel-size 2", strings.Join(got.Flags(), " "))
	require.Equal(t, map[string]string{"dtype": "auto", "quantization": "fp8"}, got.Effective)
}

func TestBooleans(t *testing.T) {
	vllm, sglang, llama := lookup(t, VLLM, ""), lookup(t, SGLang, ""), lookup(t, LlamaCpp, "")
	for _, row := range []struct {
		e     *Engine
		name  string
		value any
		want  string
	}{
		{vllm, "enforce-eager", true, "--enforce-eager"},
		{vllm, "enforce-eager", false, ""},
		{vllm, "enforce-eager", "true", "--enforce-eager"},
		{vllm, "enforce-eager", task.Omitted, ""},
		{vllm, "enable-prefix-caching", true, "--enable-prefix-caching"},
		// On by default: left out, false would measure the same as true.
		{vllm, "enable-prefix-caching", false, "--no-enable-prefix-caching"},
		{vllm, "no-enable-prefix-caching", true, "--no-enable-prefix-caching"},
		{vllm, "quantization", task.Omitted, ""},
		{sglang, "disable-radix-cache", true, "--disable-radix-cache"},
		{sglang, "disable-radix-cache", false, ""},
		{llama, "flash-attn", true, "--flash-attn on"},
		{llama, "flash-attn", false, "--flash-attn off"},
		{llama, "kv-offload", false, "--no-kv-offload"},
		{llama, "cont-batching", true, "--cont-batching"},
		{llama, "ngl", int64(99), "--n-gpu-layers 99"},
		{lookup(t, TensorRT, ""), "tp-size", int64(2), "--tp_size 2"},
		{lookup(t, TensorRT, ""), "enable-chunked-prefill", true, "--enable_chunked_prefill"},
		{sglang, "cuda-graph-bs-decode", "1 2 4", "--cuda-graph-bs-decode 1 2 4"},
		{vllm, "gpu-memory-utilization", 0.9, "--gpu-memory-utilization 0.9"},
		{vllm, "max-num-batched-tokens", int64(8192), "--max-num-batched-tokens 8192"},
	} {
		got := plan(t, row.e, space.Point{row.name: row.value})
		require.Equal(t, row.want, strings.Join(got.Flags(), " "), "%s %s: %v", row.e.Name(), row.name, row.value)
	}
}

// Two points that start the same engine have one key, and only they do.
func TestKey(t *testing.T) {
	e := lookup(t, VLLM, "")
	key := func(p space.Point) string { made := plan(t, e, p); return made.Key() }
	same := [][]space.Point{
		{{}, {"quant.preset": "default"}, {"dtype": "auto"}, {"parallel.preset": "single-gpu"}, {"tensor-parallel-size": int64(1)}, {"enforce-eager": false}, {"max-num-seqs": task.Omitted}},
		{{"gpu-memory-utilization": 0.9}, {"gpu_memory_utilization": "0.90"}},
		{{"quant.kvcache_dtype": "fp8"}, {"kv-cache-dtype": "fp8"}, {"quant.kvcache_dtype": "fp8", "quant.attention_dtype": "fp8"}},
		{{"tensor-parallel-size": int64(2)}, {"parallel.tp": int64(2)}, {"tp": int64(2)}},
		{{"enable-prefix-caching": false}, {"no-enable-prefix-caching": true}},
		{{"enable-prefix-caching": true}},
		{{"env.VLLM_ATTENTION_BACKEND": "FLASHINFER"}},
		{{"env.VLLM_ATTENTION_BACKEND": "FLASH_ATTN"}},
	}
	var keys []string
	for _, group := range same {
		for _, p := range group {
			require.Equal(t, key(group[0]), key(p), "%v", p)
		}
		keys = append(keys, key(group[0]))
	}
	slices.Sort(keys)
	require.Len(t, slices.Compact(keys), len(same))
	require.NotEqual(t, key(space.Point{}), plan(t, lookup(t, VLLM, "0.10.0"), space.Point{}).Key())
}

func TestWorlds(t *testing.T) {
	for _, row := range []struct {
		engine, version string
		p               space.Point
		want            int
		refused         string
	}{
		{VLLM, "", space.Point{"tp": int64(2), "pp": int64(2), "dp": int64(2)}, 8, ""},
		{VLLM, "", space.Point{"tp": int64(8), "dcp": int64(4)}, 8, ""},
		{VLLM, "", space.Point{"tp": int64(4), "dcp": int64(3)}, 0, "tp 4 does not divide by dcp 3"},
		{SGLang, "", space.Point{"tp-size": int64(2), "dp-size": int64(4)}, 8, ""},
		{SGLang, "0.5.2", space.Point{"tp-size": int64(8), "dp-size": int64(4), "enable-dp-attention": true}, 8, ""},
		{SGLang, "0.5.23", space.Point{"tp-size": int64(8), "attn-dp-size": int64(8)}, 8, ""},
		{SGLang, "0.5.2", space.Point{"tp-size": int64(4), "dp-size": int64(8), "enable-dp-attention": true}, 0, "tp 4 does not divide by the 8 parts of attention"},
		{SGLang, "0.5.23", space.Point{"tp-size": int64(8), "attn-dp-size": int64(2), "dp-size": int64(2)}, 0, "dp 2 beside attention data parallelism 2"},
		{TensorRT, "", space.Point{"tp_size": int64(4), "pp_size": int64(2), "cp_size": int64(2)}, 16, ""},
		{LlamaCpp, "", space.Point{"tensor-split": "3,1", "split-mode": "layer"}, 2, ""},
		{LlamaCpp, "", space.Point{"tensor-split": "3,1", "split-mode": "none"}, 1, ""},
		{VLLM, "", space.Point{"tp": int64(16), "dp": int64(8)}, 0, "it takes 128 devices, and one engine gets 64 at most"},
		{VLLM, "", space.Point{"tp": "many"}, 0, `tensor-parallel-size is "many", not a number of devices`},
		{VLLM, "", space.Point{"quant.preset": "fast"}, 0, `quant_config has no preset "fast", only default, kv-cache-fp8, dynamic-fp8, bf16-stable, aggressive-moe`},
		{VLLM, "", space.Point{"quant.gemm_dtype": "fp4"}, 0, `gemm_dtype is "fp4", not one of auto, float16, bfloat16, float32, fp8, int8`},
		{VLLM, "", space.Point{"parallel.tp": 1.5}, 0, `parallel_config.tp is "1.5", not a whole number from 1`},
	} {
		e := lookup(t, row.engine, row.version)
		got, err := e.Plan(plain(), row.p)
		if row.refused != "" {
			require.ErrorIs(t, err, ErrInvalid)
			require.EqualError(t, err, "invalid configuration: "+row.refused)
			continue
		}
		require.NoError(t, err, "%v", row.p)
		require.Equal(t, row.want, got.Devices(), "%v", row.p)
		need, err := e.Need(plain(), row.p)
		require.NoError(t, err)
		require.Equal(t, row.want, need)
	}

	// A rehearsal takes one device, whatever it rehearses.
	s := plain()
	s.Simulate = &task.Simulate{GPU: "h100-sxm"}
	need, err := lookup(t, VLLM, "").Need(s, space.Point{"tp": int64(8)})
	require.NoError(t, err)
	require.Equal(t, 1, need)
}

// Heads that cannot be cut are refused where the model's shape is known.
func TestModelsThatDoNotDivide(t *testing.T) {
	s := serving(task.Model{ID: "qwen", Architecture: &task.Architecture{Heads: 28, Layers: 28}})
	e := lookup(t, VLLM, "")
	_, err := e.Plan(s, space.Point{"tp": int64(8)})
	require.EqualError(t, err, "invalid configuration: 28 attention heads cannot be cut into 8 equal parts")
	_, err = e.Plan(s, space.Point{"tp": int64(4)})
	require.NoError(t, err)
	_, err = e.Plan(s, space.Point{"pp": int64(32)})
	require.EqualError(t, err, "invalid configuration: 32 pipeline stages for 28 layers")
}

func TestCommands(t *testing.T) {
	for _, row := range []struct {
		engine  string
		program []string
		want    string
	}{
		{VLLM, nil, "python3 -m vllm.entrypoints.openai.api_server --model /m --host 127.0.0.1 --port 9000 --served-model-name llama --tensor-parallel-size 2"},
		{VLLM, []string{"/opt/venv/bin/python"}, "/opt/venv/bin/python -m vllm.entrypoints.openai.api_server --model /m --host 127.0.0.1 --port 9000 --served-model-name llama --tensor-parallel-size 2"},
		{VLLM, []string{"vllm"}, "vllm serve /m --host 127.0.0.1 --port 9000 --served-model-name llama --tensor-parallel-size 2"},
		{VLLM, []string{"fleetune-worker", "simulate-engine", "--engine=vllm"}, "fleetune-worker simulate-engine --engine=vllm --model /m --host 127.0.0.1 --port 9000 --served-model-name llama --tensor-parallel-size 2"},
		{SGLang, nil, "python3 -m sglang.launch_server --model-path /m --host 127.0.0.1 --port 9000 --served-model-name llama --enable-metrics --tp-size 2"},
		{SGLang, []string{"/v/bin/python3.12"}, "/v/bin/python3.12 -m sglang.launch_server --model-path /m --host 127.0.0.1 --port 9000 --served-model-name llama --enable-metrics --tp-size 2"},
		{TensorRT, nil, "trtllm-serve serve /m --host 127.0.0.1 --port 9000 --tp_size 2"},
		{LlamaCpp, nil, "llama-server --model /m --host 127.0.0.1 --port 9000 --alias llama --metrics --split-mode row --tensor-split 1,1"},
	} {
		p := plan(t, lookup(t, row.engine, ""), space.Point{"parallel.tp": int64(2)})
		got := p.Command(CommandOptions{Program: row.program, ModelPath: "/m", ServedName: "llama", Port: 9000, Metrics: true})
		require.Equal(t, row.want, strings.Join(got, " "))
	}
	p := plan(t, lookup(t, LlamaCpp, ""), space.Point{})
	require.Contains(t, p.Command(CommandOptions{ModelPath: "ggml-org/gemma-3-1b-it-GGUF:Q4_K_M"}), "--hf-repo")
	p = plan(t, lookup(t, TensorRT, ""), space.Point{"quant.preset": "kv-cache-fp8"})
	require.Contains(t, strings.Join(p.Command(CommandOptions{File: "/run/options.yaml"}), " "), "--config /run/options.yaml")
	file, ok := p.File()
	require.True(t, ok)
	require.Equal(t, "kv_cache_config: {\"dtype\":\"fp8\"}\n", file.Content)
}

// Whatever a point holds, Plan answers with a plan or with ErrInvalid; the plan
// says how many devices it takes, and never repeats an argument.
func TestPlansOfAnyPoint(t *testing.T) {
	engines := everyEngine(t)
	names := []string{"tp-size", "tensor-parallel-size", "dp-size", "dcp", "dtype", "enable-prefix-caching", "kv-cache-dtype", "strange", "env.A",
		"quant.preset", "quant.gemm_dtype", "quant.kvcache_dtype", "quant.moe_dtype", "parallel.preset", "parallel.tp", "parallel.dp", "parallel.moe_ep", "parallel.enable_expert_parallel"}
	words := append(append(QuantPresets(), parallelPresets()...), "auto", "fp8", "int8", "w4afp8", task.Omitted, "true", "0", "-1", "1e9", "")
	value := rapid.OneOf(
		rapid.Map(rapid.SampledFrom(words), func(s string) any { return s }),
		rapid.Map(rapid.Int64Range(-2, 16), func(n int64) any { return n }),
		rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Map(rapid.Float64(), func(f float64) any { return f }),
	)
	rapid.Check(t, func(t *rapid.T) {
		e := rapid.SampledFrom(engines).Draw(t, "engine")
		p := space.Point{}
		for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom(names), rapid.ID[string]).Draw(t, "names") {
			p[name] = value.Draw(t, name)
		}
		got, err := e.Plan(plain(), p)
		if err != nil {
			if !strings.HasPrefix(err.Error(), ErrInvalid.Error()) {
				t.Fatalf("%v", err)
			}
			return
		}
		if got.Devices() < 1 || got.Devices() > MaxWorld {
			t.Fatalf("%d devices", got.Devices())
		}
		seen := map[string]bool{}
		for _, a := range got.Arguments {
			name, _, _ := strings.Cut(a.key, "=")
			if seen[name] {
				t.Fatalf("--%s twice: %v", a.Name, got.Flags())
			}
			seen[name] = true
		}
		again, _ := e.Plan(plain(), p)
		if fmt.Sprint(again.Flags(), again.Key()) != fmt.Sprint(got.Flags(), got.Key()) {
			t.Fatalf("planned twice, differently")
		}
	})
}

// What trtllm-serve has no flag for stands in its file, wherever the dots in its
// name lead, with the types that the file's reader wants.
func TestOptionsOfTheFile(t *testing.T) {
	e := lookup(t, TensorRT, "")
	made := plan(t, e, space.Point{
		"max_batch_size": int64(64), "free_gpu_memory_fraction": 0.8,
		"kv-cache-config.enable-block-reuse": false, "kv_cache_config.host_cache_size": int64(1 << 30),
		"cuda_graph_config": `{"enable_padding": true}`, "cuda_graph_config.batch_sizes": "1 2 4",
		"disable_overlap_scheduler": true, "moe_config.backend": "TRITON", "perf_config.new": "x",
		"quant.kvcache_dtype": "fp8",
	})
	require.Equal(t, []string{"--free_gpu_memory_fraction", "0.8", "--max_batch_size", "64"}, made.Flags())
	file, ok := made.File()
	require.True(t, ok)
	require.Equal(t, `cuda_graph_config: {"batch_sizes":[1,2,4],"enable_padding":true}
disable_overlap_scheduler: true
kv_cache_config: {"dtype":"fp8","enable_block_reuse":false,"free_gpu_memory_fraction":0.8,"host_cache_size":1073741824}
moe_config: {"backend":"TRITON"}
perf_config: {"new":"x"}
`, file.Content)
	require.Equal(t, "fp8", made.Effective[SettingKVDType])

	over := plan(t, e, space.Point{"quant.kvcache_dtype": "fp8", "kv_cache_config.dtype": "auto"})
	require.Equal(t, map[string]any{"kv_cache_config": map[string]any{"dtype": "auto"}}, over.Options, "what is said itself stands")
	require.NotEqual(t, made.Key(), over.Key())
	require.Empty(t, plan(t, e, space.Point{"free_gpu_memory_fraction": 0.8}).Options)

	for value, want := range map[any]string{"CUTLAS": "did you mean CUTLASS", "TRTLLM": ""} {
		found := e.Check(plain(), space.Space{Parameters: []space.Parameter{{Name: "moe_config.backend", Type: space.Choice, Values: []any{value}}}})
		if want == "" {
			require.Empty(t, found)
		} else {
			require.Contains(t, found[0].line(), want)
		}
	}
	found := e.Check(plain(), space.Space{Parameters: []space.Parameter{{Name: "kv_cache_config.enable_block_reus", Type: space.Boolean}}})
	require.Equal(t, "kv_cache_config.enable_block_reuse", found[0].Nearest)
}
