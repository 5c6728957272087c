// Package settings reads a vLLM or SGLang command line as that engine would,
// and turns it into what the simulated engine needs: where the model lies in
// memory, how steps are put together, how large the KV cache is. What the model
// has no place for is accepted and named, so that nobody thinks it counted.
package settings

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/engine"
	"github.com/fleetune/fleetune/shared/hardware"
	"github.com/fleetune/fleetune/worker/simulate/batching"
	"github.com/fleetune/fleetune/worker/simulate/roofline"
)

// ErrMemory says that the model does not fit: the engine dies while it loads.
var ErrMemory = errors.New("CUDA out of memory")

// ErrInvalid says that the engine would refuse the configuration.
var ErrInvalid = errors.New("invalid configuration")

// Settings of one simulated engine.
type Settings struct {
	Engine string
	GPU    hardware.GPU
	// Model as it was asked for, Served the name in the API.
	Model, Served string
	Architecture  task.Architecture
	Host          string
	Port          int
	APIKey        string
	// MaxLength bounds prompt and reply together, in tokens.
	MaxLength int
	// StreamInterval is how many tokens go into one event.
	StreamInterval int
	// Ranks is the number of data parallel parts, each with a cache of its own.
	Ranks  int
	Costs  *roofline.Model
	Policy batching.Policy
	Memory roofline.Memory
	// Weights is the size of the checkpoint in bytes.
	Weights int64
	// Effective settings, for the engine's own report.
	Effective map[string]string
	// Ignored flags were given and have no effect in the model.
	Ignored []string
}

// An Input is what settings are read from.
type Input struct {
	// Engine is vllm or sglang, Version that of its flags; empty is the newest.
	Engine, Version string
	GPU             hardware.GPU
	// Architecture finds the model's shape.
	Architecture func(model string) (task.Architecture, error)
	// Arguments are the engine's, model included.
	Arguments []string
}

// draft is what both engines' readers fill in.
type draft struct {
	*Settings
	args *arguments
	cfg  roofline.Config
	// fraction of the memory that the engine may use, or for weights and cache.
	fraction float64
	// captured is the number of batch sizes with a CUDA graph.
	captured int
	// blocks, where the command line names their number.
	blocks int
	known  []string // flags that the model has a place for
}

// Read reads a command line.
func Read(in Input) (*Settings, error) {
	e, err := engine.Lookup(in.Engine)
	if err != nil {
		return nil, err
	}
	if e, err = e.At(in.Version); err != nil {
		return nil, err
	}
	args, err := parse(e, withoutModule(in.Arguments))
	if err != nil {
		return nil, err
	}
	d := &draft{args: args, Settings: &Settings{Engine: e.Name(), GPU: in.GPU, Effective: map[string]string{}}}
	if err := d.model(in.Architecture); err != nil {
		return nil, err
	}
	switch e.Name() {
	case engine.VLLM:
		err = d.vllm()
	case engine.SGLang:
		err = d.sglang()
	default:
		err = fmt.Errorf("%w: %s is not simulated, vllm and sglang are", ErrInvalid, e.Name())
	}
	if err != nil {
		return nil, err
	}
	d.ignored()
	return d.Settings, nil
}

// model finds out what is served.
func (d *draft) model(find func(string) (task.Architecture, error)) error {
	a := d.args
	d.Model = a.text("model", a.text("model-path", ""))
	if words := modelWords(a.words); len(words) > 0 {
		d.Model = words[0]
	}
	if d.Model == "" {
		return refuse("the following arguments are required: model")
	}
	d.Served, _, _ = strings.Cut(a.text("served-model-name", d.Model), " ")
	d.Host, d.Port = a.text("host", "127.0.0.1"), a.integer("port", map[string]int{engine.VLLM: 8000, engine.SGLang: 30000}[d.Engine])
	d.APIKey = a.text("api-key", "")
	var err error
	d.Architecture, err = find(d.Model)
	return err
}

// modelWords are those words of a command line that are not how the engine is
// started, as in `serve MODEL`.
func modelWords(words []string) []string {
	return slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "serve" })
}

// withoutModule drops an interpreter's `-m MODULE`.
func withoutModule(words []string) []string {
	if len(words) > 1 && words[0] == "-m" {
		return words[2:]
	}
	return words
}

// precision reads the flags of weights and cache, which both engines share.
func (d *draft) precision() error {
	a, arch := d.args, d.Architecture
	bits := 16.0
	if dtype := a.text("dtype", "auto"); dtype == "float32" || dtype == "float" || dtype == "auto" && arch.DType == "float32" {
		bits = 32
	}
	d.cfg.WeightBits, d.cfg.ComputeBits = bits, 16
	method := a.text("quantization", arch.QuantMethod)
	width, compute, dynamic, err := quantisation(method, arch.QuantBits)
	if err != nil {
		return err
	}
	if method != "" {
		if !dynamic && arch.QuantMethod == "" {
			return fmt.Errorf("%w: Cannot find the config file for %s: the checkpoint is not quantised", ErrInvalid, method)
		}
		d.cfg.WeightBits, d.cfg.ComputeBits = width, compute
		if compute == 8 && d.GPU.FP8 == 0 && d.GPU.INT8 == 0 || strings.Contains(method, "fp8") && d.GPU.FP8 == 0 {
			d.cfg.ComputeBits = 16 // the weights are stored in 8 bits and multiplied in 16
		}
	}
	d.cfg.CacheBits = bits
	switch cache := a.text("kv-cache-dtype", "auto"); {
	case strings.HasPrefix(cache, "fp8"), cache == "int8":
		d.cfg.CacheBits = 8
	case strings.HasPrefix(cache, "fp4"), cache == "int4":
		d.cfg.CacheBits = 4
	}
	d.use("dtype", "quantization", "kv-cache-dtype")
	return nil
}

// quantisation tells the width of weights and of products by method, and
// whether an engine can do it to a checkpoint that is not quantised.
func quantisation(method string, checkpoint int) (weights float64, compute int, dynamic bool, err error) {
	has := func(part string) bool { return strings.Contains(method, part) }
	switch {
	case method == "", method == "unquant":
		return 16, 16, true, nil
	case method == "bitsandbytes":
		return 4, 16, true, nil
	case has("weight_only"):
		return 8, 16, true, nil
	case has("fp4"), has("w4afp8"):
		return 4, 8, method == "mxfp4", nil
	case has("fp8"):
		return 8, 8, !has("modelopt") && !has("fbgemm"), nil
	case has("int8"):
		return 8, 8, method == "experts_int8", nil
	}
	if checkpoint > 0 {
		return float64(checkpoint), 16, false, nil
	}
	if has("awq") || has("gptq") || has("gguf") || has("marlin") {
		return 4, 16, false, nil
	}
	return 16, 16, false, fmt.Errorf("%w: quantization %q is not simulated", ErrInvalid, method)
}

// use notes flags that the model has a place for.
func (d *draft) use(names ...string) { d.known = append(d.known, names...) }

// ignored lists what was given and changes nothing here.
func (d *draft) ignored() {
	d.use("model", "model-path", "served-model-name", "host", "port", "api-key", "revision", "tokenizer", "trust-remote-code",
		"tokenizer-path", "download-dir", "load-format", "seed", "random-seed", "log-level", "enable-metrics", "disable-log-requests", "disable-log-stats")
	known := map[string]bool{}
	for _, name := range d.known {
		if flag, ok := d.args.engine.Flag(name); ok {
			known[flag.Name] = true
		}
	}
	for _, name := range d.args.order {
		if !known[name] {
			d.Ignored = append(d.Ignored, "--"+name)
		}
	}
}

// place prepares the costs, and with them the memory that steps of so many
// tokens and sequences need.
func (d *draft) place(tokens, sequences int) error {
	if p := d.Policy; p.Block < 1 || p.MaxTokens < 1 || p.MaxSequences < 0 || d.Ranks < 1 || d.cfg.TP < 1 || d.cfg.PP < 1 {
		return fmt.Errorf("%w: sizes of blocks, steps and parallelism must be greater than zero", ErrInvalid)
	}
	var err error
	d.cfg.GPU, d.cfg.Model = d.GPU, d.Architecture
	if d.Costs, err = roofline.New(d.cfg); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	d.Memory = d.Costs.Memory(tokens, sequences, d.captured)
	d.Weights = d.Costs.WeightBytes()
	if int64(float64(d.GPU.Memory)) < d.Memory.Weights+d.Memory.Context {
		return fmt.Errorf("%w. Tried to allocate %s for the weights of each rank. GPU 0 has a total capacity of %s", ErrMemory, gib(d.Memory.Weights), gib(d.GPU.Memory))
	}
	return nil
}

// room turns bytes for the cache into blocks, as many as one sequence needs at
// the least.
func (d *draft) room(bytes float64) error {
	d.Policy.Blocks = int(bytes / d.Memory.CachePerToken / float64(d.Policy.Block))
	if d.blocks > 0 {
		d.Policy.Blocks = d.blocks
	}
	if bytes <= 0 || d.Policy.Blocks == 0 {
		return ErrMemory
	}
	return nil
}

func gib(bytes int64) string { return fmt.Sprintf("%.2f GiB", float64(bytes)/(1<<30)) }
