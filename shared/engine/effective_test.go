package engine

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadLog(t *testing.T) {
	for _, row := range []struct {
		engine, log string
		want        map[string]string
	}{
		{VLLM, `INFO 11-22 [api_server.py:1755] vLLM API server version 0.10.0
INFO 11-22 [config.py:1604] Using max model len 131072
INFO 11-22 [config.py:1734] Using fp8 data type to store kv cache. It reduces the GPU memory footprint
INFO 11-22 [core.py:71] Initializing a V1 LLM engine (v0.10.0) with config: model='/m', dtype=torch.bfloat16, max_seq_len=131072, quantization=None, kv_cache_dtype=fp8
INFO 11-22 [cuda.py:290] Using Flash Attention backend on V1 engine.
INFO 11-22 [kv_cache_utils.py:833] GPU KV cache size: 447,616 tokens`,
			map[string]string{"version": "0.10.0", "max_model_len": "131072", "kv_cache_dtype": "fp8", "dtype": "bfloat16", "attention_backend": "Flash Attention", "kv_cache_tokens": "447616"}},
		{VLLM, `INFO Using AttentionBackendEnum.FLASHINFER backend.
INFO # GPU blocks: 27863, # CPU blocks: 2048`, map[string]string{"attention_backend": "FLASHINFER", "kv_cache_blocks": "27863"}},
		{SGLang, `[2026-11-22 10:00:00] server_args=ServerArgs(model_path='/m', kv_cache_dtype='fp8_e5m2', quantization=None, attention_backend=None)
[2026-11-22 10:00:05] Attention backend not explicitly specified. Use flashinfer backend by default.
[2026-11-22 10:00:20] Load weight end. type=LlamaForCausalLM, dtype=torch.bfloat16, avail mem=62.10 GB
[2026-11-22 10:00:30] max_total_num_tokens=924532, chunked_prefill_size=8192, max_running_requests=2048, context_len=131072`,
			map[string]string{"kv_cache_dtype": "fp8_e5m2", "attention_backend": "flashinfer", "dtype": "bfloat16", "kv_cache_tokens": "924532", "max_model_len": "131072"}},
		{LlamaCpp, `build: 6500 (0c1e57098) with cc
llama_context: n_seq_max     = 4
llama_context: n_ctx_per_seq = 1024
llama_context: flash_attn    = auto
llama_kv_cache: size =   448.00 MiB (  4096 cells,  28 layers,  4/1 seqs), K (q8_0):  224.00 MiB, V (f16):  224.00 MiB`,
			map[string]string{"version": "6500", "max_model_len": "1024", "attention_backend": "auto", "kv_cache_tokens": "4096", "kv_cache_dtype": "q8_0", "slots": "4"}},
		{TensorRT, "[TensorRT-LLM] TensorRT-LLM version: 1.2.0", map[string]string{"version": "1.2.0"}},
		{VLLM, "nothing of that kind", map[string]string{}},
	} {
		require.Equal(t, row.want, lookup(t, row.engine, "").ReadLog(row.log))
	}
}

func TestReadSettings(t *testing.T) {
	for _, row := range []struct {
		engine, path, body string
		want               map[string]string
	}{
		{VLLM, "/version", `{"version":"0.10.0"}`, map[string]string{"version": "0.10.0"}},
		{VLLM, "/v1/models", `{"object":"list","data":[{"id":"m","max_model_len":131072}]}`, map[string]string{"max_model_len": "131072"}},
		{SGLang, "/get_server_info", `{"dtype":"auto","quantization":null,"kv_cache_dtype":"auto","attention_backend":"fa3","context_length":null,"max_req_input_len":131066,"max_total_num_tokens":924532,"version":"0.5.2","internal_states":[]}`,
			map[string]string{"dtype": "auto", "kv_cache_dtype": "auto", "attention_backend": "fa3", "max_model_len": "131066", "kv_cache_tokens": "924532", "version": "0.5.2"}},
		{LlamaCpp, "/props", `{"default_generation_settings":{"n_ctx":1024},"total_slots":4,"build_info":"b6500-0c1e57098"}`,
			map[string]string{"max_model_len": "1024", "slots": "4", "version": "b6500-0c1e57098"}},
		{VLLM, "/v1/models", `{"data":[]}`, map[string]string{}},
		{VLLM, "/v1/models", `<html>`, map[string]string{}},
	} {
		require.Equal(t, row.want, lookup(t, row.engine, "").ReadSettings(row.path, []byte(row.body)))
	}
}

// Every engine says when it is ready; those that cache prefixes and can forget
// them say how.
func TestEndpoints(t *testing.T) {
	for _, e := range everyEngine(t) {
		ends := e.Endpoints()
		require.NotEmpty(t, ends.Ready)
		require.NotEmpty(t, ends.Metrics)
		require.NotEmpty(t, ends.Settings)
		if ends.MetricsFlag != "" {
			_, ok := e.Flag(ends.MetricsFlag)
			require.True(t, ok, "%s %s", e.Name(), ends.MetricsFlag)
		}
	}
	require.Equal(t, []Request{{"GET", "/health_generate"}}, lookup(t, SGLang, "").Endpoints().Ready, "/v1/models answers before the warm-up")
	require.Equal(t, &Request{"POST", "/flush_cache"}, lookup(t, SGLang, "").Endpoints().Flush)
	require.Equal(t, &Request{"POST", "/reset_prefix_cache"}, lookup(t, VLLM, "").Endpoints().Flush)
	require.True(t, lookup(t, VLLM, "").Endpoints().Completion)
}
