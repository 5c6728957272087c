package kubernetes

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/worker/device"
	"github.com/fleetune/fleetune/worker/launch"
	"github.com/fleetune/fleetune/worker/process"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// enginePort is where every engine listens: a pod has an address of its own.
const enginePort = 8000

// graceSeconds is how long a pod may take to end when it goes with its owner.
const graceSeconds = 10

type object = map[string]any

// manifests are the objects of one launch.
type manifests struct {
	namespace, name string
	labels          map[string]any
	command         []string
	image           string
	cluster         object // what every pod of the cluster has
}

func (l *Launcher) manifests(s launch.Spec) manifests {
	m := manifests{namespace: l.Namespace, name: objectName(s), image: s.Image, cluster: l.Pod, labels: object{
		labelManaged: managedBy, labelWorker: label(l.Worker), labelAttempt: label(s.Tag),
	}}
	if k := s.Kubernetes; k != nil && k.Namespace != "" {
		m.namespace = k.Namespace
	}
	place := launch.Place{Host: "0.0.0.0", Port: enginePort, ModelPath: modelPath(s), Container: true}
	if s.File != nil {
		place.File = path.Join(filesInside, path.Base(s.File.Name))
	}
	m.command = s.Command(place)
	return m
}

// filesInside is where a pod sees the engine's file.
const filesInside = "/etc/fleetune"

// modelPath is the model as the pod sees it: of the volume, or a hub id that the
// engine fetches.
func modelPath(s launch.Spec) string {
	if k := s.Kubernetes; k != nil && k.Storage != nil {
		return k.Storage.Model(s.Model.ID)
	}
	return s.Model.ID
}

func (m *manifests) meta() object {
	return object{"name": m.name, "namespace": m.namespace, "labels": m.labels}
}

func (m *manifests) make(kind schema.GroupVersionKind, rest object) *unstructured.Unstructured {
	content := object{"apiVersion": kind.GroupVersion().String(), "kind": kind.Kind, "metadata": m.meta()}
	maps.Copy(content, rest)
	return &unstructured.Unstructured{Object: content}
}

// secret holds the engine's secrets for as long as it runs; nil without any.
func (m *manifests) secret(s launch.Spec) *unstructured.Unstructured {
	if len(s.Secrets) == 0 {
		return nil
	}
	data := object{}
	for name, value := range s.Secrets {
		data[name] = value
	}
	return m.make(schema.GroupVersionKind{Version: "v1", Kind: "Secret"}, object{"type": "Opaque", "stringData": data})
}

// config holds the engine's file; nil without one.
func (m *manifests) config(s launch.Spec) *unstructured.Unstructured {
	if s.File == nil {
		return nil
	}
	return m.make(schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"},
		object{"data": object{path.Base(s.File.Name): s.File.Content}})
}

// job runs the engine once: a benchmark must see an engine die, so nothing
// starts it again.
func (m *manifests) job(s launch.Spec, lifetime time.Duration) *unstructured.Unstructured {
	return m.make(schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}, object{"spec": object{
		"backoffLimit": int64(0), "completions": int64(1), "parallelism": int64(1),
		// Nothing of ours lives for ever, even if no worker comes back for it.
		"activeDeadlineSeconds": int64(lifetime / time.Second), "ttlSecondsAfterFinished": int64(3600),
		"template": object{"metadata": object{"labels": m.labels}, "spec": m.pod(s)},
	}})
}

func (m *manifests) pod(s launch.Spec) object {
	volumes := []any{object{"name": "shm", "emptyDir": object{"medium": "Memory"}}}
	mounts := []any{object{"name": "shm", "mountPath": "/dev/shm"}}
	if k := s.Kubernetes; k != nil && k.Storage != nil {
		volumes = append(volumes, object{"name": "models", "persistentVolumeClaim": object{"claimName": k.Storage.Name}})
		mount := object{"name": "models", "mountPath": k.Storage.MountPath, "readOnly": true}
		if k.Storage.Subpath != "" {
			mount["subPath"] = k.Storage.Subpath
		}
		mounts = append(mounts, mount)
	}
	if s.File != nil {
		volumes = append(volumes, object{"name": "files", "configMap": object{"name": m.name}})
		mounts = append(mounts, object{"name": "files", "mountPath": filesInside, "readOnly": true})
	}
	container := object{
		"name": engineName, "image": m.image, "command": texts(m.command), "env": m.environment(s),
		"ports": []any{object{"name": "http", "containerPort": int64(enginePort)}}, "volumeMounts": mounts,
	}
	if limits := accelerators(s); limits != nil {
		container["resources"] = object{"limits": limits}
	}
	spec := object{
		"restartPolicy": "Never", "terminationGracePeriodSeconds": int64(graceSeconds), "automountServiceAccountToken": false, "enableServiceLinks": false,
		"containers": []any{container}, "volumes": volumes,
	}
	if k := s.Kubernetes; k != nil && len(k.NodeSelector) > 0 {
		selector := object{}
		for name, value := range k.NodeSelector {
			selector[name] = value
		}
		spec["nodeSelector"] = selector
	}
	return over(m.cluster, spec)
}

// accelerators are the devices that the pod asks the cluster for. Which kind
// goes by the kind of devices that the attempt holds; NVIDIA's where it holds
// slots only, unless the engine needs none.
func accelerators(s launch.Spec) object {
	if s.Accelerators <= 0 {
		return nil
	}
	name := "nvidia.com/gpu"
	if slices.ContainsFunc(s.Devices, func(d node.Device) bool { return d.Vendor == device.AMD }) {
		name = "amd.com/gpu"
	}
	return object{name: int64(s.Accelerators)}
}

// environment is the engine's; secrets come from the Secret of this launch.
// Devices are the cluster's to show.
func (m *manifests) environment(s launch.Spec) []any {
	env := maps.Clone(s.Env)
	if env == nil {
		env = map[string]string{}
	}
	env[process.TagVariable] = s.Tag
	var list []any
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, object{"name": name, "value": env[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Secrets)) {
		list = append(list, object{"name": name, "valueFrom": object{"secretKeyRef": object{"name": m.name, "key": name}}})
	}
	return list
}

// inferenceService is OME's way to run an engine, with the arguments of the
// point in it.
func (m *manifests) inferenceService(s launch.Spec) (*unstructured.Unstructured, error) {
	k := s.Kubernetes
	runtime, err := named(k.Runtime)
	if err != nil {
		return nil, fmt.Errorf("clusterservingruntime_config: %w", err)
	}
	model, err := named(k.BaseModel)
	if err != nil {
		return nil, fmt.Errorf("clusterbasemodel_config: %w", err)
	}
	if model.Name == "" {
		model.Name = modelName(s.Model.ID)
	}
	runner := object{"name": omeName, "image": m.image, "command": texts(m.command), "env": m.environment(s)}
	if limits := accelerators(s); limits != nil {
		runner["resources"] = object{"limits": limits}
	}
	spec := object{
		"model":  object{"name": model.Name},
		"engine": object{"minReplicas": int64(1), "maxReplicas": int64(1), "runner": runner, "labels": m.labels},
	}
	if runtime.Name != "" {
		spec["runtime"] = object{"name": runtime.Name, "apiGroup": "ome.io", "kind": "ClusterServingRuntime"}
	}
	service := m.make(schema.GroupVersionKind{Group: "ome.io", Version: "v1beta1", Kind: "InferenceService"}, object{"spec": spec})
	if v := k.Storage; v != nil {
		service.SetAnnotations(map[string]string{"ome.io/storage-type": v.Type, "ome.io/pvc-name": v.Name,
			"ome.io/pvc-subpath": v.Subpath, "ome.io/mount-path": v.MountPath})
	}
	return service, nil
}

// A clusterObject is what a task says of an object that experiments share.
type clusterObject struct {
	Name        string            `json:"name"`
	Preset      string            `json:"preset"`
	Spec        object            `json:"spec"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Overrides   object            `json:"overrides"`
}

func named(config json.RawMessage) (clusterObject, error) {
	var c clusterObject
	if len(config) == 0 {
		return c, nil
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return c, fmt.Errorf("reading it: %w", err)
	}
	if c.Name == "" {
		c.Name = c.Preset
	}
	return c, nil
}

// shared is the object to be made if the cluster has none of its name; nil
// where the task only names one.
func (c clusterObject) shared(kind string) *unstructured.Unstructured {
	if len(c.Spec) == 0 {
		return nil
	}
	maps.Copy(c.Spec, c.Overrides)
	o := &unstructured.Unstructured{Object: object{"apiVersion": "ome.io/v1beta1", "kind": kind, "spec": c.Spec}}
	o.SetName(c.Name)
	labels := map[string]string{labelManaged: managedBy}
	maps.Copy(labels, c.Labels)
	o.SetLabels(labels)
	o.SetAnnotations(c.Annotations)
	return o
}

// modelName is how OME calls a model: the last part of its id.
func modelName(id string) string {
	return strings.Trim(strings.ToLower(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, path.Base(id))), "-")
}

func texts(words []string) []any {
	list := make([]any, len(words))
	for i, w := range words {
		list[i] = w
	}
	return list
}
