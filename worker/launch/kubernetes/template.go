package kubernetes

import (
	"fmt"
	"maps"
	"os"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// The container of a pod that is the engine: in a Job of ours, and in what OME
// makes of an InferenceService.
const (
	engineName = "engine"
	omeName    = "ome-container"
)

// ReadPod reads what every pod of a cluster needs and a task should not have to
// know, such as tolerations, pull secrets and requests of processors: the spec
// of a pod, in YAML. A container of the name engine adds to the engine's own;
// others run beside it. A field that no pod has is an error.
func ReadPod(path string) (map[string]any, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the pod's spec: %w", err)
	}
	var spec corev1.PodSpec
	if err := yaml.UnmarshalStrict(data, &spec); err != nil {
		return nil, fmt.Errorf("%s is no spec of a pod: %w", path, err)
	}
	pod, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&spec)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return pod, nil
}

// over lays a pod of ours over the cluster's: what both say is ours, lists of
// volumes and variables and sets by name have both.
func over(cluster, ours object) object {
	if len(cluster) == 0 {
		return ours
	}
	pod := lay(runtime.DeepCopyJSON(cluster), ours)
	engine, beside := object{}, []any{}
	list, _ := cluster["containers"].([]any)
	for _, c := range list {
		if container, ok := c.(object); ok && container["name"] == engineName {
			engine = runtime.DeepCopyJSON(container)
		} else {
			beside = append(beside, c)
		}
	}
	own, _ := ours["containers"].([]any)
	for _, c := range own {
		if container, ok := c.(object); ok {
			engine = lay(engine, container) // ours has this one alone
		}
	}
	pod["containers"] = append([]any{engine}, beside...)
	return pod
}

// lay writes ours over base and returns it.
func lay(base, ours object) object {
	for key, value := range ours {
		switch old := base[key].(type) {
		case []any:
			if list, ok := value.([]any); ok && (key == "volumes" || key == "volumeMounts" || key == "env") {
				value = slices.Concat(old, list)
			}
		case object:
			if set, ok := value.(object); ok {
				value = lay(maps.Clone(old), set)
			}
		}
		base[key] = value
	}
	return base
}
