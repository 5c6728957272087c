package recipe

import (
	"path"
	"strings"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/shared/engine"
	"github.com/fleetune/fleetune/shared/hardware"
)

// Where a container sees a model, what it fetches, and the engine's file.
const (
	modelInside   = "/model"
	cacheInside   = "/root/.cache/huggingface"
	optionsInside = "/etc/engine"
)

// The vendors of GPUs, as nodes name them.
const (
	nvidia = "nvidia"
	amd    = "amd"
)

// A place is where a model is on a node and where a container sees it; all of
// it is empty for a model that the engine fetches.
type place struct {
	outside string // what is mounted: a folder, or a file
	at      string // where
	inside  string // what the engine is told
	file    bool   // outside is a file
}

// cached is in the path of whatever a hub's own library keeps.
const cached = "/models--"

// source is the model outside containers: where the worker had it, but for what
// it keeps of a hub, which any other machine fetches for itself.
func (r Recipe) source() string {
	if r.ModelPath == "" || strings.Contains(r.ModelPath, cached) {
		return r.plan.Model.ID
	}
	return r.ModelPath
}

// model is the model's place. A hub's id has a slash in its middle; a name
// without one is that of a folder or file among a worker's models.
func (r Recipe) model() place {
	from := r.source()
	gguf := path.Ext(from) == ".gguf"
	if !path.IsAbs(from) {
		if strings.Contains(from, "/") && !gguf {
			return place{}
		}
		from = "./" + from
	}
	switch {
	case !gguf:
		return place{outside: from, at: modelInside, inside: modelInside}
	case engine.InParts(from): // the others lie beside the first
		return place{outside: path.Dir(from), at: modelInside, inside: path.Join(modelInside, path.Base(from))}
	}
	at := path.Join(modelInside, path.Base(from)) // engines go by the name's end
	return place{outside: from, at: at, inside: at, file: true}
}

// vendor is whose devices the engine takes. What was rehearsed on CPU slots is
// meant for the GPU that was simulated.
func (r Recipe) vendor() string {
	if sim := r.Task.Serving.Simulate; sim != nil {
		if gpu, err := hardware.Lookup(sim.GPU); err == nil {
			return gpu.Vendor()
		}
	}
	wanted := strings.ToLower(r.Task.Resources.Accelerator)
	if wanted == node.CPU || wanted == amd {
		return wanted
	}
	if r.Vendor != "" {
		return r.Vendor
	}
	if r.onlyAMD() {
		return amd
	}
	return nvidia
}

// onlyAMD says that of the GPUs that are known the task accepts AMD's alone, as
// it does when it names a model.
func (r Recipe) onlyAMD() bool {
	found := false
	for _, gpu := range hardware.Table() {
		if r.Task.Resources.Accepts(node.Device{Vendor: gpu.Vendor(), Model: gpu.Product, Memory: gpu.Memory, Health: node.Healthy}) {
			if gpu.Vendor() != amd {
				return false
			}
			found = true
		}
	}
	return found
}

// resource is what the devices are called in a cluster; empty on CPUs.
func (r Recipe) resource() string {
	switch r.vendor() {
	case node.CPU:
		return ""
	case amd:
		return "amd.com/gpu"
	}
	return "nvidia.com/gpu"
}

// hardware is what an image is for, in words.
func (r Recipe) hardware() string {
	switch r.vendor() {
	case node.CPU:
		return "a CPU"
	case amd:
		return "AMD's GPUs"
	}
	return "NVIDIA's GPUs"
}
