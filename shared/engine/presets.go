package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// Quant is what quant_config asks for; an empty field is left to the engine.
type Quant struct {
	GEMM      string
	KVCache   string
	Attention string
	MoE       string
}

// Parallel is what parallel_config asks for; 0 is left to the engine.
type Parallel struct {
	TP, PP, DP, CP, DCP               int
	MoETP, MoEEP, MoECluster          int
	MoEDenseTP                        int
	ExpertParallel, ExpertParallelSet bool
}

// QuantFields lists the fields of quant_config with the values they take.
func QuantFields() []Field {
	return []Field{
		{"gemm_dtype", []string{"auto", "float16", "bfloat16", "float32", "fp8", "int8"}},
		{"kvcache_dtype", []string{"auto", "fp16", "bfloat16", "fp8", "fp8_e5m2", "fp8_e4m3", "int8", "int4"}},
		{"attention_dtype", []string{"auto", "float16", "bfloat16", "fp8", "fp8_e5m2", "fp8_e4m3", "fp8_block"}},
		{"moe_dtype", []string{"auto", "float16", "bfloat16", "fp8", "w4afp8", "mxfp4", "int8"}},
	}
}

// A Field of quant_config or parallel_config, with the values it usually takes.
type Field struct {
	Name   string
	Values []string
}

// QuantPresets lists the presets of quant_config in their usual order.
func QuantPresets() []string {
	return []string{"default", "kv-cache-fp8", "dynamic-fp8", "bf16-stable", "aggressive-moe"}
}

func quantPreset(name string) (Quant, bool) {
	q, ok := map[string]Quant{
		"default":        {"auto", "auto", "auto", "auto"},
		"kv-cache-fp8":   {"auto", "fp8_e5m2", "auto", "auto"},
		"dynamic-fp8":    {"fp8", "fp8_e5m2", "fp8", "fp8"},
		"bf16-stable":    {"bfloat16", "fp8_e5m2", "auto", "auto"},
		"aggressive-moe": {"bfloat16", "fp8_e5m2", "fp8", "w4afp8"},
	}[name]
	return q, ok
}

// ParallelPresets lists the presets of parallel_config that the engine has a
// meaning for, in their usual order.
func (e *Engine) ParallelPresets() []string {
	var list []string
	for _, name := range parallelPresets() {
		if _, ok := e.parallelPreset(name); ok {
			list = append(list, name)
		}
	}
	return list
}

func parallelPresets() []string {
	return []string{"single-gpu", "high-throughput", "large-model-tp", "large-model-tp-pp", "moe-optimized", "long-context", "balanced"}
}

func (e *Engine) parallelPreset(name string) (Parallel, bool) {
	all := map[string]map[string]Parallel{
		VLLM: {
			"single-gpu":        {TP: 1, PP: 1, DP: 1},
			"high-throughput":   {DP: 8},
			"large-model-tp":    {TP: 8},
			"large-model-tp-pp": {TP: 8, PP: 2},
			"moe-optimized":     {TP: 2, DP: 8, ExpertParallel: true, ExpertParallelSet: true},
			"long-context":      {TP: 4, DCP: 4},
			"balanced":          {TP: 2, DP: 4},
		},
		SGLang: {
			"single-gpu":        {TP: 1, PP: 1, DP: 1},
			"high-throughput":   {DP: 8},
			"large-model-tp":    {TP: 8},
			"large-model-tp-pp": {TP: 8, PP: 2},
			// moe_dense_tp takes 1 or nothing, so 2 became 1.
			"moe-optimized": {TP: 2, DP: 8, MoEDenseTP: 1},
			"long-context":  {TP: 4, DCP: 4},
			"balanced":      {TP: 2, DP: 4},
		},
		TensorRT: {
			"single-gpu":        {TP: 1, PP: 1},
			"large-model-tp":    {TP: 8},
			"large-model-tp-pp": {TP: 8, PP: 2},
			// moe_tp × moe_ep must be tp, so 8 became 2.
			"moe-optimized": {TP: 4, MoETP: 2, MoEEP: 2},
			"long-context":  {TP: 8, CP: 2},
		},
		LlamaCpp: {
			"single-gpu":     {TP: 1, PP: 1},
			"large-model-tp": {TP: 8},
		},
	}
	p, ok := all[e.Name()][name]
	if p.DCP > 1 && !e.flags.has("decode-context-parallel-size") {
		return Parallel{}, false
	}
	return p, ok
}

// quantOf reads the axes of quant_config: the preset, and the fields beside it
// that override it.
func quantOf(p space.Point) (Quant, error) {
	var q Quant
	if name, ok := axis(p, task.PrefixQuant+task.ParameterPreset); ok {
		if q, ok = quantPreset(name); !ok {
			return q, fmt.Errorf("%w: quant_config has no preset %q, only %s", ErrInvalid, name, strings.Join(QuantPresets(), ", "))
		}
	}
	for i, field := range []*string{&q.GEMM, &q.KVCache, &q.Attention, &q.MoE} {
		f := QuantFields()[i]
		value, ok := axis(p, task.PrefixQuant+f.Name)
		if !ok {
			continue
		}
		if !slices.Contains(f.Values, value) {
			return q, fmt.Errorf("%w: %s is %q, not one of %s", ErrInvalid, f.Name, value, strings.Join(f.Values, ", "))
		}
		*field = value
	}
	return q, nil
}

// ParallelFields lists the fields of parallel_config with the values that the
// engine usually takes; nil is any whole number from 1.
func (e *Engine) ParallelFields() []Field {
	upTo := func(n int) []string {
		var list []string
		for i := 1; i <= n; i *= 2 {
			list = append(list, fmt.Sprint(i))
		}
		return list
	}
	fields := []Field{{"tp", upTo(16)}, {"pp", upTo(8)}}
	switch e.Name() {
	case VLLM:
		fields = append(fields, Field{"dp", upTo(16)}, Field{"dcp", upTo(8)}, Field{"cp", upTo(8)}, Field{"enable_expert_parallel", []string{"true", "false"}})
	case SGLang:
		fields[1].Values = upTo(4)
		fields = append(fields, Field{"dp", upTo(16)}, Field{"dcp", upTo(8)}, Field{"cp", upTo(8)}, Field{"moe_ep", upTo(16)}, Field{"moe_dense_tp", upTo(8)})
	case TensorRT:
		fields[1].Values = upTo(4)
		fields = append(fields, Field{"cp", upTo(8)}, Field{"moe_tp", upTo(8)}, Field{"moe_ep", upTo(16)}, Field{"moe_cluster", upTo(4)})
	}
	return fields
}

func parallelOf(e *Engine, p space.Point) (Parallel, error) {
	var q Parallel
	if name, ok := axis(p, task.PrefixParallel+task.ParameterPreset); ok {
		if q, ok = e.parallelPreset(name); !ok {
			return q, fmt.Errorf("%w: %s %s has no preset %q of parallel_config, only %s", ErrInvalid, e.Name(), e.Version(), name, strings.Join(e.ParallelPresets(), ", "))
		}
	}
	for name, field := range map[string]*int{
		"tp": &q.TP, "pp": &q.PP, "dp": &q.DP, "cp": &q.CP, "dcp": &q.DCP,
		"moe_tp": &q.MoETP, "moe_ep": &q.MoEEP, "moe_cluster": &q.MoECluster, "moe_dense_tp": &q.MoEDenseTP,
	} {
		value, ok := axis(p, task.PrefixParallel+name)
		if !ok {
			continue
		}
		var n int
		if _, err := fmt.Sscanf(value, "%d", &n); err != nil || n < 1 || fmt.Sprint(n) != value {
			return q, fmt.Errorf("%w: parallel_config.%s is %q, not a whole number from 1", ErrInvalid, name, value)
		}
		*field = n
	}
	if value, ok := axis(p, task.PrefixParallel+"enable_expert_parallel"); ok {
		on, isBool := truth(value)
		if !isBool {
			return q, fmt.Errorf("%w: parallel_config.enable_expert_parallel is %q, not true or false", ErrInvalid, value)
		}
		q.ExpertParallel, q.ExpertParallelSet = on, true
	}
	return q, nil
}

// axis returns the value of an axis that the point does not leave to the
// engine.
func axis(p space.Point, name string) (string, bool) {
	value, ok := p[name]
	if !ok || value == nil || value == task.Omitted {
		return "", false
	}
	return word(value), true
}
