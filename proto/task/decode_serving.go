package task

import (
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task/internal/document"
	"github.com/fleetune/fleetune/proto/task/internal/form"
)

// What a serving task takes where the file does not say.
const (
	servingTimeout   = Duration(1800 * time.Second)
	servingRepeats   = 1
	defaultObjective = "latency"
)

// engines maps the start of base_runtime to the engine, the longer first.
var engines = []struct{ prefix, engine string }{
	{"tensorrt-llm", "tensorrt-llm"}, {"tensorrt_llm", "tensorrt-llm"}, {"trtllm", "tensorrt-llm"}, {"trt-llm", "tensorrt-llm"},
	{"llama.cpp", "llama.cpp"}, {"llama-cpp", "llama.cpp"}, {"llamacpp", "llama.cpp"}, {"llama-server", "llama.cpp"},
	{"sglang", "sglang"}, {"vllm", "vllm"},
}

// objectiveMetrics maps the short names of objectives to metrics.
var objectiveMetrics = map[string]string{
	"latency": "mean_e2e_latency", "throughput": "mean_total_throughput_per_gpu", "ttft": "mean_ttft", "tpot": "mean_tpot",
	"goodput": "goodput_per_gpu", "cost": "cost_per_million_tokens", "energy": "energy_per_token",
}

// adapt rewrites what the file of a serving task may hold and others may not,
// before it is bound: names that other tools allow, and null for the engine's
// own choice.
func (d *decoder) adapt() {
	if d.root.Get("base_runtime") == nil {
		return
	}
	if name := d.root.Get("task_name"); name != nil && name.Kind == document.Text {
		if plain := plainName(name.Source); plain != name.Source && taskName.MatchString(plain) {
			d.warn("task_name", fmt.Sprintf("is the text %q and becomes %q", document.Clip(name.Source), plain), "lower-case letters, digits and dashes")
			name.Source = plain
		}
	}
	for _, key := range []string{"parameters", "env_parameters", "quant_config", "parallel_config"} {
		section := d.root.Get(key)
		if section == nil {
			continue
		}
		for i := range section.Entries {
			e := &section.Entries[i]
			if key == "parameters" {
				e.Key = strings.TrimLeft(e.Key, "-")
			}
			eachValue(e.Value, omitNull)
			eachValue(e.Value, asJSON)
		}
	}
}

// eachValue visits the values of a parameter, whatever its form.
func eachValue(n *document.Node, visit func(*document.Node)) {
	switch n.Kind {
	case document.List:
		for _, item := range n.Items {
			visit(item)
		}
	case document.Map:
		for _, key := range []string{"values", "choices"} {
			if list := n.Get(key); list != nil && list.Kind == document.List {
				eachValue(list, visit)
			}
		}
	default:
		visit(n)
	}
}

// omitNull gives null the text that stands for the engine's own choice.
func omitNull(n *document.Node) {
	if n.Kind == document.Null {
		n.Kind, n.Source = document.Text, Omitted
	}
}

// asJSON makes a mapping the JSON that an engine reads.
func asJSON(n *document.Node) {
	if n.Kind != document.Map {
		return
	}
	if text, err := n.MarshalJSON(); err == nil { // else the binder says what is wrong
		n.Kind, n.Source, n.Entries = document.Text, string(text), nil
	}
}

var notPlain = regexp.MustCompile(`[^a-z0-9]+`)

// plainName turns a name that other tools allow into one of ours.
func plainName(name string) string {
	name = strings.Trim(notPlain.ReplaceAllString(strings.ToLower(name), "-"), "-")
	if len(name) > 63 {
		name = strings.TrimRight(name[:63], "-")
	}
	return name
}

func (d *decoder) serving(t *Task) {
	f := &d.form
	s := &Serving{
		Runtime: f.BaseRuntime, Version: f.EngineVersion, Launcher: f.DeploymentMode, Image: f.Image, ImageTag: f.RuntimeImageTag,
		Scoring: Scoring(f.Optimization.Scoring), Finalists: int(f.Optimization.Finalists),
		LoadTimeout: Duration(f.Optimization.LoadTimeout), BenchmarkTimeout: Duration(f.Optimization.BenchmarkTimeout),
		Thresholds: Thresholds{Improve: 1.05, Promote: 1.1},
	}
	t.Serving = s
	for _, word := range f.Program {
		s.Program = append(s.Program, string(word))
	}
	d.engine(s)
	d.models(s)
	d.benchmark(s)
	d.slo(s)
	d.target(t)
	if f.Env != nil {
		s.Env = d.environment("env", f.Env)
	}
	if f.GPUType != "" {
		if t.Resources.Accelerator != "" && t.Resources.Accelerator != "any" && t.Resources.Accelerator != f.GPUType {
			d.Fail("gpu_type", "stands beside resources.accelerator", "one of the two")
		}
		t.Resources.Accelerator = f.GPUType
	}
}

func (d *decoder) engine(s *Serving) {
	if !d.clean("base_runtime") {
		return
	}
	word := strings.ToLower(s.Runtime)
	for _, e := range engines {
		if strings.HasPrefix(word, e.prefix) {
			s.Engine = e.engine
			return
		}
	}
	names := []string{"vllm", "sglang", "tensorrt-llm", "llama.cpp"}
	d.nearest("base_runtime", fmt.Sprintf("is the text %q, which starts with no engine", document.Clip(s.Runtime)),
		"a word that starts with "+strings.Join(names, ", "), closest(word, names))
}

func (d *decoder) models(s *Serving) {
	if !d.index.Has("model") {
		if s.Launcher == "endpoint" || d.form.Endpoint != nil {
			s.Models = []Model{{}} // the server says what it serves
			return
		}
		d.Fail("model", "is missing", "what to serve, as in model: {id_or_path: meta-llama/Llama-3.2-1B-Instruct}")
		return
	}
	seen := map[string]bool{}
	for _, f := range d.form.Model {
		if !d.clean(f.Path) {
			continue
		}
		m := Model{ID: f.IDOrPath, Revision: f.Revision, Namespace: f.Namespace, TokenSecret: f.HFToken, QuantMethod: strings.ToLower(f.Quantization)}
		if m.ID == "" {
			m.ID = f.Name
		}
		if m.QuantMethod == "" && f.QuantizationConfig != nil {
			m.QuantMethod = strings.ToLower(f.QuantizationConfig.QuantMethod)
		}
		m.Config = string(f.Config)
		switch {
		case m.ID == "":
			d.Fail(f.Path+".id_or_path", "is missing", "a hub id (org/name), a folder under the model root, or an absolute path")
		case strings.ContainsAny(m.ID, "\x00\n\r") || strings.HasPrefix(m.ID, "-") || slices.Contains(strings.Split(m.ID, "/"), ".."):
			d.Fail(f.Path+".id_or_path", fmt.Sprintf("is the text %q", document.Clip(m.ID)), "a hub id (org/name), a folder under the model root, or an absolute path")
		case seen[m.ID]:
			d.Fail(f.Path, fmt.Sprintf("names %q a second time", m.ID), "every model once")
		}
		seen[m.ID] = true
		d.secret(f.Path+".hf_token", m.TokenSecret)
		s.Models = append(s.Models, m)
	}
}

// secret refuses a text that is no secret's name, and one that is a secret.
func (d *decoder) secret(at, name string) {
	const expected = "the name of a secret that the worker knows, never the secret itself"
	switch {
	case name == "":
	case strings.HasPrefix(name, "hf_") || strings.HasPrefix(name, "sk-") || len(name) > 128:
		d.Fail(at, "looks like the secret itself, which would be stored and shown", expected)
	case !secretName.MatchString(name):
		d.Fail(at, "is no name of a secret", expected)
	}
}

// target reads where and how the engine runs.
func (d *decoder) target(t *Task) {
	f, s := &d.form, t.Serving
	if e := f.Endpoint; e != nil {
		if d.index.Has("deployment_mode") && s.Launcher != "endpoint" {
			d.Fail("deployment_mode", fmt.Sprintf("is %q beside endpoint", s.Launcher), `"endpoint", or no endpoint`)
		}
		s.Launcher, s.Endpoint = "endpoint", &Endpoint{URL: e.URL, KeySecret: e.KeySecret}
		if u, err := url.Parse(e.URL); d.clean("endpoint.url") && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil) {
			d.Fail("endpoint.url", "is no address of a server", "as in http://127.0.0.1:8000, without a password")
		}
		d.secret("endpoint.key_secret", e.KeySecret)
	} else if s.Launcher == "endpoint" {
		d.Fail("endpoint", "is missing beside deployment_mode: endpoint", "the server, as in endpoint: {url: http://127.0.0.1:8000}")
	}
	if s.Launcher == "ome" || s.Launcher == "kubernetes" {
		k := &Kubernetes{OME: s.Launcher == "ome", BaseModel: d.object(f.ClusterBaseModelConfig), Runtime: d.object(f.ClusterServingRuntimeConfig)}
		s.Launcher, s.Kubernetes = "kubernetes", k
		if len(s.Models) > 0 {
			k.Namespace = s.Models[0].Namespace
		}
		if v := f.Storage; v != nil {
			k.Storage = &Storage{Type: v.Type, Name: v.PVCName, Subpath: v.PVCSubpath, MountPath: v.MountPath}
		}
		for key, value := range f.NodeSelector {
			if k.NodeSelector == nil {
				k.NodeSelector = map[string]string{}
			}
			k.NodeSelector[key] = string(value)
		}
	} else {
		for _, key := range []string{"storage", "node_selector", "clusterbasemodel_config", "clusterservingruntime_config"} {
			if d.index.Has(key) {
				d.warn(key, fmt.Sprintf("has no effect with deployment_mode %s", s.Launcher), "deployment_mode: kubernetes or ome")
			}
		}
	}
	if len(s.Program) > 0 && s.Launcher == "endpoint" {
		d.warn("program", "has no effect with deployment_mode endpoint", "a deployment_mode that starts an engine")
	}
	if f.Simulate != nil {
		s.Simulate = &Simulate{GPU: strings.ToLower(f.Simulate.GPU), Speed: f.Simulate.Speed}
		if s.Endpoint != nil {
			d.Fail("simulate", "stands beside endpoint", "one of the two")
		}
	}
}

func (d *decoder) object(o form.Options) json.RawMessage {
	if o == nil {
		return nil
	}
	data, err := json.Marshal(o)
	if err != nil {
		return nil // every member was encoded once already
	}
	return data
}

func (d *decoder) benchmark(s *Serving) {
	f := d.form.Benchmark
	if f == nil {
		f = &form.Benchmark{}
		d.Bind(&document.Node{Kind: document.Map}, "benchmark", f)
	}
	b := Benchmark{Task: f.Task, ModelName: f.ModelName, Tokenizer: f.ModelTokenizer, Scenarios: f.TrafficScenarios,
		CellTime: Duration(f.MaxTimePerIteration * float64(time.Minute)), CellRequests: int(f.MaxRequestsPerIteration), Warmup: int(f.Warmup)}
	for _, n := range f.NumConcurrency {
		b.Concurrency = append(b.Concurrency, int(n))
	}
	if f.DatasetURL != "" {
		b.Dataset = &Dataset{URL: f.DatasetURL, Deduplicate: f.DatasetDeduplicate, TokenSecret: f.DatasetToken}
		d.secret("benchmark.dataset_token", f.DatasetToken)
	}
	d.scenarios(&b)
	d.distinctCells(&b)
	d.extra(&b, f.AdditionalParams)
	s.Benchmark = b
}

// The notation of traffic scenarios; numbers may be decimal.
const number = `\s*[0-9]+(?:\.[0-9]+)?\s*`

var scenarioForms = regexp.MustCompile(`^(?:` + strings.Join([]string{
	`D\(` + number + `,` + number + `\)`,
	`N\(` + number + `,` + number + `\)/\(` + number + `,` + number + `\)`,
	`U\(` + number + `,` + number + `\)(?:/\(` + number + `,` + number + `\))?`,
	`E\(` + number + `\)`, `R\(` + number + `,` + number + `\)`,
	`I\(` + number + `,` + number + `(?:,` + number + `)?\)`, `A\(` + number + `\)`, `dataset`,
}, "|") + `)$`)

func (d *decoder) scenarios(b *Benchmark) {
	for i, scenario := range b.Scenarios {
		at := document.Item("benchmark.traffic_scenarios", i)
		if len(b.Scenarios) == 1 && !d.index.Has(at) {
			at = "benchmark.traffic_scenarios"
		}
		const expected = "D(in,out), N(mean,deviation)/(mean,deviation), U(min,max)/(min,max), E(tokens), R(document,query) or dataset"
		switch {
		case !d.clean(at):
		case strings.HasPrefix(scenario, "I(") || strings.HasPrefix(scenario, "A("):
			d.Fail(at, fmt.Sprintf("is the text %q, and images and speech are not generated", document.Clip(scenario)), expected)
		case !scenarioForms.MatchString(scenario):
			d.Fail(at, fmt.Sprintf("is the text %q, which is no traffic scenario", document.Clip(scenario)), expected)
		case scenario == "dataset" && b.Dataset == nil:
			d.Fail("benchmark.dataset_url", "is missing beside the scenario dataset", "a file, or the URL of one")
		}
	}
	if b.Dataset != nil && !slices.Contains(b.Scenarios, "dataset") {
		d.warn("benchmark.dataset_url", "gives the prompts; the scenarios' input lengths are left aside", "")
	}
}

func (d *decoder) distinctCells(b *Benchmark) {
	if !d.clean("benchmark") {
		return
	}
	seen := map[Cell]bool{}
	for _, c := range b.Cells() {
		if seen[c] {
			d.Fail("benchmark", fmt.Sprintf("has the cell %s twice", c), "every scenario and every concurrency once")
			return
		}
		seen[c] = true
	}
}

// sampling are the members of a request that are numbers; some files hold them
// as texts.
var sampling = []string{"temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty", "seed", "max_tokens"}

func (d *decoder) extra(b *Benchmark, o form.Options) {
	for name, value := range o {
		var text string
		if slices.Contains(sampling, name) && json.Unmarshal(value, &text) == nil {
			if f, err := strconv.ParseFloat(text, 64); err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) {
				d.warn("benchmark.additional_params."+name, fmt.Sprintf("is the text %q and is sent as a number", text), "a number, without quotes")
				value = json.RawMessage(strconv.FormatFloat(f, 'f', -1, 64))
			} else {
				d.Fail("benchmark.additional_params."+name, fmt.Sprintf("is the text %q", document.Clip(text)), "a number")
			}
		}
		if b.Extra == nil {
			b.Extra = map[string]json.RawMessage{}
		}
		b.Extra[name] = value
	}
}

func (d *decoder) slo(s *Serving) {
	f := d.form.SLO
	if f == nil {
		return
	}
	slo := &SLO{Steepness: f.Steepness}
	term := func(at, metric string, t *form.SLOTerm) {
		switch {
		case t == nil || !d.clean(at) && t.Threshold == nil:
		case t.Threshold == nil:
			d.Fail(at+".threshold", "is missing", "the most that is promised, in seconds")
		case *t.Threshold <= 0 || *t.Threshold > 1e6:
			d.Fail(at+".threshold", fmt.Sprintf("is %v", *t.Threshold), "seconds, above 0")
		default:
			slo.Terms = append(slo.Terms, SLOTerm{Metric: metric, Threshold: float64(*t.Threshold), Weight: t.Weight, HardFail: t.HardFail, FailRatio: t.FailRatio})
		}
	}
	for _, m := range []struct {
		key, metric string
		slo         *form.SLOMetric
	}{{"latency", "e2e_latency", f.Latency}, {"ttft", "ttft", f.TTFT}, {"tpot", "tpot", f.TPOT}} {
		if m.slo == nil {
			continue
		}
		at := "slo." + m.key
		if m.slo.P50 == nil && m.slo.P90 == nil && m.slo.P99 == nil || m.slo.Threshold != nil {
			term(at, "mean_"+m.metric, m.slo.Mean())
		}
		term(at+".p50", "p50_"+m.metric, m.slo.P50)
		term(at+".p90", "p90_"+m.metric, m.slo.P90)
		term(at+".p99", "p99_"+m.metric, m.slo.P99)
	}
	if len(slo.Terms) > 0 {
		s.SLO = slo
	} else if d.clean("slo") {
		d.warn("slo", "promises nothing", "a threshold, as in ttft: {threshold: 1.0}")
	}
}

// servingBaseline checks the configuration that is measured first.
func (d *decoder) servingBaseline(t *Task) {
	f, s := d.form.Baseline, t.Serving
	if f != nil && f.Off {
		s.NoBaseline = true
		return
	}
	s.Baseline = space.Point{}
	for _, p := range t.Space.Parameters {
		// What does not vary is a setting of the task, not a choice.
		if len(p.Values) == 1 && p.When == "" {
			s.Baseline[p.Name] = p.Values[0]
		}
	}
	if len(s.Models) > 1 {
		s.Baseline[ParameterModel] = s.Models[0].ID
	}
	if f == nil || f.Point == nil {
		return
	}
	names := parameterNames(&t.Space)
	for name, value := range f.Point {
		if !slices.Contains(names, name) {
			d.nearest("baseline."+name, "is no parameter"+d.leftOut(name), "", closest(name, names))
			continue
		}
		s.Baseline[name] = value
	}
}
