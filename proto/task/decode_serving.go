package task

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
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
