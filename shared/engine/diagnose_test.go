package engine

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/proto/experiment"
)

func exit(code int) Ended { return Ended{Phase: PhaseLoad, ExitCode: &code} }

func atRun(e Ended) Ended {
	e.Phase = PhaseRun
	return e
}

// Logs as engines write them, shortened: the telling line is not the last one.
func TestDiagnose(t *testing.T) {
	const core = "\nRuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}\n"
	const failed, memory, place = experiment.OutcomeFailed, experiment.OutcomeOutOfMemory, experiment.OutcomeInfraError
	for _, row := range []struct {
		name    string
		engine  string
		log     string
		ended   Ended
		cause   Cause
		outcome experiment.Outcome
		message string
	}{
		{"oom at load", VLLM, "INFO 11-22 loading weights\n(EngineCore_0 pid=7) ERROR torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 448.00 MiB. GPU 0 has a total capacity of 23.57 GiB" + core,
			exit(1), CauseOOMAtLoad, memory, "(EngineCore_0 pid=7) ERROR torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 448.00 MiB. GPU 0 has a total capacity of 23.57 GiB"},
		{"oom at run", VLLM, "INFO Running: 256 reqs\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\nvllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue",
			atRun(exit(1)), CauseOOMAtRun, memory, ""},
		{"no room for the cache", VLLM, "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine." + core, exit(1), CauseOOMAtLoad, memory, ""},
		{"no room for one request", VLLM, "ValueError: To serve at least one request with the models's max seq len (131072), (16.00 GiB KV cache is needed, which is larger than the available KV cache memory (4.21 GiB)." + core, exit(1), CauseOOMAtLoad, memory, ""},
		{"sglang has no room", SGLang, "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.\nReceived sigquit from a child process.", exit(-9), CauseOOMAtLoad, memory, ""},
		{"oom, then NCCL", SGLang, "[rank1] torch.OutOfMemoryError: HIP out of memory.\n[rank0] torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:2251, remote process exited", exit(1), CauseOOMAtLoad, memory, ""},
		{"llama.cpp has no room", LlamaCpp, "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 35000.00 MiB on device 0: cudaMalloc failed: out of memory\nllama_model_load: error loading model: unable to allocate CUDA0 buffer\nllama_model_load_from_file_impl: failed to load model", exit(1), CauseOOMAtLoad, memory, ""},
		{"TensorRT has no room", TensorRT, "[TensorRT-LLM][ERROR] CUDA runtime error in cudaMallocAsync: out of memory", exit(1), CauseOOMAtLoad, memory, ""},
		{"the host has no room", VLLM, "Loading safetensors checkpoint shards: 50%\n", Ended{Phase: PhaseLoad, Signal: "killed", OOMKilled: true}, CauseHostMemory, memory, "killed because the node's memory ran out"},
		{"bad_alloc", LlamaCpp, "terminate called after throwing an instance of 'std::bad_alloc'", Ended{Phase: PhaseLoad, Signal: "aborted"}, CauseHostMemory, memory, ""},
		{"another process", VLLM, "ValueError: Free memory on device cuda:0 (3.1/79.2 GiB) on startup is less than desired GPU memory utilization (0.92, 72.9 GiB)." + core, exit(1), CauseForeign, place, ""},
		{"unknown flag", VLLM, "usage: vllm serve [model_tag] [options]\nvllm: error: unrecognized arguments: --max-num-sqs 64", exit(2), CauseBadFlag, failed, "vllm: error: unrecognized arguments: --max-num-sqs 64"},
		{"bad choice", SGLang, "launch_server.py: error: argument --kv-cache-dtype: invalid choice: 'fp4' (choose from 'auto', 'fp8_e5m2')", exit(2), CauseBadFlag, failed, ""},
		{"llama.cpp flag", LlamaCpp, "error: invalid argument: --tp-size", exit(1), CauseBadFlag, failed, ""},
		{"trtllm flag", TensorRT, "Usage: trtllm-serve serve [OPTIONS] MODEL\n\nError: No such option: --tp", exit(2), CauseBadFlag, failed, ""},
		{"refused together", VLLM, "pydantic_core._pydantic_core.ValidationError: 1 validation error for SchedulerConfig\n  Value error, max_num_batched_tokens (512) is smaller than max_model_len (131072)." + core, exit(1), CauseBadFlag, failed, ""},
		{"usage error alone", VLLM, "", exit(2), CauseBadFlag, failed, "exit code 2"},
		{"no such model", VLLM, "huggingface_hub.errors.RepositoryNotFoundError: 404 Client Error.\nOSError: meta-llama/Lama is not a local folder and is not a valid model identifier", exit(1), CauseMissingModel, failed, ""},
		{"empty folder", SGLang, "RuntimeError: Cannot find any model weights with `/models/empty`", exit(1), CauseMissingModel, failed, ""},
		{"no such file", LlamaCpp, "gguf_init_from_file: failed to open GGUF file '/models/x.gguf'\nerror loading model", exit(1), CauseMissingModel, failed, ""},
		{"gated", VLLM, "huggingface_hub.errors.GatedRepoError: 401 Client Error: Cannot access gated repo for url https://huggingface.co/meta-llama with token hf_AbCdEfGhIjKlMnOp", exit(1), CauseGatedModel, failed,
			"huggingface_hub.errors.GatedRepoError: 401 Client Error: Cannot access gated repo for url https://huggingface.co/meta-llama with token (hidden)"},
		{"own code", VLLM, "ValueError: The repository org/x contains custom code which must be executed to correctly load the model.\nPlease pass the argument `trust_remote_code=True` to allow custom code to be run.", exit(1), CauseRemoteCode, failed, ""},
		{"own configuration", SGLang, "ValueError: Loading org/x requires you to execute the configuration file in that repo on your local machine.", exit(1), CauseRemoteCode, failed, ""},
		{"no network", VLLM, "urllib3.exceptions.MaxRetryError: HTTPSConnectionPool(host='huggingface.co', port=443): Max retries exceeded with url: /org/x/resolve/main/config.json\nhuggingface_hub.errors.LocalEntryNotFoundError: An error happened while trying to locate the file", exit(1), CauseHub, place, ""},
		{"no network for a tokenizer", SGLang, "OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the cached files.", exit(1), CauseHub, place, ""},
		{"damaged file", VLLM, "safetensors_rust.SafetensorError: Error while deserializing header: MetadataIncompleteBuffer" + core, exit(1), CauseMissingModel, failed, ""},
		{"damaged gguf", LlamaCpp, "llama_model_load: error loading model: tensor 'blk.31.ffn_up.weight' data is not within the file bounds, model is corrupted or incomplete", exit(1), CauseMissingModel, failed, ""},
		{"full disk", VLLM, "OSError: [Errno 28] No space left on device: '/root/.cache/vllm/torch_compile_cache'", exit(1), CauseDiskFull, place, ""},
		{"full shared memory", VLLM, "OSError: [Errno 28] No space left on device: '/dev/shm/psm_1'", exit(1), CauseHostMemory, memory, ""},
		{"TensorRT has no room for its cache", TensorRT, "[TRT-LLM] [RANK 1] [E] Failed to initialize executor on rank 1: Executor creation failed due to insufficient GPU memory.\nRuntimeError: Executor worker returned error", exit(1), CauseOOMAtLoad, memory, ""},
		{"graphs have no room", SGLang, "Exception: Capture cuda graph failed: CUDA out of memory. Tried to allocate 448.00 MiB. GPU 7 has a total capacity of 95.00 GiB", exit(-9), CauseOOMAtLoad, memory, ""},
		{"graphs lose a device", SGLang, "Exception: Capture cuda graph failed: [/pytorch/third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:133] Timed out waiting 1800000ms for send operation to complete", exit(-9), CauseNCCL, place, ""},
		{"llama.cpp has no room to compute", LlamaCpp, "ggml_gallocr_reserve_n: failed to allocate ROCm0 buffer of size 866125824\nllama_new_context_with_model: failed to allocate compute buffers\nerror: failed to create context with model", exit(1), CauseOOMAtLoad, memory, ""},
		{"context above the model's", VLLM, "ValueError: User-specified max_model_len (131072) is greater than the derived max_model_len (max_position_embeddings=8192).", exit(1), CauseBadFlag, failed, ""},
		{"context above the model's", SGLang, "ValueError: User-specified context_length (131072) is greater than the derived context_length (8192).", exit(1), CauseBadFlag, failed, ""},
		{"backend of another GPU", VLLM, "ValueError: Selected backend AttentionBackendEnum.FLASHMLA is not valid for this configuration. Reason: ['compute capability not supported']", exit(1), CauseUnsupported, failed, ""},
		{"old driver", SGLang, "RuntimeError: The NVIDIA driver on your system is too old (found version 12080). Please update your GPU driver", exit(1), CauseCUDA, place, ""},
		{"old driver, by CUDA", LlamaCpp, "ggml_cuda_init: failed to initialize CUDA: CUDA driver version is insufficient for CUDA runtime version", exit(1), CauseCUDA, place, ""},
		{"no device", VLLM, "RuntimeError: Failed to infer device type, please set the environment variable `VLLM_LOGGING_LEVEL=DEBUG`", exit(1), CauseCUDA, place, ""},
		{"no library", VLLM, "ImportError: libcudart.so.12: cannot open shared object file: No such file or directory", exit(1), CauseMissing, failed, ""},
		{"library of another version", SGLang, "ImportError: /x/flash_attn_2_cuda.so: undefined symbol: _ZN3c105ErrorC2ENS_14SourceLocationE", exit(1), CauseMissing, failed, ""},
		{"no compiler", SGLang, "RuntimeError: Could not find nvcc and default cuda_home='/usr/local/cuda' doesn't exist", exit(1), CauseMissing, failed, ""},
		{"another processor", LlamaCpp, "", Ended{Phase: PhaseLoad, Signal: "illegal instruction"}, CauseUnsupported, failed, "ended by signal illegal instruction"},
		{"port", VLLM, "OSError: [Errno 98] Address already in use", exit(1), CausePortTaken, place, ""},
		{"port of llama.cpp", LlamaCpp, "main: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 9000", exit(1), CausePortTaken, place, ""},
		{"kernel", SGLang, "torch.AcceleratorError: CUDA error: an illegal memory access was encountered\nScheduler hit an exception", atRun(exit(-9)), CauseCUDA, failed, ""},
		{"device", VLLM, "RuntimeError: CUDA error: uncorrectable ECC error encountered", atRun(exit(1)), CauseCUDA, place, ""},
		{"driver", VLLM, "RuntimeError: Found no NVIDIA driver on your system.", exit(1), CauseCUDA, place, ""},
		{"NCCL hangs", VLLM, "[rank1]:[E ProcessGroupNCCL.cpp:632] [Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=5, OpType=ALLREDUCE) ran for 600000 milliseconds", Ended{Phase: PhaseLoad, Timeout: true}, CauseNCCL, experiment.OutcomeTimeout, ""},
		{"NCCL fails", VLLM, "torch.distributed.DistBackendError: NCCL error: unhandled system error, ncclSystemError: System call failed", exit(1), CauseNCCL, place, ""},
		{"architecture", VLLM, "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n  Value error, Model architectures ['NewForCausalLM'] are not supported for now.", exit(1), CauseUnsupported, failed, ""},
		{"llama.cpp architecture", LlamaCpp, "llama_model_load: error loading model: error loading model architecture: unknown model architecture: 'new'", exit(1), CauseUnsupported, failed, ""},
		{"quantisation", VLLM, "ValueError: The quantization method awq_marlin is not supported for the current GPU. Minimum capability: 80. Current capability: 75.", exit(1), CauseUnsupported, failed, ""},
		{"kv cache", VLLM, "ValueError: fp8_e5m2 kv-cache is not supported with fp8 checkpoints.", exit(1), CauseUnsupported, failed, ""},
		{"heads", VLLM, "ValueError: Total number of attention heads (28) must be divisible by tensor parallel size (8).", exit(1), CauseUnsupported, failed, ""},
		{"tokenizer", SGLang, "OSError: Can't load tokenizer for '/models/x'. If you were trying to load it from", exit(1), CauseTokenizer, failed, ""},
		{"llama.cpp vocabulary", LlamaCpp, "llama_model_load: error loading model: error loading model vocabulary: unknown pre-tokenizer type: 'new'", exit(1), CauseTokenizer, failed, ""},
		{"not installed", VLLM, "/usr/bin/python3: Error while finding module specification (ModuleNotFoundError: No module named 'vllm')", exit(1), CauseMissing, failed, ""},
		{"not found", LlamaCpp, "", exit(127), CauseMissing, failed, "exit code 127"},
		{"never ready", VLLM, "INFO Capturing CUDA graph shapes: 40%", Ended{Phase: PhaseLoad, Timeout: true}, CauseNotReady, experiment.OutcomeTimeout, "it still ran and was not ready"},
		{"answers no more", VLLM, "INFO Running: 0 reqs", Ended{Phase: PhaseRun, Timeout: true}, CauseUnresponsive, experiment.OutcomeTimeout, ""},
		{"killed", VLLM, "INFO ready", Ended{Phase: PhaseRun, Signal: "killed"}, CauseKilled, failed, "ended by signal killed"},
		{"anything else", VLLM, "INFO a\nTraceback\nSomeError: it is Tuesday\nINFO shutting down", exit(3), CauseUnknown, failed, "SomeError: it is Tuesday"},
		{"nothing", VLLM, "", exit(3), CauseUnknown, failed, "it ended by itself, with exit code 3"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := lookup(t, row.engine, "").Diagnose(row.log, row.ended)
			require.Equal(t, row.cause, got.Cause, got.Message)
			require.Equal(t, row.outcome, got.Outcome)
			require.NotEmpty(t, got.Message)
			require.NotEmpty(t, got.Hint)
			if row.message != "" {
				require.Equal(t, row.message, got.Message)
			}
		})
	}
}

// What an engine prints in a healthy life is no symptom.
func TestHealthyLogs(t *testing.T) {
	for engine, log := range map[string]string{
		VLLM: `INFO 11-22 10:00:01 [api_server.py:1755] vLLM API server version 0.10.0
INFO 11-22 10:00:09 [config.py:1604] Using max model len 131072
INFO 11-22 10:00:10 [cuda.py:290] Using Flash Attention backend on V1 engine.
WARNING 11-22 10:00:12 [topk_topp_sampler.py:59] FlashInfer is not available. Falling back to the PyTorch-native implementation
INFO 11-22 10:00:40 [kv_cache_utils.py:833] GPU KV cache size: 447,616 tokens
INFO:     Application startup complete.`,
		LlamaCpp: `build: 6500 (0c1e57098) with cc for x86_64-linux-gnu
warning: no usable GPU found, --gpu-layers option will be ignored
llama_kv_cache: size =   448.00 MiB (  4096 cells,  28 layers,  4/1 seqs), K (f16):  224.00 MiB, V (f16):  224.00 MiB
main: server is listening on http://127.0.0.1:9000 - starting the main loop`,
	} {
		require.Equal(t, CauseUnknown, lookup(t, engine, "").Diagnose(log, exit(1)).Cause)
	}
}

func FuzzDiagnose(f *testing.F) {
	f.Add("torch.OutOfMemoryError: CUDA out of memory", true, 1)
	f.Add("\x1b[31merror: unrecognized arguments\x1b[0m: \xff hf_abcdefghijkl", false, 2)
	f.Add("", false, 127)
	engines := everyEngine(f)
	f.Fuzz(func(t *testing.T, log string, late bool, code int) {
		for _, e := range engines {
			d := e.Diagnose(log, Ended{Phase: PhaseLoad, ExitCode: &code, Timeout: late})
			if d.Cause == "" || d.Cause == CauseOOM || d.Outcome == "" || d.Outcome == experiment.OutcomeSuccess || d.Message == "" || len(d.Message) > maxMessage+4 {
				t.Fatalf("%+v", d)
			}
			if strings.ContainsAny(d.Message, "\n\r\x00\x1b") {
				t.Fatalf("%q is no line", d.Message)
			}
			e.ReadLog(log)
			for _, r := range e.Endpoints().Settings {
				e.ReadSettings(r.Path, []byte(log))
			}
		}
	})
}

// Every symptom is looked for by a text that its lines hold: without one, each
// line of a long log would be tried.
func TestNeedles(t *testing.T) {
	for _, s := range symptoms() {
		require.GreaterOrEqual(t, len(s.needle), 3, s.line)
	}
}
