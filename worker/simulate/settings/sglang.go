package settings

import (
	"fmt"
	"strconv"

	"github.com/fleetune/fleetune/worker/simulate/batching"
)

// cachedPage is the least number of tokens that the simulated prefix cache
// looks at together: SGLang's own is one token, which costs the simulation much
// and changes little.
const cachedPage = 16

// sglang reads SGLang's flags. Defaults that depend on the GPU follow SGLang's
// rules by memory size.
func (d *draft) sglang() error {
	a := d.args
	if err := d.precision(); err != nil {
		return err
	}
	d.cfg.TP, d.cfg.PP = a.integer("tp-size", 1), a.integer("pp-size", 1)
	d.Ranks = a.integer("dp-size", 1)
	if a.flag("enable-dp-attention", false) {
		// The groups share the weights: one engine, whose cache is divided.
		if d.Ranks < 1 || d.cfg.TP%d.Ranks != 0 {
			return fmt.Errorf("%w: dp_size (%d) must divide tp_size (%d) with DP attention", ErrInvalid, d.Ranks, d.cfg.TP)
		}
		d.cfg.AttentionDP, d.Ranks = d.Ranks, 1
	}
	d.cfg.StepTime, d.cfg.SequenceTime = 0.4e-3, 3e-6
	d.StreamInterval = a.integer("stream-interval", 1)
	chunk, graphs := d.sglangSizes()
	chunk = a.integer("chunked-prefill-size", chunk)
	d.sglangGraphs(a.integer("cuda-graph-max-bs", graphs))
	d.MaxLength = a.integer("context-length", max(d.Architecture.MaxPositions, 2048))
	prefill := a.integer("max-prefill-tokens", 16384)
	d.fraction = a.number("mem-fraction-static", d.sglangFraction(max(chunk, 0)))
	if d.fraction <= 0 || d.fraction >= 1 {
		return fmt.Errorf("%w: mem_fraction_static must be between 0 and 1, got %v", ErrInvalid, d.fraction)
	}
	order := batching.Order(a.text("schedule-policy", string(batching.Arrival)))
	if order == "dfs-weight" {
		order = batching.LongestPrefix
	}
	d.Policy = batching.Policy{Style: batching.PrefillFirst, Order: order, MaxTokens: prefill, Chunk: max(chunk, 0), Mix: a.flag("enable-mixed-chunk", false),
		Reserve: min(1, 0.7*a.number("schedule-conservativeness", 1)), Continuous: a.integer("num-continuous-decode-steps", 1),
		Block: max(a.integer("page-size", 1), cachedPage), Keep: !a.flag("disable-radix-cache", false), MaxSequences: a.integer("max-running-requests", 0)}
	d.use("tp-size", "pp-size", "dp-size", "enable-dp-attention", "stream-interval", "chunked-prefill-size", "cuda-graph-max-bs", "context-length",
		"max-prefill-tokens", "mem-fraction-static", "schedule-policy", "enable-mixed-chunk", "schedule-conservativeness", "num-continuous-decode-steps",
		"page-size", "disable-radix-cache", "max-running-requests", "max-total-tokens", "disable-cuda-graph")
	return d.sglangMemory()
}

// sglangSizes are the prompt part and the largest graph by memory size.
func (d *draft) sglangSizes() (chunk, graphs int) {
	switch memory := d.GPU.Memory >> 30; {
	case memory < 35:
		return 2048, 24
	case memory < 60:
		return 4096, 32
	case memory < 170:
		return 8192, 256
	default:
		return 16384, 512
	}
}

func (d *draft) sglangGraphs(largest int) {
	if d.args.flag("disable-cuda-graph", false) {
		largest = 0
	}
	d.cfg.GraphTokens, d.captured = largest, 0
	if largest > 0 {
		d.captured = 3 + largest/8
	}
}

// sglangFraction leaves room for a runtime, for activations by prompt part, for
// graphs by batch, and for peers.
func (d *draft) sglangFraction(chunk int) float64 {
	const mib = 1 << 20
	kept := 512*mib + float64(chunk)*1.5*mib + float64(d.cfg.GraphTokens)*2*mib + float64(d.cfg.TP*d.cfg.PP)/8*1024*mib
	return max(0.1, (float64(d.GPU.Memory)-kept)/float64(d.GPU.Memory))
}

// sglangMemory: weights and cache share a fraction of what the runtime leaves;
// graphs and activations have the rest, and a prompt part that needs more than
// that kills the engine while it serves.
func (d *draft) sglangMemory() error {
	sequences := d.Policy.MaxSequences
	if sequences <= 0 {
		sequences = 256
	}
	if err := d.place(max(d.Policy.Chunk, 1), sequences); err != nil {
		return err
	}
	m := d.Memory
	free := float64(d.GPU.Memory - m.Context)
	cache := free*d.fraction - float64(m.Weights)
	if limit := d.args.integer("max-total-tokens", 0); limit > 0 {
		cache = min(cache, float64(limit)*m.CachePerToken)
	}
	if err := d.room(cache); err != nil {
		return fmt.Errorf("%w: Not enough memory. Please try to increase --mem-fraction-static: weights %s of %s", err, gib(m.Weights), gib(int64(free*d.fraction)))
	}
	rest := free*(1-d.fraction) - float64(m.Graphs)
	if rest <= 0 {
		return fmt.Errorf("%w: Capture cuda graph failed: %s are left, %s are needed. Lower --mem-fraction-static or --cuda-graph-max-bs",
			ErrMemory, gib(int64(free*(1-d.fraction))), gib(m.Graphs))
	}
	d.Policy.SafeTokens = d.safeTokens(rest)
	tokens := d.Policy.Blocks * d.Policy.Block
	if d.Policy.MaxSequences <= 0 {
		d.Policy.MaxSequences = min(max(tokens/max(1, d.MaxLength)*512, 2048), 4096)
	}
	d.MaxLength = min(d.MaxLength, tokens)
	d.Effective = map[string]string{
		"max_total_num_tokens": strconv.Itoa(tokens), "chunked_prefill_size": strconv.Itoa(d.Policy.Chunk),
		"max_prefill_tokens": strconv.Itoa(d.Policy.MaxTokens), "max_running_requests": strconv.Itoa(d.Policy.MaxSequences),
		"context_len": strconv.Itoa(d.MaxLength), "mem_fraction_static": strconv.FormatFloat(d.fraction, 'g', 4, 64),
	}
	return nil
}

// safeTokens is the largest step of prompts whose activations fit into bytes.
func (d *draft) safeTokens(bytes float64) int {
	none, many := d.Costs.Memory(0, 1, 0).Activations, d.Costs.Memory(1024, 1, 0).Activations
	return max(1, int((bytes-float64(none))/(float64(many-none)/1024)))
}
