package engine

import (
	"fmt"
	"path"
	"strconv"
)

// sglangFamily is SGLang's server.
type sglangFamily struct{}

func (sglangFamily) name() string { return SGLang }

func (f sglangFamily) plan(m *mapping) error {
	f.quant(m)
	p := m.parallel
	if err := m.known(map[string]int{"dcp-size": p.DCP, "attn-cp-size": p.CP}); err != nil {
		return err
	}
	m.degree("tp-size", p.TP, "tp")
	m.degree("pp-size", p.PP, "pp")
	m.degree("dp-size", p.DP, "dp")
	m.degree("dcp-size", p.DCP, "dcp")
	m.degree("attn-cp-size", p.CP, "cp")
	m.degree("ep-size", p.MoEEP, "moe_ep")
	if p.MoEDenseTP > 0 {
		m.set("moe-dense-tp-size", p.MoEDenseTP, "parallel_config")
	}
	if p.ExpertParallelSet {
		switch {
		case p.ExpertParallel && p.MoEEP == 0:
			m.set("ep-size", m.tp(), "parallel_config")
		case !p.ExpertParallel && p.MoEEP > 1:
			return fmt.Errorf("%w: moe_ep %d beside enable_expert_parallel: false", ErrInvalid, p.MoEEP)
		}
	}
	return m.meaningless(map[string]int{"moe_tp": p.MoETP, "moe_cluster": p.MoECluster}, "SGLang cuts the experts over tp, or over moe_ep")
}

func (f sglangFamily) quant(m *mapping) {
	q := m.quant
	moe := q.MoE == "w4afp8" || q.MoE == "mxfp4"
	switch {
	case moe: // one method for the whole model: it wins over gemm
		m.dynamic(q.MoE)
		m.set("dtype", "auto", "quant_config")
		m.set("moe-runner-backend", "flashinfer_mxfp4", "quant_config")
		if q.GEMM != "" && q.GEMM != "auto" {
			m.note("gemm_dtype %s: moe_dtype %s sets the method of the whole model", q.GEMM, q.MoE)
		}
	case q.GEMM == "fp8":
		m.dynamic("fp8")
		m.set("dtype", "auto", "quant_config")
	case q.GEMM == "int8":
		m.note("gemm_dtype int8: SGLang takes it from a checkpoint that is int8 already; left at auto")
		m.set("dtype", "auto", "quant_config")
	case q.GEMM != "":
		m.set("dtype", q.GEMM, "quant_config")
	}
	f.kv(m)
	switch q.Attention {
	case "", "auto":
	case "fp8", "fp8_e5m2", "fp8_e4m3":
		m.set("attention-backend", "flashinfer", "quant_config")
	default:
		m.note("attention_dtype %s: SGLang has no such setting", q.Attention)
	}
	switch q.MoE {
	case "", "auto", "w4afp8", "mxfp4":
	case "fp8":
		if m.quantization() == "" && m.offline() == "" {
			m.set("moe-runner-backend", "flashinfer_cutlass", "quant_config")
		}
	default:
		m.note("moe_dtype %s: SGLang has no precision of the experts alone", q.MoE)
	}
}

func (f sglangFamily) kv(m *mapping) {
	want := m.quant.KVCache
	if want == "fp8" {
		want = "fp8_e5m2"
	}
	switch {
	case want == "" || want == "auto":
	case m.takes("kv-cache-dtype", want):
		m.set("kv-cache-dtype", want, "quant_config")
	default:
		m.note("kvcache_dtype %s: SGLang %s cannot keep it so; left at auto", want, m.engine.Version())
	}
}

// world: dp takes devices of its own, unless it is attention data parallelism,
// which divides those of tp, as both kinds of context parallelism do.
func (sglangFamily) world(a arguments) (World, error) {
	d, err := a.degrees("tp-size", "pp-size", "dp-size", "attn-dp-size", "attn-cp-size", "dcp-size", "ep-size", "moe-dense-tp-size")
	if err != nil {
		return World{}, err
	}
	tp, pp, dp, attention, cp, dcp, ep, dense := d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]
	if a.text("enable-dp-attention") == "true" && attention == 1 {
		attention, dp = dp, 1
	}
	switch {
	case attention > 1 && dp > 1:
		return World{}, fmt.Errorf("%w: dp %d beside attention data parallelism %d", ErrInvalid, dp, attention)
	case tp%(attention*cp) != 0:
		return World{}, fmt.Errorf("%w: tp %d does not divide by the %d parts of attention", ErrInvalid, tp, attention*cp)
	case (tp/attention/cp)%dcp != 0:
		return World{}, fmt.Errorf("%w: %d attention ranks do not divide by dcp %d", ErrInvalid, tp/attention/cp, dcp)
	case tp%ep != 0:
		return World{}, fmt.Errorf("%w: tp %d does not divide by ep %d", ErrInvalid, tp, ep)
	case dense != 1 && (dense != tp || !a.flags.has("attn-dp-size")):
		return World{}, fmt.Errorf("%w: moe_dense_tp is %d, and SGLang takes 1 or nothing", ErrInvalid, dense)
	}
	return World{TP: tp, PP: pp, DP: dp * attention, CP: cp, Size: tp * pp * dp, WeightShards: tp / attention / cp, ExpertShards: tp,
		KVShards: tp / attention / cp, TokenShards: max(dcp, 1)}, nil
}

func (sglangFamily) command(p Plan, o CommandOptions) []string {
	words := o.Program
	switch {
	case len(words) == 0:
		words = []string{"python3", "-m", "sglang.launch_server"}
	case interpreter(words):
		words = append(words[:len(words):len(words)], "-m", "sglang.launch_server")
	case path.Base(words[len(words)-1]) == "sglang":
		words = append(words[:len(words):len(words)], "serve")
	}
	words = append(words[:len(words):len(words)], "--model-path", o.ModelPath, "--host", o.Host, "--port", strconv.Itoa(o.Port))
	if o.ServedName != "" {
		words = append(words, "--served-model-name", o.ServedName)
	}
	if _, given := p.Argument("enable-metrics"); o.Metrics && !given {
		words = append(words, "--enable-metrics")
	}
	return append(words, p.Flags()...)
}

func (sglangFamily) endpoints(f *flags) Endpoints {
	info := Request{"GET", "/get_server_info"}
	if f.has("attn-dp-size") {
		info.Path = "/server_info"
	}
	return Endpoints{
		Ready:       []Request{{"GET", "/health_generate"}},
		Flush:       &Request{"POST", "/flush_cache"},
		Metrics:     "/metrics",
		MetricsFlag: "enable-metrics",
		Settings:    []Request{info, {"GET", "/v1/models"}},
	}
}
