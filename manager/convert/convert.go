// Package convert turns study files of auto-tuning-vllm into task files. What
// has no counterpart is said in notes, never dropped in silence.
package convert

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"

	"github.com/fleetune/fleetune/proto/task"
	"github.com/goccy/go-yaml"
)

// ErrNotAStudy says that a file is no study.
var ErrNotAStudy = errors.New("this is no study file of auto-tuning-vllm")

// maxStudy bounds a study file, in bytes.
const maxStudy = 1 << 20

// A Result is a task file with what it could not say.
type Result struct {
	// Task is the text of the task file, in YAML.
	Task string
	// Notes say what was replaced or left out.
	Notes []string
}

// Study converts a study file. Variables of the form ${NAME:-default} take
// their value from lookup, as the study's own tool would.
func Study(data []byte, lookup func(string) (string, bool)) (Result, error) {
	if len(data) > maxStudy {
		return Result{}, fmt.Errorf("%w: it has %d bytes; expected at most %d", ErrNotAStudy, len(data), maxStudy)
	}
	var s study
	if err := yaml.UnmarshalWithOptions(expand(data, lookup), &s, yaml.UseOrderedMap()); err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrNotAStudy, placed(err))
	}
	if err := s.whole(); err != nil {
		return Result{}, err
	}
	c := &converter{study: &s}
	text, err := c.task()
	if err != nil {
		return Result{}, err
	}
	return Result{Task: text, Notes: c.notes}, nil
}

// whole finds every part that a study cannot be without.
func (s *study) whole() error {
	if s.TaskName != "" || s.Runtime != "" {
		return fmt.Errorf("%w: it is a task file already, and fleetune submit takes it as it is", ErrNotAStudy)
	}
	var missing []string
	for _, part := range []struct {
		name  string
		there bool
	}{{"optimization", s.Optimization != nil}, {"benchmark", s.Benchmark != nil}, {"parameters", s.Parameters != nil},
		{"benchmark.model", s.Benchmark == nil || s.Benchmark.Model != ""}} {
		if !part.there {
			missing = append(missing, part.name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: it lacks %s", ErrNotAStudy, strings.Join(missing, ", "))
	}
	return nil
}

// placed is a YAML error in one line, without the text around it: a study may
// hold secrets.
func placed(err error) error {
	var at yaml.Error
	if !errors.As(err, &at) || at.GetToken() == nil {
		return err
	}
	message := at.GetMessage()
	var kind *yaml.TypeError
	if errors.As(err, &kind) {
		message = fmt.Sprintf("is a %s; expected a %s", inWords(kind.SrcType.Kind()), inWords(kind.DstType.Kind()))
	}
	p := at.GetToken().Position
	return fmt.Errorf("line %d, column %d: %s", p.Line, p.Column, message)
}

// inWords names a kind of value as people who write YAML do.
func inWords(k reflect.Kind) string {
	switch k {
	case reflect.Int64, reflect.Uint64:
		return "whole number"
	case reflect.Float64:
		return "number"
	case reflect.Slice:
		return "list"
	case reflect.Struct, reflect.Map, reflect.Pointer:
		return "mapping"
	case reflect.Bool:
		return "truth value"
	}
	return "text"
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}`)

func expand(data []byte, lookup func(string) (string, bool)) []byte {
	return variable.ReplaceAllFunc(data, func(found []byte) []byte {
		m := variable.FindSubmatch(found)
		if value, ok := lookup(string(m[1])); ok {
			return []byte(value)
		}
		return m[2]
	})
}

// Environment looks variables up in the process's environment.
func Environment(name string) (string, bool) { return os.LookupEnv(name) }

// study is a study file, as far as it counts here.
type study struct {
	// Those of a task file, to tell one.
	TaskName string `yaml:"task_name"`
	Runtime  string `yaml:"base_runtime"`

	Study struct {
		Name     string `yaml:"name"`
		Prefix   string `yaml:"prefix"`
		Database string `yaml:"database_url"`
		File     string `yaml:"storage_file"`
	} `yaml:"study"`
	Optimization *optimization `yaml:"optimization"`
	Benchmark    *benchmark    `yaml:"benchmark"`
	Execution    execution     `yaml:"execution"`
	Baseline     *baseline     `yaml:"baseline"`
	Parameters   yaml.MapSlice `yaml:"parameters"`
	Static       yaml.MapSlice `yaml:"static_parameters"`
	StaticEnv    yaml.MapSlice `yaml:"static_environment_variables"`
	Environment  yaml.MapSlice `yaml:"environment_variables"`
	Constraints  []any         `yaml:"constraints"`
}

type optimization struct {
	Preset      string      `yaml:"preset"`
	Objective   any         `yaml:"objective"`
	Objectives  []objective `yaml:"objectives"`
	Sampler     string      `yaml:"sampler"`
	Trials      int64       `yaml:"n_trials"`
	Startup     int64       `yaml:"n_startup_trials"`
	Concurrent  int64       `yaml:"max_concurrent"`
	Concurrent2 int64       `yaml:"max_concurrent_trials"`
	NoBaseline  bool        `yaml:"skip_baseline"`
}

type objective struct {
	Metric     string `yaml:"metric"`
	Direction  string `yaml:"direction"`
	Percentile string `yaml:"percentile"`
}

type benchmark struct {
	Type         string  `yaml:"benchmark_type"`
	Model        string  `yaml:"model"`
	Processor    string  `yaml:"processor"`
	Seconds      float64 `yaml:"max_seconds"`
	Dataset      string  `yaml:"dataset"`
	Prompt       int64   `yaml:"prompt_tokens"`
	PromptStdev  int64   `yaml:"prompt_tokens_stdev"`
	PromptMin    int64   `yaml:"prompt_tokens_min"`
	PromptMax    int64   `yaml:"prompt_tokens_max"`
	Output       int64   `yaml:"output_tokens"`
	OutputStdev  int64   `yaml:"output_tokens_stdev"`
	OutputMin    int64   `yaml:"output_tokens_min"`
	OutputMax    int64   `yaml:"output_tokens_max"`
	Rate         any     `yaml:"rate"`
	Concurrency  any     `yaml:"concurrency"`
	SampleNumber int64   `yaml:"num_samples"`
	Samples      int64   `yaml:"samples"`
	DatasetPath  string  `yaml:"dataset_path"`
	Tunables     tunable `yaml:"tunables"`
}

// tunable is what of the load a study varies.
type tunable struct {
	Rate yaml.MapSlice `yaml:"rate"`
}

type execution struct {
	Backend string `yaml:"backend"`
	K8s     struct {
		Namespace string `yaml:"namespace"`
		Image     string `yaml:"vllm_image"`
		ModelPVC  string `yaml:"model_pvc"`
	} `yaml:"k8s"`
	Helm struct {
		Namespace string `yaml:"namespace"`
		Chart     string `yaml:"chart_type"`
	} `yaml:"helm"`
}

type baseline struct {
	Enabled     *bool         `yaml:"enabled"`
	Concurrency []int64       `yaml:"concurrency_levels"`
	Parameters  yaml.MapSlice `yaml:"parameters"`
}

type converter struct {
	*study
	notes []string
}

func (c *converter) note(format string, args ...any) {
	c.notes = append(c.notes, fmt.Sprintf(format, args...))
}

type doc = yaml.MapSlice

func pair(key string, value any) yaml.MapItem { return yaml.MapItem{Key: key, Value: value} }

var notName = regexp.MustCompile(`[^a-z0-9]+`)

func plain(name string) string {
	name = strings.Trim(notName.ReplaceAllString(strings.ToLower(name), "-"), "-")
	if len(name) > 63 {
		name = strings.TrimRight(name[:63], "-")
	}
	if name == "" {
		return "study"
	}
	return name
}

// task writes the task file and reads it back: what is printed is one.
func (c *converter) task() (string, error) {
	name := c.Study.Name
	if name == "" {
		name = c.Study.Prefix
	}
	d := doc{pair("task_name", plain(name)), pair("base_runtime", "vllm")}
	d = append(d, c.model()...)
	parameters := c.parameters()
	if parameters == nil {
		parameters = doc{}
	}
	d = append(d, pair("parameters", parameters))
	d = append(d, c.environment()...)
	d = append(d, pair("optimization", c.optimization()), pair("benchmark", c.benchmark()))
	if c.Optimization.NoBaseline || c.Baseline != nil && c.Baseline.Enabled != nil && !*c.Baseline.Enabled {
		d = append(d, pair("baseline", false))
	}
	c.leftOut()
	data, err := yaml.MarshalWithOptions(d, yaml.Flow(false), yaml.IndentSequence(true))
	if err != nil {
		return "", fmt.Errorf("writing the task file: %w", err)
	}
	text := string(data)
	decoded, problems := task.Decode("task.yaml", data)
	if decoded == nil {
		lines := ""
		for _, p := range problems {
			if p.Severity == task.Warning {
				continue
			}
			p.File, p.Line, p.Column = "", 0, 0 // of a text that nobody has seen
			lines += "\n  " + strings.TrimPrefix(p.String(), ":0:0: ")
		}
		return "", fmt.Errorf("%w that makes a task; the task would be wrong in%s", ErrNotAStudy, lines)
	}
	return text, nil
}

// leftOut says what of a study has no counterpart.
func (c *converter) leftOut() {
	for _, expression := range c.Constraints {
		c.note("the constraint %v is left out; write it under constraints, in the form of the documentation", expression)
	}
	if c.Baseline != nil && len(c.Baseline.Parameters) > 0 {
		c.note("the baseline's own parameters are left out: a baseline has the engine's defaults and what is fixed for all")
	}
	if c.Study.Database != "" || c.Study.File != "" {
		c.note("the study's database is not read: results that it holds are no start for the task")
	}
}

func (c *converter) model() doc {
	switch c.Execution.Backend {
	case "", "local":
	case "ray":
		c.note("backend ray: start a worker on each node instead of a Ray cluster")
	case "helm":
		c.note("the chart %s is not deployed: one engine runs in a pod of its own for each experiment", c.Execution.Helm.Chart)
		d := doc{pair("id_or_path", c.Benchmark.Model)}
		if n := c.Execution.Helm.Namespace; n != "" {
			d = append(d, pair("namespace", n))
		}
		return doc{pair("deployment_mode", "kubernetes"), pair("model", d)}
	case "k8s", "kubernetes":
		d := doc{pair("deployment_mode", "kubernetes"), pair("model", doc{pair("id_or_path", c.Benchmark.Model), pair("namespace", c.Execution.K8s.Namespace)})}
		if image := c.Execution.K8s.Image; image != "" {
			d = append(d, pair("image", image))
		}
		if pvc := c.Execution.K8s.ModelPVC; pvc != "" {
			d = append(d, pair("storage", doc{pair("pvc_name", pvc), pair("mount_path", "/models")}))
			c.note("the volume %s is mounted at /models: check where the model lies in it", pvc)
		}
		return d
	}
	return doc{pair("deployment_mode", "local"), pair("model", doc{pair("id_or_path", c.Benchmark.Model)})}
}
