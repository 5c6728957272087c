package engine

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

func choice(name string, values ...any) space.Parameter {
	return space.Parameter{Name: name, Type: space.Choice, Values: values}
}

func (f Finding) line() string {
	var b strings.Builder
	if f.Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(f.Path + ": " + f.Message)
	if f.Expected != "" {
		b.WriteString("; expected " + f.Expected)
	}
	if f.Nearest != "" {
		b.WriteString("; did you mean " + f.Nearest)
	}
	return b.String()
}

func TestCheck(t *testing.T) {
	for _, row := range []struct {
		engine, version string
		p               space.Parameter
		want            []string
	}{
		{SGLang, "", choice("tp-size", int64(1), int64(2)), nil},
		{SGLang, "", choice("mem_fraction_static", 0.7, 0.8), nil},
		{SGLang, "", choice("max-num-seqs", int64(64)), []string{"warning: parameters.max-num-seqs: is no argument of sglang 0.5.23; expected an argument of sglang; this one is vllm's; did you mean max-running-requests"}},
		{SGLang, "", choice("mem-fraction-statc", 0.8), []string{"warning: parameters.mem-fraction-statc: is no argument of sglang 0.5.23; did you mean mem-fraction-static"}},
		{SGLang, "0.5.2", choice("attn-dp-size", int64(2)), []string{"warning: parameters.attn-dp-size: is no argument of sglang 0.5.2; expected an argument of 0.5.2; this one came later, 0.5.23 has it"}},
		{SGLang, "", choice("cuda-graph-max-bs", int64(128)), []string{"warning: parameters.cuda-graph-max-bs: is no argument of sglang 0.5.23; expected an argument of 0.5.23; this one was given up after 0.5.18; did you mean cuda-graph-max-bs-decode"}},
		{SGLang, "", choice("enable-dp-attention", true), []string{"warning: parameters.enable-dp-attention: is deprecated in sglang 0.5.23; expected use --attn-dp-size <dp-size>"}},
		{SGLang, "", choice("enable-chunked-prefill", true), []string{"warning: parameters.enable-chunked-prefill: is no argument of sglang 0.5.23; expected an argument of sglang; this one is vllm's; did you mean chunked-prefill-size"}},
		{VLLM, "", choice("quantization", task.Omitted, "fp8"), nil},
		{VLLM, "0.10.0", choice("quantization", "int8"), []string{`parameters.quantization: has the value "int8"; expected one of aqlm, awq, deepspeedfp, tpu_int8, fp8, ptpc_fp8, fbgemm_fp8, modelopt, modelopt_fp4, marlin, bitblas, gguf, gptq_marlin_24, gptq_marlin, gptq_bitblas, awq_marlin, gptq, compressed-tensors, bitsandbytes, qqq, hqq, experts_int8, neuron_quant, ipex, quark, moe_wna16, torchao, auto-round, rtn, inc`}},
		{VLLM, "", choice("dtype", "fp8"), []string{`parameters.dtype: has the value "fp8"; expected one of auto, half, float16, bfloat16, float, float32`}},
		{VLLM, "", choice("block-size", int64(16), int64(32)), nil},
		{VLLM, "0.10.0", choice("block-size", int64(17)), []string{`parameters.block-size: has the value "17"; expected one of 1, 8, 16, 32, 64, 128`}},
		{VLLM, "", choice("max-model-len", "8k", "auto", int64(4096)), nil},
		{VLLM, "", choice("max-num-seqs", "many", 1.5), []string{`parameters.max-num-seqs[0]: has the value "many"; expected a number`, `parameters.max-num-seqs[1]: has the value "1.5"; expected a whole number`}},
		{VLLM, "", choice("gpu-memory-utilization", 1.2), []string{`parameters.gpu-memory-utilization: has the value "1.2"; expected 1 or less`}},
		{VLLM, "", space.Parameter{Name: "gpu-memory-utilization", Type: space.Continuous, Low: 0.8, High: 1.5}, []string{`parameters.gpu-memory-utilization: has the value "1.5"; expected 1 or less`}},
		{VLLM, "", choice("enforce-eager", "yes"), []string{`parameters.enforce-eager: has the value "yes"; expected true or false: the flag stands alone`}},
		{VLLM, "", choice("max-num-batched-tokens", true), []string{`parameters.max-num-batched-tokens: has the value "true"; expected a number`}},
		{VLLM, "", choice("compilation-config", int64(3), `{"mode": 3}`, `{"mode"`), []string{`parameters.compilation-config[2]: has the value "{\"mode\""; expected JSON`}},
		{VLLM, "", choice("port", int64(8000)), []string{"parameters.port: --port is set by Fleetune"}},
		{VLLM, "", choice("no-enable-prefix-caching", true), []string{"warning: parameters.no-enable-prefix-caching: is the negative form of --enable-prefix-caching; expected enable-prefix-caching with true and false"}},
		{VLLM, "0.18.1", choice("swap-space", int64(4)), []string{"warning: parameters.swap-space: is no argument of vllm 0.18.0; expected an argument of 0.18.0; this one was given up after 0.16.0"}},
		{VLLM, "0.16.0", choice("swap-space", int64(4)), nil},
		{LlamaCpp, "", choice("flash-attn", true, "auto"), nil},
		{LlamaCpp, "", choice("cache-type-k", "q8"), []string{`parameters.cache-type-k: has the value "q8"; expected one of f32, f16, bf16, q8_0, q4_0, q4_1, iq4_nl, q5_0, q5_1`}},
		{LlamaCpp, "", choice("threads", int64(1)), nil},
		{TensorRT, "", choice("tp_size", int64(2)), nil},
		{VLLM, "", choice("quant.preset", "default", "dynamic_fp8"), []string{`parameters.quant.preset: has the value "dynamic_fp8"; expected one of default, kv-cache-fp8, dynamic-fp8, bf16-stable, aggressive-moe; did you mean dynamic-fp8`}},
		{VLLM, "", choice("parallel.tp", int64(1), int64(3)), []string{`warning: parameters.parallel.tp: has the value "3"; expected usually 1, 2, 4, 8, 16: attention heads have to divide by it`}},
		{SGLang, "", choice("parallel.tp", "x"), []string{`parameters.parallel.tp: has the value "x"; expected one of 1, 2, 4, 8, 16`}},
		{VLLM, "", choice("parallel.moe_tp", int64(2)), []string{"warning: parameters.parallel.moe_tp: has no effect on vllm 0.33.0"}},
		{TensorRT, "", choice("parallel.preset", "balanced"), []string{`parameters.parallel.preset: has the value "balanced"; expected one of single-gpu, large-model-tp, large-model-tp-pp, moe-optimized, long-context`}},
		{VLLM, "", choice("env.VLLM_USE_V1", int64(1)), nil},
		{VLLM, "", choice("model", "a/b"), nil},
	} {
		var lines []string
		for _, f := range lookup(t, row.engine, row.version).Check(plain(), space.Space{Parameters: []space.Parameter{row.p}}) {
			lines = append(lines, f.line())
		}
		require.Equal(t, row.want, lines, "%s %s", row.engine, row.p.Name)
	}

	found := lookup(t, VLLM, "").Check(plain(), space.Space{Parameters: []space.Parameter{choice("tensor-parallel-size", int64(1)), choice("tp", int64(1))}})
	require.Len(t, found, 1)
	require.Equal(t, "parameters.tp: is the same argument as tensor-parallel-size; expected one of the two", found[0].line())
}

// The tables that the program carries can all be read, and what they call
// commonly tuned is there.
func TestTables(t *testing.T) {
	for _, e := range everyEngine(t) {
		tuned, seen := 0, map[string]string{}
		for _, f := range e.Flags() {
			require.Contains(t, []FlagType{Switch, Toggle, Integer, Number, Text, JSON, List}, f.Type, f.Name)
			if f.Tuned {
				tuned++
			}
			for _, name := range append([]string{f.Name}, f.Aliases...) {
				require.Empty(t, seen[spelling(name)], "%s %s: %s", e.Name(), e.Version(), name)
				seen[spelling(name)] = f.Name
			}
		}
		require.GreaterOrEqual(t, tuned, 10, "%s %s", e.Name(), e.Version())
	}
	for old, now := range renamed() {
		_, sglang := lookup(t, SGLang, "").Flag(now)
		_, vllm := lookup(t, VLLM, "").Flag(now)
		require.True(t, sglang || vllm, "%s became %s", old, now)
	}
	order, rows := counterparts()
	for i, name := range order {
		for _, row := range rows {
			_, ok := lookup(t, name, "").Flag(row[i])
			require.True(t, ok || row[i] == "", "%s has no %s", name, row[i])
		}
	}
	f, ok := lookup(t, VLLM, "").Flag("tp")
	require.True(t, ok)
	require.Equal(t, "tensor-parallel-size", f.Name)
	_, ok = lookup(t, VLLM, "").Flag("tp-size")
	require.False(t, ok)
}

// The presets that tools hand around raise no objection, save where an argument
// came with a later version.
func TestUsualPresets(t *testing.T) {
	omitted := task.Omitted
	for _, row := range []struct {
		engine, version string
		parameters      []space.Parameter
	}{
		{VLLM, "0.10.0", []space.Parameter{
			choice("tensor-parallel-size", int64(1), int64(2), int64(4)), choice("pipeline-parallel-size", int64(1)), choice("data-parallel-size", int64(1)),
			choice("gpu-memory-utilization", .85, .9, .95), choice("kv-cache-dtype", "auto", "fp8_e5m2"), choice("block-size", int64(16), int64(32)),
			choice("swap-space", int64(4)), choice("cpu-offload-gb", int64(0)), choice("max-num-batched-tokens", int64(2048), int64(8192)), choice("max-num-seqs", int64(64)),
			choice("enable-chunked-prefill", true), choice("max-num-partial-prefills", int64(1)), choice("scheduling-policy", "fcfs"),
			choice("enable-prefix-caching", true, false), choice("enforce-eager", false), choice("disable-sliding-window", false), choice("quantization", omitted), choice("dtype", "auto"),
		}},
		{SGLang, "0.5.2", []space.Parameter{
			choice("tp-size", int64(1), int64(2)), choice("dp-size", int64(1)), choice("ep-size", int64(1)), choice("mem-fraction-static", .85, .92), choice("max-prefill-tokens", int64(8192)),
			choice("max-running-requests", int64(64)), choice("cuda-graph-max-bs", int64(128)), choice("page-size", int64(1)), choice("schedule-conservativeness", .8, int64(1)),
			choice("schedule-policy", "fcfs", "lpm"), choice("chunked-prefill-size", int64(2048)), choice("disable-radix-cache", false),
			choice("attention-backend", "flashinfer", "triton"), choice("sampling-backend", "flashinfer"), choice("disable-cuda-graph", false), choice("enable-torch-compile", false),
			choice("enable-mixed-chunk", true, false), choice("enable-dp-attention", false), choice("triton-attention-num-kv-splits", int64(8)), choice("moe-runner-backend", "auto"),
			choice("moe-a2a-backend", "none"), choice("disable-shared-experts-fusion", false), choice("num-continuous-decode-steps", int64(1)), choice("stream-interval", int64(1)),
			choice("kv-cache-dtype", "auto", "fp8_e5m2"), choice("quantization", omitted),
		}},
		{SGLang, "", []space.Parameter{choice("radix-eviction-policy", "lru"), choice("enable-fp32-lm-head", false)}},
	} {
		for _, f := range lookup(t, row.engine, row.version).Check(plain(), space.Space{Parameters: row.parameters}) {
			t.Errorf("%s %s: %s", row.engine, row.version, f.line())
		}
	}
}
