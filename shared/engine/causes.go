package engine

import (
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"

	"github.com/fleetune/fleetune/proto/experiment"
)

// A symptom is a line that tells what an engine died of.
type symptom struct {
	cause   Cause
	outcome experiment.Outcome
	line    *regexp.Regexp
	// needle is in every line that matches, in small letters: it is looked for
	// first, a hundred times as fast as the expression.
	needle string
	hint   string
}

// needle returns the longest text that whatever matches an expression holds,
// in small letters.
func needle(re *syntax.Regexp) string {
	switch re.Op {
	case syntax.OpLiteral:
		return strings.ToLower(string(re.Rune))
	case syntax.OpCapture, syntax.OpPlus:
		return needle(re.Sub[0])
	case syntax.OpConcat:
		longest := ""
		for _, part := range re.Sub {
			if text := needle(part); len(text) > len(longest) {
				longest = text
			}
		}
		return longest
	default: // whatever may be left out, or be one of several
		return ""
	}
}

func newSymptom(cause Cause, outcome experiment.Outcome, hint, line string) symptom {
	expression := "(?i)" + line
	s := symptom{cause: cause, outcome: outcome, hint: hint, line: regexp.MustCompile(expression)}
	if parsed, err := syntax.Parse(expression, syntax.Perl); err == nil {
		s.needle = needle(parsed)
	}
	return s
}

// symptoms in order of what they explain: the first one that a log shows is the
// cause, for the later ones follow from it. Running out of memory stands before
// errors of CUDA and NCCL, which it leaves on the other devices.
var symptoms = sync.OnceValue(func() []symptom {
	var list []symptom
	add := func(cause Cause, outcome experiment.Outcome, hint string, lines ...string) {
		for _, line := range lines {
			list = append(list, newSymptom(cause, outcome, hint, line))
		}
	}
	failed, memory, place := experiment.OutcomeFailed, experiment.OutcomeOutOfMemory, experiment.OutcomeInfraError

	add(CauseGatedModel, failed, "accept the model's licence on the hub, and name a secret with a token in model.hf_token",
		`GatedRepoError`, `Cannot access gated repo`, `access to model .* is restricted`, `401 Client Error.*huggingface`, `403 Client Error.*huggingface`)
	add(CauseHub, place, "the hub cannot be reached from there: see the node's network and proxies, or put the model into the worker's model root",
		`couldn't connect to .https?://\S*(huggingface|hf)`, `host='(huggingface\.co|hf\.co|cdn-lfs\S*)'.*Max retries exceeded`, `Failed to resolve '(huggingface|cdn-lfs|cas-bridge)`,
		`Connection to huggingface\.co timed out`, `(429|50[0-4]) (Client|Server) Error.*huggingface`, `www\.modelscope\.cn.*Max retries exceeded`)
	add(CauseRemoteCode, failed, "the model brings code of its own: read it, then allow it with trust-remote-code: [true] among the parameters",
		`contains custom code which must be executed`, `requires you to execute the configuration file`, `set the option .?trust_remote_code=True`,
		`pass the argument .?trust_remote_code=True`)
	add(CauseMissingModel, failed, "the model's files are incomplete or damaged: fetch them again",
		`model is corrupted or incomplete`, `Error while deserializing header`, `MetadataIncompleteBuffer`, `InvalidHeaderDeserialization`, `invalid magic characters`,
		`PytorchStreamReader failed`)
	add(CauseMissingModel, failed, "check model.id_or_path: a hub id (of a private model with a secret in model.hf_token), a folder under the worker's model root, or an absolute path",
		`RepositoryNotFoundError`, `RevisionNotFoundError`, `is not a local folder and is not a valid model identifier`, `EntryNotFoundError`,
		`LocalEntryNotFoundError`, `HFValidationError`, `Repo id must (be|use)`, `does not appear to have a file named (config\.json|.*safetensors|pytorch_model)`,
		`no such file or directory.*(config\.json|\.gguf|\.safetensors|/models?/)`, `(config\.json|\.gguf|\.safetensors).*no such file or directory`,
		`Cannot find any model weights`, `No (safetensors|model) (weights|files) found`, `Invalid repository ID or local directory`,
		`gguf_init_from_file: failed to open`, `Couldn't find a model`)
	add(CausePortTaken, place, "another process holds the port; the worker takes another one when the experiment is tried again",
		`address already in use`, `Errno 98\b`, `EADDRINUSE`, `couldn't bind (HTTP )?server socket`, `port \d+ (is )?(already|in use|not available)`,
		`Failed to bind socket`)
	add(CauseForeign, place, "another process fills the device; see the worker's devices",
		`Free memory on device.*is less than desired GPU memory utilization`, `CUDA-capable device\(s\) is/are busy or unavailable`)
	add(CauseOOM, memory, "",
		`OutOfMemoryError`, `CUDA out of memory`, `HIP out of memory`, `CUDA error: out of memory`, `cudaErrorMemoryAllocation`, `cudaMalloc failed: out of memory`,
		`No available memory for the cache blocks`, `is larger than the available KV cache memory`, `larger than the maximum number of tokens that can be stored in KV cache`,
		`Not enough memory\. Please try`, `memory pool is full`, `CUBLAS_STATUS_ALLOC_FAILED`, `unable to allocate (CUDA|ROCm|Vulkan|Metal)\S* buffer`, `failed to allocate (CUDA|ROCm|Vulkan|compute|buffer)`,
		`unable to allocate backend buffer`, `error loading model: failed to allocate`, `Executor creation failed due to insufficient GPU memory`, `insufficient GPU memory`,
		`Prefill out of memory`, `KV cache .{0,40}(too small|not enough) .{0,40}(sequence|request)`, `failed to allocate KV cache`, `llama_kv_cache.*failed to allocate`, `\[TensorRT-LLM\].*out of memory`, `Requested size exceeds available GPU memory`)
	add(CauseHostMemory, memory, "the node's own memory ran out: fewer loading threads, less swap space or offloading, or a larger node",
		`std::bad_alloc`, `DefaultCPUAllocator: can't allocate memory`, `Cannot allocate memory`, `unable to allocate CPU buffer`, `MemoryError`, `No space left on device.*/dev/shm`, `oom-kill`)
	add(CauseDiskFull, place, "the node's disk is full: make room where models, caches and compiled kernels are kept",
		`No space left on device`, `Disk quota exceeded`)
	add(CauseBadFlag, failed, "check the parameter's name and value for this version of the engine (fleetune submit --dry-run)",
		`error: unrecognized arguments`, `error: argument \S+: (invalid|expected|not allowed)`, `error: argument .*: invalid choice`, `error: the following arguments are required`,
		`error: ambiguous option`, `error: invalid argument: `, `error: unknown argument: `, `error while handling argument`, `error: invalid value for argument`,
		`Error: No such option`, `Error: Invalid value for`, `no such option: `, `unexpected keyword argument`, `error: option .* requires`)
	add(CauseTokenizer, failed, "the tokenizer's files are missing or of another kind: set tokenizer, or repair the model's folder",
		`Can't load tokenizer for`, `error.*load(ing)? .*tokenizer`, `Couldn't instantiate the backend tokenizer`, `Tokenizer class \S+ does not exist`,
		`TokenizersBackend has no attribute`, `failed to load vocab`, `error loading model vocabulary`, `unknown pre-tokenizer type`)
	add(CauseUnsupported, failed, "the engine's version, or this device, has no support for it: another version, engine, precision or backend",
		`Model architectures? .* (is|are) not supported`, `does not recognize this architecture`, `unknown model architecture`, `Unsupported architecture`,
		`Unknown quantization method`, `quantization method .* (is )?not supported`, `is not supported for the current GPU`, `does not match the quantization method`,
		`Minimum capability: \d+`, `Bfloat16 is only supported on GPUs with compute capability`, `no kernel image is available`, `kv-cache is not supported`,
		`type fp8e4nv not supported`, `(attention|MoE).{0,40}backend.{0,60}(not supported|not available)`, `is not divisible by tensor parallel`, `must be divisible by (the )?(tensor|tp|number)`,
		`Total number of attention heads .* must be divisible`, `NotImplementedError`,
		`Selected backend .* is not valid for this configuration`, `No valid attention backend`, `input size is not aligned with the quantized weight`, `is not divisible by min_thread_`,
		`Unsupported GPU architecture`)
	add(CauseBadFlag, failed, "the engine refuses these values, or these values together",
		`validation errors? for \w*(Config|Args)`, `User-specified (max_model_len|context_length)`, `is greater than the derived (max_model_len|context_length)`)
	add(CauseNCCL, place, "the devices stopped talking to each other: check the links, NCCL_P2P_DISABLE and shared memory, or fewer devices",
		`Watchdog caught collective operation timeout`, `NCCL (watchdog|timeout)`, `ncclUnhandledCudaError`, `ncclSystemError`, `ncclInternalError`, `ncclRemoteError`, `NCCL error`,
		`ProcessGroupNCCL.*(time(d )?out|abort)`, `DistBackendError`, `Timed out waiting for .* ranks`, `RCCL error`,
		`gloo/transport/.*(Timed out|Connection closed|Connection reset)`, `DistStoreError`, `client socket has (failed|timed out)`)
	add(CauseCUDA, place, "the device or its driver failed: see the kernel's log (Xid) and the worker's devices",
		`uncorrectable ECC`, `\bXid\b`, `no CUDA-capable device`, `CUDA driver version is insufficient`, `GPU is lost`, `fell off the bus`, `Found no NVIDIA driver`,
		`NVIDIA driver on your system is too old`, `Failed to infer device type`, `CUDA unknown error`, `No CUDA GPUs are available`, `invalid device ordinal`, `libcuda\.so.*cannot open`)
	add(CauseCUDA, failed, "a kernel failed with this configuration: try another attention backend, precision or engine version",
		`an illegal memory access`, `device-side assert`, `CUDA error: `, `CUBLAS_STATUS_\w+`, `unspecified launch failure`, `misaligned address`, `HIP error: `, `cudaErrorIllegalAddress`)
	add(CauseMissing, failed, "the engine is not installed where the launcher looks: set program or image",
		`No module named '?(vllm|sglang|tensorrt_llm|torch)\b`, `executable file not found`, `(vllm|sglang|trtllm-serve|llama-server|python3?): (command )?not found`,
		`error while loading shared libraries`)
	add(CauseMissing, failed, "a library that the engine needs is missing there, or is of another version: take the engine's own image, or repair its environment",
		`ImportError: .*\.so\S*: (cannot open shared object file|undefined symbol)`, `undefined symbol: `, `Could not find nvcc`, `Ninja is required to load C\+\+ extensions`,
		`No module named '?(flash_attn|flashinfer|triton|transformers|sgl_kernel|deep_gemm|tensorrt)\b`)
	return list
})
