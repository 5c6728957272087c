package engine

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// tensorrtFamily is TensorRT-LLM's trtllm-serve. What it has no flag for goes
// into a file of LLM-API options.
type tensorrtFamily struct{}

func (tensorrtFamily) name() string { return TensorRT }

func (f tensorrtFamily) plan(m *mapping) error {
	f.quant(m)
	f.share(m)
	p := m.parallel
	if p.DP > 1 || p.DCP > 1 {
		return fmt.Errorf("%w: trtllm-serve runs one replica: dp %d and dcp %d have to be 1", ErrInvalid, max(p.DP, 1), max(p.DCP, 1))
	}
	m.degree("tp_size", p.TP, "tp")
	m.degree("pp_size", p.PP, "pp")
	m.degree("cp_size", p.CP, "cp")
	m.degree("ep_size", p.MoEEP, "moe_ep")
	m.degree("cluster_size", p.MoECluster, "moe_cluster")
	if p.MoETP > 1 {
		m.option("moe_tensor_parallel_size", p.MoETP)
	}
	if p.ExpertParallelSet && p.ExpertParallel && p.MoEEP == 0 {
		m.set("ep_size", m.tp(), "parallel_config")
	}
	tp, experts := m.tp(), max(p.MoETP, 1)*max(p.MoEEP, 1)*max(p.MoECluster, 1)
	if p.MoETP > 0 && p.MoEEP > 0 && experts != tp || tp%experts != 0 {
		return fmt.Errorf("%w: moe_tp × moe_ep × moe_cluster is %d and has to be tp, %d", ErrInvalid, experts, tp)
	}
	return m.meaningless(map[string]int{"moe_dense_tp": p.MoEDenseTP}, "TensorRT-LLM cuts dense layers over tp")
}

func (tensorrtFamily) quant(m *mapping) {
	q := m.quant
	quant := map[string]any{}
	switch q.GEMM {
	case "fp8", "int8":
		algorithm := map[string]string{"fp8": "FP8", "int8": "W8A16"}[q.GEMM]
		if method := m.offline(); method != "" {
			m.note("gemm_dtype %s: the checkpoint is quantised by %s already", q.GEMM, method)
		} else {
			quant["quant_algo"] = algorithm
		}
	case "", "auto":
	default:
		m.option("dtype", q.GEMM)
	}
	switch q.KVCache {
	case "fp8", "fp8_e5m2", "fp8_e4m3":
		m.option("kv_cache_config", map[string]any{"dtype": "fp8"})
		if q.KVCache == "fp8_e5m2" {
			m.note("kvcache_dtype fp8_e5m2: TensorRT-LLM keeps fp8 as e4m3")
		}
	case "int8":
		quant["kv_cache_quant_algo"] = "INT8"
	case "int4":
		m.note("kvcache_dtype int4: TensorRT-LLM has no such cache; left at auto")
	case "fp16", "bfloat16":
		m.note("kvcache_dtype %s: TensorRT-LLM keeps the cache in the model's dtype", q.KVCache)
	}
	if len(quant) > 0 {
		m.option("quant_config", quant)
	}
	if q.Attention != "" && q.Attention != "auto" {
		m.note("attention_dtype %s: TensorRT-LLM computes attention in fp8 where weights and KV cache are fp8, and has no setting for it alone", q.Attention)
	}
	if q.MoE != "" && q.MoE != "auto" && (q.MoE != "fp8" || q.GEMM != "fp8") {
		m.note("moe_dtype %s: TensorRT-LLM takes the experts' precision from the checkpoint", q.MoE)
	}
}

// share writes the share of memory beside what else the file says of the cache:
// versions differ in whether its mapping there joins what the command line says.
func (tensorrtFamily) share(m *mapping) {
	const file, flag = "kv_cache_config", "free_gpu_memory_fraction"
	inFile := m.options[file] != nil
	for key := range m.explicit {
		inFile = inFile || strings.HasPrefix(key, spelling(file))
	}
	text, ok := m.given(flag)
	n, err := strconv.ParseFloat(text, 64)
	if inFile && ok && err == nil {
		m.option(file+"."+flag, n)
	}
}

func (tensorrtFamily) world(a arguments) (World, error) {
	d, err := a.degrees("tp_size", "pp_size", "cp_size", "ep_size")
	if err != nil {
		return World{}, err
	}
	tp, pp, cp, ep := d[0], d[1], d[2], d[3]
	if tp%ep != 0 {
		return World{}, fmt.Errorf("%w: tp %d does not divide by ep %d", ErrInvalid, tp, ep)
	}
	return World{TP: tp, PP: pp, DP: 1, CP: cp, Size: tp * pp * cp, WeightShards: tp, ExpertShards: tp, KVShards: tp, TokenShards: cp}, nil
}

func (tensorrtFamily) command(p Plan, o CommandOptions) []string {
	words := o.Program
	switch {
	case len(words) == 0:
		words = []string{"trtllm-serve", "serve"}
	case path.Base(words[len(words)-1]) == "trtllm-serve":
		words = append(words[:len(words):len(words)], "serve")
	}
	words = append(words[:len(words):len(words)], o.ModelPath, "--host", o.Host, "--port", strconv.Itoa(o.Port))
	if file, ok := p.File(); ok {
		at := o.File
		if at == "" {
			at = file.Name
		}
		words = append(words, "--"+file.Flag, at)
	}
	return append(words, p.Flags()...)
}

func (tensorrtFamily) endpoints(*flags) Endpoints {
	return Endpoints{
		Ready:      []Request{{"GET", "/health"}},
		Completion: true,
		Metrics:    "/prometheus/metrics",
		Settings:   []Request{{"GET", "/version"}, {"GET", "/v1/models"}},
	}
}
