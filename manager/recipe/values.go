package recipe

import (
	"fmt"
	"strings"

	"github.com/fleetune/fleetune/shared/engine"
)

// helm is values for a chart: for vLLM those of its production stack, whose
// keys name the model, the devices and further arguments; for the others the
// keys that charts for one container commonly have.
func (r Recipe) helm() (string, error) {
	if err := r.container(); err != nil {
		return "", err
	}
	repository, tag := r.image, "latest"
	if i := strings.LastIndexByte(r.image, ':'); i > strings.LastIndexByte(r.image, '/') {
		repository, tag = r.image[:i], r.image[i+1:]
	}
	var env []doc
	for name, value := range sorted(r.env()) {
		env = append(env, doc{pair("name", name), pair("value", value)})
	}
	for name, secret := range sorted(r.secrets()) {
		env = append(env, doc{pair("name", name), pair("valueFrom", doc{pair("secretKeyRef", doc{pair("name", secret), pair("key", "value")})})})
	}
	if r.plan.Engine == engine.VLLM {
		model := doc{pair("name", r.name()), pair("repository", repository), pair("tag", tag), pair("modelURL", r.plan.Model.ID),
			pair("replicaCount", 1), pair("requestCPU", leastCPU), pair("requestMemory", leastMemory), pair("requestGPU", r.plan.Devices())}
		if len(env) > 0 {
			model = append(model, pair("env", env))
		}
		return r.marshal(doc{pair("servingEngineSpec", doc{pair("modelSpec", []doc{append(model, r.stack()...)})})})
	}
	words := r.words(true)
	values := doc{pair("replicaCount", 1), pair("image", doc{pair("repository", repository), pair("tag", tag)}),
		pair("command", words[:1]), pair("args", words[1:])}
	if len(env) > 0 {
		values = append(values, pair("env", env))
	}
	values = append(values, pair("resources", doc{pair("limits", doc{pair("nvidia.com/gpu", r.plan.Devices())})}),
		pair("service", doc{pair("port", r.Port)}))
	return r.marshal(values)
}

const (
	// The chart of vLLM's production stack fails without requests of cores and
	// memory. Nothing was measured of them: these are the least, to be raised.
	leastCPU    = 1
	leastMemory = "1Gi"
	// sharedMemory is what the devices of an engine talk through.
	sharedMemory = "16Gi"
)

// stack is what that chart is told of vLLM. It mounts shared memory only where
// it knows the degree of tensor parallelism itself.
func (r Recipe) stack() doc {
	const tp = "tensor-parallel-size"
	degree, parallel := r.plan.Argument(tp)
	if !parallel {
		return doc{pair("vllmConfig", doc{pair("extraArgs", r.plan.Flags())})}
	}
	extra := []string{}
	for _, a := range r.plan.Arguments {
		if a.Name != tp && a.Name != "tp" {
			extra = append(append(extra, "--"+a.Name), a.Words...)
		}
	}
	return doc{pair("shmSize", sharedMemory),
		pair("vllmConfig", doc{pair("tensorParallelSize", scalar(strings.Join(degree, ""))), pair("extraArgs", extra)})}
}

// config is the engine's own configuration file: vLLM and SGLang read one with
// --config, TensorRT-LLM one with options that have no flag.
func (r Recipe) config() (string, error) {
	switch r.plan.Engine {
	case engine.VLLM, engine.SGLang:
		model := "model"
		if r.plan.Engine == engine.SGLang {
			model = "model-path"
		}
		d := doc{pair(model, r.plan.Model.ID), pair("host", "127.0.0.1"), pair("port", r.Port)}
		if name := r.Task.Serving.Benchmark.ModelName; name != "" {
			d = append(d, pair("served-model-name", name))
		}
		for _, a := range r.plan.Arguments {
			switch len(a.Words) {
			case 0:
				d = append(d, pair(a.Name, true))
			case 1:
				d = append(d, pair(a.Name, scalar(a.Words[0])))
			default:
				d = append(d, pair(a.Name, a.Words))
			}
		}
		return r.marshal(d)
	case engine.TensorRT:
		if file, ok := r.plan.File(); ok {
			return r.header() + file.Content, nil
		}
		return "", fmt.Errorf("%w: every setting has a flag; ask for %s", ErrImpossible, Command)
	}
	return "", fmt.Errorf("%w: %s reads no configuration file; ask for %s", ErrImpossible, r.plan.Engine, Command)
}
