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
	if r.plan.Engine == engine.VLLM {
		spec := doc{pair("modelSpec", []doc{r.stack(repository, tag)})}
		if r.vendor() != nvidia {
			spec = append(doc{pair("runtimeClassName", "")}, spec...) // the chart's own is NVIDIA's
		}
		return r.marshal(doc{pair("servingEngineSpec", spec)})
	}
	words := r.words(r.modelInPod(), true)
	values := doc{pair("replicaCount", 1), pair("image", doc{pair("repository", repository), pair("tag", tag)}),
		pair("command", words[:1]), pair("args", expandable(words[1:]))}
	if env := r.podEnv(); len(env) > 0 {
		values = append(values, pair("env", env))
	}
	if name := r.resource(); name != "" {
		values = append(values, pair("resources", doc{pair("limits", doc{pair(name, r.plan.Devices())})}))
	}
	return r.marshal(append(values, pair("service", doc{pair("port", r.Port)}), pair("volumes", r.podVolumes()), pair("volumeMounts", r.podMounts())))
}

const (
	// The chart of vLLM's production stack fails without requests of cores and
	// memory. Nothing was measured of them: these are the least, to be raised.
	leastCPU    = 1
	leastMemory = "1Gi"
	// sharedMemory is what the devices of an engine talk through.
	sharedMemory = "16Gi"
)

// stack is a model as that chart describes it.
func (r Recipe) stack(repository, tag string) doc {
	gpus, url := r.plan.Devices(), r.modelInPod()
	if url == "" {
		url = r.plan.Model.ID
	}
	if r.resource() == "" {
		gpus = 0
	}
	model := doc{pair("name", r.name()), pair("repository", repository), pair("tag", tag), pair("modelURL", url),
		pair("replicaCount", 1), pair("requestCPU", leastCPU), pair("requestMemory", leastMemory), pair("requestGPU", gpus)}
	if name := r.resource(); gpus > 0 && r.vendor() != nvidia {
		model = append(model, pair("requestGPUType", name))
	}
	if env := r.podEnv(); len(env) > 0 {
		model = append(model, pair("env", env))
	}
	if volume, mount := r.modelVolume(); volume != nil {
		model = append(model, pair("extraVolumes", []doc{volume}), pair("extraVolumeMounts", []doc{mount}))
	}
	return append(model, r.stackArguments()...)
}

// stackArguments are vLLM's own. The chart mounts shared memory only where it
// knows the degree of tensor parallelism itself, and turns the prefix cache off
// unless told, which vLLM has on.
func (r Recipe) stackArguments() doc {
	const tp, prefix, noPrefix = "tensor-parallel-size", "enable-prefix-caching", "no-enable-prefix-caching"
	var out, config doc
	if degree, parallel := r.plan.Argument(tp); parallel {
		out, config = doc{pair("shmSize", sharedMemory)}, doc{pair("tensorParallelSize", scalar(strings.Join(degree, "")))}
	}
	cache, extra := true, []string{}
	if name := r.servedName(r.modelInPod()); name != "" {
		extra = append(extra, "--served-model-name", name)
	}
	for _, a := range r.plan.Arguments {
		switch a.Name {
		case tp, "tp", prefix:
		case noPrefix:
			cache = false
		default:
			extra = append(append(extra, "--"+a.Name), a.Words...)
		}
	}
	return append(out, pair("vllmConfig", append(config, pair("enablePrefixCaching", cache), pair("extraArgs", extra))))
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
		d := doc{pair(model, r.source()), pair("host", "127.0.0.1"), pair("port", r.Port)}
		if name := r.servedName(r.source()); name != "" {
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
