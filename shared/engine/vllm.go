package engine

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// vllmFamily is vLLM's OpenAI server.
type vllmFamily struct{}

func (vllmFamily) name() string { return VLLM }

func (f vllmFamily) plan(m *mapping) error {
	f.quant(m)
	m.degree("tensor-parallel-size", m.parallel.TP, "tp")
	m.degree("pipeline-parallel-size", m.parallel.PP, "pp")
	m.degree("data-parallel-size", m.parallel.DP, "dp")
	if err := m.known(map[string]int{
		"decode-context-parallel-size": m.parallel.DCP, "prefill-context-parallel-size": m.parallel.CP,
	}); err != nil {
		return err
	}
	m.degree("decode-context-parallel-size", m.parallel.DCP, "dcp")
	m.degree("prefill-context-parallel-size", m.parallel.CP, "cp")
	if m.parallel.ExpertParallelSet {
		m.set("enable-expert-parallel", m.parallel.ExpertParallel, "parallel_config")
	}
	return m.meaningless(map[string]int{
		"moe_tp": m.parallel.MoETP, "moe_ep": m.parallel.MoEEP, "moe_cluster": m.parallel.MoECluster, "moe_dense_tp": m.parallel.MoEDenseTP,
	}, "vLLM cuts the experts over tp, or over tp × dp with enable_expert_parallel")
}

func (f vllmFamily) quant(m *mapping) {
	switch gemm := m.quant.GEMM; gemm {
	case "":
	case "fp8":
		m.dynamic("fp8")
		m.set("dtype", "auto", "quant_config")
	case "int8":
		if const8 := "int8_per_channel_weight_only"; m.takes("quantization", const8) {
			m.dynamic(const8)
		} else {
			m.note("gemm_dtype int8: vLLM %s quantises no model to int8 while loading; left at auto", m.engine.Version())
		}
		m.set("dtype", "auto", "quant_config")
	default:
		m.set("dtype", gemm, "quant_config")
	}
	if kv := f.kv(m); kv != "" {
		m.set("kv-cache-dtype", kv, "quant_config")
	}
	if m.quant.Attention != "" && m.quant.Attention != "auto" {
		m.note("attention_dtype %s: vLLM has no such setting; its attention follows dtype and the KV cache", m.quant.Attention)
	}
	if moe := m.quant.MoE; moe != "" && moe != "auto" && (moe != "fp8" || m.quant.GEMM != "fp8") {
		m.note("moe_dtype %s: vLLM has no precision of the experts alone", moe)
	}
}

// kv is the value of kv-cache-dtype, "" to leave it out.
func (f vllmFamily) kv(m *mapping) string {
	want := map[string]string{"fp16": "float16", "int8": "int8_per_token_head", "int4": "int4_per_token_head"}[m.quant.KVCache]
	if want == "" {
		want = m.quant.KVCache
	}
	quantization, _ := m.given("quantization")
	if quantization == "" {
		quantization = m.args.text("quantization")
	}
	switch {
	case want == "" || want == "auto":
		return ""
	case want == "fp8_e5m2" && (quantization == "fp8" || m.offline() == "fp8"):
		// Attention.__init__ refuses the pair.
		m.note("kvcache_dtype fp8_e5m2: vLLM refuses it beside fp8 weights; fp8 (e4m3) stands in")
		return "fp8"
	case !m.takes("kv-cache-dtype", want):
		m.note("kvcache_dtype %s: vLLM %s cannot keep it so; left at auto", m.quant.KVCache, m.engine.Version())
		return ""
	}
	return want
}

// world: data parallelism takes devices of its own, as prefill context
// parallelism does; decode context parallelism reuses those of tp
// (ParallelConfig.world_size and its checks).
func (vllmFamily) world(a arguments) (World, error) {
	d, err := a.degrees("tensor-parallel-size", "pipeline-parallel-size", "data-parallel-size", "prefill-context-parallel-size", "decode-context-parallel-size")
	if err != nil {
		return World{}, err
	}
	tp, pp, dp, cp, dcp := d[0], d[1], d[2], d[3], d[4]
	if cp == 1 && tp%dcp != 0 {
		return World{}, fmt.Errorf("%w: tp %d does not divide by dcp %d", ErrInvalid, tp, dcp)
	}
	if cp > 1 && dcp != 1 && dcp != cp && dcp != tp*cp {
		return World{}, fmt.Errorf("%w: beside cp %d, dcp has to be 1, %d or %d", ErrInvalid, cp, cp, tp*cp)
	}
	w := World{TP: tp, PP: pp, DP: dp, CP: cp, Size: tp * pp * dp * cp, WeightShards: tp, ExpertShards: tp * cp, KVShards: tp, TokenShards: max(dcp, 1)}
	if a.text("enable-expert-parallel") == "true" {
		w.ExpertShards = tp * dp * cp
	}
	return w, nil
}

func (vllmFamily) command(p Plan, o CommandOptions) []string {
	words := o.Program
	switch {
	case len(words) == 0:
		words = []string{"python3", "-m", "vllm.entrypoints.openai.api_server", "--model", o.ModelPath}
	case interpreter(words):
		words = append(words[:len(words):len(words)], "-m", "vllm.entrypoints.openai.api_server", "--model", o.ModelPath)
	case path.Base(words[len(words)-1]) == "vllm":
		words = append(words[:len(words):len(words)], "serve", o.ModelPath)
	case words[len(words)-1] == "serve":
		words = append(words[:len(words):len(words)], o.ModelPath)
	default:
		words = append(words[:len(words):len(words)], "--model", o.ModelPath)
	}
	words = append(words, "--host", o.Host, "--port", strconv.Itoa(o.Port))
	if o.ServedName != "" {
		words = append(words, "--served-model-name", o.ServedName)
	}
	return append(words, p.Flags()...)
}

func (vllmFamily) endpoints(*flags) Endpoints {
	return Endpoints{
		Ready:      []Request{{"GET", "/health"}},
		Completion: true,
		Flush:      &Request{"POST", "/reset_prefix_cache"},
		FlushEnv:   map[string]string{"VLLM_SERVER_DEV_MODE": "1"},
		Metrics:    "/metrics",
		Settings:   []Request{{"GET", "/version"}, {"GET", "/v1/models"}},
	}
}

// interpreter says whether a program is a Python interpreter without a script.
func interpreter(program []string) bool {
	return strings.HasPrefix(path.Base(program[len(program)-1]), "python")
}
