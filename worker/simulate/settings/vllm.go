package settings

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/fleetune/fleetune/worker/simulate/batching"
)

// largeMemory is where vLLM's defaults for bigger GPUs begin (bytes); its A100
// keeps the smaller ones.
const largeMemory = 70 << 30

// driverBytes of a GPU's memory are never the engine's.
const driverBytes = 512 << 20

// vllm reads vLLM's flags. Defaults are those of its OpenAI server.
func (d *draft) vllm() error {
	a := d.args
	if err := d.precision(); err != nil {
		return err
	}
	sequences, tokens := 256, 2048
	if d.GPU.Memory >= largeMemory && d.GPU.FP8 > 0 {
		sequences, tokens = 1024, 8192
	}
	sequences, tokens = a.integer("max-num-seqs", sequences), a.integer("max-num-batched-tokens", max(tokens, a.integer("max-num-seqs", 0)))
	d.MaxLength = a.integer("max-model-len", d.Architecture.MaxPositions)
	if d.MaxLength <= 0 {
		d.MaxLength = max(d.Architecture.MaxPositions, 2048)
	}
	d.cfg.TP, d.cfg.PP = a.integer("tensor-parallel-size", 1), a.integer("pipeline-parallel-size", 1)
	d.Ranks = a.integer("data-parallel-size", 1)
	d.cfg.StepTime, d.cfg.SequenceTime = 0.5e-3, 4e-6
	d.fraction = a.number("gpu-memory-utilization", 0.9)
	d.StreamInterval = a.integer("stream-interval", 1)
	d.blocks = a.integer("num-gpu-blocks-override", 0)
	d.graphs()
	d.Policy = batching.Policy{Style: batching.Mixed, Order: batching.Order(a.text("scheduling-policy", string(batching.Arrival))),
		MaxSequences: sequences, MaxTokens: tokens, Chunk: tokens, Block: a.integer("block-size", 16), Keep: a.flag("enable-prefix-caching", true)}
	if limit := a.integer("long-prefill-token-threshold", 0); limit > 0 {
		d.Policy.Chunk = min(limit, tokens)
	}
	if !a.flag("enable-chunked-prefill", true) {
		d.Policy.Chunk = 0
	}
	d.use("max-num-seqs", "max-num-batched-tokens", "max-model-len", "tensor-parallel-size", "pipeline-parallel-size", "data-parallel-size",
		"gpu-memory-utilization", "stream-interval", "num-gpu-blocks-override", "scheduling-policy", "block-size", "enable-prefix-caching",
		"long-prefill-token-threshold", "enable-chunked-prefill", "enforce-eager", "compilation-config")
	if err := d.vllmChecks(); err != nil {
		return err
	}
	return d.vllmMemory()
}

// graphs reads how large a batch runs from a CUDA graph: 512 tokens at most
// unless the compilation says otherwise.
func (d *draft) graphs() {
	sizes := []int{}
	var compilation struct {
		Sizes []int           `json:"cudagraph_capture_sizes"`
		Max   int             `json:"max_cudagraph_capture_size"`
		Mode  json.RawMessage `json:"cudagraph_mode"`
	}
	largest := 512
	if json.Unmarshal([]byte(d.args.text("compilation-config", "{}")), &compilation) == nil {
		if compilation.Max > 0 {
			largest = compilation.Max
		}
		sizes = compilation.Sizes
		if string(compilation.Mode) == `"NONE"` || string(compilation.Mode) == "0" {
			largest = 0
		}
	}
	d.captured = 3 + largest/8 // 1, 2, 4, then every eighth
	if len(sizes) > 0 {
		largest, d.captured = 0, len(sizes)
		for _, n := range sizes {
			largest = max(largest, n)
		}
	}
	if d.args.flag("enforce-eager", false) || largest == 0 {
		largest, d.captured = 0, 0
	}
	d.cfg.GraphTokens = largest
}

func (d *draft) vllmChecks() error {
	p := d.Policy
	switch {
	case d.fraction <= 0 || d.fraction > 1:
		return fmt.Errorf("%w: GPU memory utilization must be in (0, 1], got %v", ErrInvalid, d.fraction)
	case p.MaxTokens < p.MaxSequences:
		return fmt.Errorf("%w: max_num_batched_tokens (%d) must be greater than or equal to max_num_seqs (%d)", ErrInvalid, p.MaxTokens, p.MaxSequences)
	case p.Chunk == 0 && p.MaxTokens < d.MaxLength:
		return fmt.Errorf("%w: max_num_batched_tokens (%d) is smaller than max_model_len (%d), which chunked prefill alone allows", ErrInvalid, p.MaxTokens, d.MaxLength)
	case d.Architecture.MaxPositions > 0 && d.MaxLength > d.Architecture.MaxPositions:
		return fmt.Errorf("%w: max_model_len (%d) is greater than the model's %d positions", ErrInvalid, d.MaxLength, d.Architecture.MaxPositions)
	}
	return nil
}

// vllmMemory: the engine may use a fraction of the memory; what weights,
// activations and runtime leave of it is the cache. Graphs come on top.
func (d *draft) vllmMemory() error {
	if err := d.place(d.Policy.MaxTokens, d.Policy.MaxSequences); err != nil {
		return err
	}
	allowed := d.fraction * float64(d.GPU.Memory)
	m := d.Memory
	cache := allowed - float64(m.Weights+m.Activations+m.Context)
	if err := d.room(cache); err != nil {
		return fmt.Errorf("%w: No available memory for the cache blocks: weights %s, activations %s, runtime %s of %s. Try increasing gpu_memory_utilization",
			err, gib(m.Weights), gib(m.Activations), gib(m.Context), gib(int64(allowed)))
	}
	if need := m.CachePerToken * float64(d.MaxLength); need > cache && d.blocks == 0 {
		return fmt.Errorf("%w: To serve at least one request with the model's max seq len (%d), %s KV cache is needed, which is larger than the available KV cache memory (%s)",
			ErrMemory, d.MaxLength, gib(int64(need)), gib(int64(cache)))
	}
	if allowed+float64(m.Graphs)+driverBytes > float64(d.GPU.Memory) {
		return fmt.Errorf("%w occurred while CUDA graphs were captured and the sampler was warmed up with %d requests: %s of %s are taken. Try lowering gpu_memory_utilization or max_num_seqs",
			ErrMemory, d.Policy.MaxSequences, gib(int64(allowed)+m.Graphs+driverBytes), gib(d.GPU.Memory))
	}
	d.Effective = map[string]string{
		"max_model_len": strconv.Itoa(d.MaxLength), "max_num_seqs": strconv.Itoa(d.Policy.MaxSequences),
		"max_num_batched_tokens": strconv.Itoa(d.Policy.MaxTokens), "num_gpu_blocks": strconv.Itoa(d.Policy.Blocks),
		"kv_cache_tokens": strconv.Itoa(d.Policy.Blocks * d.Policy.Block),
	}
	return nil
}
