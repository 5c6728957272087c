package engine

import "slices"

// counterparts lists arguments of the engines that do about the same; "" where
// an engine has none.
func counterparts() (order []string, rows [][4]string) {
	return []string{VLLM, SGLang, TensorRT, LlamaCpp}, [][4]string{
		{"tensor-parallel-size", "tp-size", "tensor_parallel_size", "tensor-split"},
		{"pipeline-parallel-size", "pp-size", "pipeline_parallel_size", "tensor-split"},
		{"data-parallel-size", "dp-size", "", ""},
		{"decode-context-parallel-size", "dcp-size", "", ""},
		{"gpu-memory-utilization", "mem-fraction-static", "free_gpu_memory_fraction", ""},
		{"max-num-seqs", "max-running-requests", "max_batch_size", "parallel"},
		{"max-num-batched-tokens", "max-prefill-tokens", "max_num_tokens", "batch-size"},
		{"enable-chunked-prefill", "chunked-prefill-size", "enable_chunked_prefill", "ubatch-size"},
		{"max-model-len", "context-length", "max_seq_len", "ctx-size"},
		{"block-size", "page-size", "", ""},
		{"enable-prefix-caching", "disable-radix-cache", "", "cache-prompt"},
		{"enforce-eager", "disable-cuda-graph", "", ""},
		{"scheduling-policy", "schedule-policy", "", ""},
		{"kv-cache-dtype", "kv-cache-dtype", "", "cache-type-k"},
		{"attention-backend", "attention-backend", "", "flash-attn"},
		{"enable-expert-parallel", "ep-size", "moe_expert_parallel_size", ""},
		{"moe-backend", "moe-runner-backend", "", ""},
	}
}

// counterpart is the engine's own argument for another engine's, "" where there
// is none.
func (e *Engine) counterpart(other, name string) string {
	order, rows := counterparts()
	from, to := slices.Index(order, other), slices.Index(order, e.Name())
	list := tables(other)
	flag, _ := list[len(list)-1].find(name)
	if flag == nil {
		return ""
	}
	for _, row := range rows {
		same, _ := list[len(list)-1].find(row[from])
		if same == flag && e.flags.has(row[to]) {
			return row[to]
		}
	}
	return ""
}

// renamed lists arguments that go by another name in later versions.
func renamed() map[string]string {
	return map[string]string{
		// SGLang
		"cuda-graph-max-bs": "cuda-graph-max-bs-decode", "cuda-graph-bs": "cuda-graph-bs-decode", "enable-ep-moe": "ep-size",
		"enable-deepep-moe": "moe-a2a-backend", "enable-flashinfer-cutlass-moe": "moe-runner-backend", "max-micro-batch-size": "pp-max-micro-batch-size",
		// vLLM
		"cuda-graph-sizes": "cudagraph-capture-sizes", "max-seq-len-to-capture": "max-cudagraph-capture-size", "task": "runner", "disable-log-requests": "enable-log-requests",
	}
}
