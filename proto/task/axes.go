package task

import (
	"fmt"
	"slices"

	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task/internal/document"
	"github.com/fleetune/fleetune/proto/task/internal/form"
)

// axes adds to the space of a serving task what is no argument of the engine:
// models before the arguments, for they are the slowest to change; precision,
// parallelism and environment behind them.
func (d *decoder) axes(t *Task) {
	var behind []space.Parameter
	add := func(at, name string, values form.Values) {
		if values == nil || !d.clean(at) {
			return
		}
		p := space.Parameter{Name: name, Type: space.Choice}
		for _, v := range values {
			p.Values = append(p.Values, v.V)
		}
		if len(p.Values) == 0 {
			d.warn(at, "has no values and "+form.LeftOut, "")
			return
		}
		d.index.Alias("parameters."+name, at)
		behind = append(behind, p)
	}
	if q := d.form.QuantConfig; q != nil {
		add("quant_config.presets", PrefixQuant+ParameterPreset, d.presets("quant_config", q.Presets, q.Preset))
		add("quant_config.gemm_dtype", PrefixQuant+"gemm_dtype", q.GEMM)
		add("quant_config.kvcache_dtype", PrefixQuant+"kvcache_dtype", q.KVCache)
		add("quant_config.attention_dtype", PrefixQuant+"attention_dtype", q.Attention)
		add("quant_config.moe_dtype", PrefixQuant+"moe_dtype", q.MoE)
	}
	if p := d.form.ParallelConfig; p != nil {
		add("parallel_config.presets", PrefixParallel+ParameterPreset, d.presets("parallel_config", p.Presets, p.Preset))
		for _, f := range []struct {
			name   string
			values form.Values
		}{
			{"tp", p.TP}, {"pp", p.PP}, {"dp", p.DP}, {"cp", p.CP}, {"dcp", p.DCP}, {"enable_expert_parallel", p.ExpertParallel},
			{"moe_tp", p.MoETP}, {"moe_ep", p.MoEEP}, {"moe_cluster", p.MoECluster}, {"moe_dense_tp", p.MoEDenseTP},
		} {
			add("parallel_config."+f.name, PrefixParallel+f.name, f.values)
		}
	}
	for _, p := range d.form.EnvParameters {
		at := "env_parameters." + p.Name
		if reason := form.CheckVariable(p.Name); reason != "" && d.clean(at) {
			d.Fail(at, fmt.Sprintf("is %q, %s", p.Name, reason), form.VariableExpected)
		}
		p.Name = PrefixEnv + p.Name
		d.index.Alias("parameters."+p.Name, at)
		behind = append(behind, p)
	}
	if len(t.Serving.Models) > 1 && d.clean("model") {
		p := space.Parameter{Name: ParameterModel, Type: space.Choice}
		for _, m := range t.Serving.Models {
			p.Values = append(p.Values, m.ID)
		}
		d.index.Alias("parameters."+ParameterModel, "model")
		t.Space.Parameters = slices.Concat([]space.Parameter{p}, t.Space.Parameters)
	}
	t.Space.Parameters = slices.Concat(t.Space.Parameters, behind)
}

// aliases leads from the parameters that are no arguments to where they stand.
func (d *decoder) aliases() {
	for section, prefix := range map[string]string{"quant_config": PrefixQuant, "parallel_config": PrefixParallel, "env_parameters": PrefixEnv} {
		n := d.root.Get(section)
		if n == nil {
			continue
		}
		for _, e := range n.Entries {
			name := e.Key
			if name == "presets" {
				name = ParameterPreset
			}
			d.index.Alias("parameters."+prefix+name, document.Join(section, e.Key))
		}
	}
	d.index.Alias("parameters."+ParameterModel, "model")
}

// presets joins the plural and the singular form.
func (d *decoder) presets(section string, plural, singular form.Texts) form.Values {
	if plural != nil && singular != nil {
		d.Fail(document.Join(section, "preset"), "stands beside presets", "one of the two")
	}
	var values form.Values
	for _, name := range append(slices.Clone(plural), singular...) {
		values = append(values, form.Value{V: name})
	}
	return values
}
