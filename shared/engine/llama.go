package engine

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// llamaFamily is llama.cpp's llama-server.
type llamaFamily struct{}

func (llamaFamily) name() string { return LlamaCpp }

func (f llamaFamily) plan(m *mapping) error {
	f.quant(m)
	p := m.parallel
	if p.DP > 1 || p.CP > 1 || p.DCP > 1 {
		return fmt.Errorf("%w: llama-server runs one replica: dp, cp and dcp have to be 1", ErrInvalid)
	}
	if p.TP > 1 && p.PP > 1 {
		return fmt.Errorf("%w: llama-server splits by rows (tp) or by layers (pp), not both", ErrInvalid)
	}
	switch {
	case p.TP > 1:
		m.set("split-mode", "row", "parallel_config")
		m.set("tensor-split", strings.TrimSuffix(strings.Repeat("1,", p.TP), ","), "parallel_config")
	case p.PP > 1:
		m.set("split-mode", "layer", "parallel_config")
		m.set("tensor-split", strings.TrimSuffix(strings.Repeat("1,", p.PP), ","), "parallel_config")
	}
	return m.meaningless(map[string]int{
		"moe_tp": p.MoETP, "moe_ep": p.MoEEP, "moe_cluster": p.MoECluster, "moe_dense_tp": p.MoEDenseTP,
	}, "llama-server has no parallelism of experts")
}

func (llamaFamily) quant(m *mapping) {
	q := m.quant
	if q.GEMM != "" && q.GEMM != "auto" {
		m.note("gemm_dtype %s: llama.cpp takes the precision of the weights from the file", q.GEMM)
	}
	kv := map[string]string{"fp16": "f16", "bfloat16": "bf16", "int8": "q8_0", "int4": "q4_0"}[q.KVCache]
	switch {
	case kv != "":
		m.set("cache-type-k", kv, "quant_config")
		m.set("cache-type-v", kv, "quant_config")
		if strings.HasPrefix(kv, "q") {
			// A quantised V cache needs flash attention.
			m.set("flash-attn", "on", "quant_config")
		}
	case q.KVCache != "" && q.KVCache != "auto":
		m.note("kvcache_dtype %s: llama.cpp has no fp8; int8 is q8_0 and int4 is q4_0 there", q.KVCache)
	}
	if q.Attention != "" && q.Attention != "auto" {
		m.note("attention_dtype %s: llama.cpp has no such setting", q.Attention)
	}
	if q.MoE != "" && q.MoE != "auto" {
		m.note("moe_dtype %s: llama.cpp takes the precision of the experts from the file", q.MoE)
	}
}

// world: a list of proportions names as many devices; otherwise the engine
// uses the one it is given.
func (llamaFamily) world(a arguments) (World, error) {
	n := 1
	if split := a.text("tensor-split"); split != "" {
		n = len(strings.FieldsFunc(split, func(r rune) bool { return r == ',' || r == '/' }))
	}
	w := World{TP: 1, PP: 1, DP: 1, CP: 1, Size: max(n, 1), WeightShards: 1, ExpertShards: 1, KVShards: 1, TokenShards: 1}
	switch a.text("split-mode") {
	case "none":
		w.Size = 1
	case "row", "tensor":
		w.TP = w.Size
	default:
		w.PP = w.Size
	}
	return w, nil
}

func (llamaFamily) command(p Plan, o CommandOptions) []string {
	words := o.Program
	if len(words) == 0 {
		words = []string{"llama-server"}
		if o.Container {
			words = []string{"/app/llama-server"}
		}
	}
	// A hub id is fetched by the server itself; everything else is a file.
	model := "--model"
	if !strings.HasPrefix(o.ModelPath, "/") && !strings.HasSuffix(o.ModelPath, ".gguf") && strings.Count(o.ModelPath, "/") == 1 {
		model = "--hf-repo"
	}
	words = append(words[:len(words):len(words)], model, o.ModelPath, "--host", o.Host, "--port", strconv.Itoa(o.Port))
	if o.ServedName != "" {
		words = append(words, "--alias", o.ServedName)
	}
	if _, given := p.Argument("metrics"); o.Metrics && !given {
		words = append(words, "--metrics")
	}
	return append(words, p.Flags()...)
}

func (llamaFamily) endpoints(*flags) Endpoints {
	return Endpoints{
		// It answers 503 while the model loads.
		Ready:       []Request{{"GET", "/health"}},
		Metrics:     "/metrics",
		MetricsFlag: "metrics",
		Settings:    []Request{{"GET", "/props"}, {"GET", "/v1/models"}},
	}
}

// parts is the end of a GGUF file's name that is one of several.
var parts = regexp.MustCompile(`-\d{5}-of-\d{5}\.gguf$`)

// InParts says whether a GGUF file is a part of a model; the engine finds the
// others beside it.
func InParts(file string) bool { return parts.MatchString(file) }
