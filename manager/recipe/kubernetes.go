package recipe

import (
	"path"
	"strconv"
	"strings"

	"github.com/fleetune/fleetune/proto/task"
)

// expandable protects what Kubernetes would take for a variable.
func expandable(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = expanded(w)
	}
	return out
}

// expanded is a text that Kubernetes turns into the given one.
func expanded(text string) string { return strings.ReplaceAll(text, "$(", "$$(") }

// kubernetes is a Deployment with its Service.
func (r Recipe) kubernetes() (string, error) {
	if err := r.container(); err != nil {
		return "", err
	}
	labels := doc{pair("app.kubernetes.io/name", r.name()), pair("app.kubernetes.io/managed-by", "fleetune")}
	meta := doc{pair("name", r.name())}
	k := r.Task.Serving.Kubernetes
	if k != nil && k.Namespace != "" {
		meta = append(meta, pair("namespace", k.Namespace))
	}
	meta = append(meta, pair("labels", labels))
	pod := doc{pair("containers", []doc{r.podContainer()}), pair("volumes", r.podVolumes())}
	if k != nil && len(k.NodeSelector) > 0 {
		var selector doc
		for key, value := range sorted(k.NodeSelector) {
			selector = append(selector, pair(key, value))
		}
		pod = append(pod, pair("nodeSelector", selector))
	}
	deployment := doc{pair("apiVersion", "apps/v1"), pair("kind", "Deployment"), pair("metadata", meta),
		pair("spec", doc{pair("replicas", 1), pair("selector", doc{pair("matchLabels", labels)}),
			pair("template", doc{pair("metadata", doc{pair("labels", labels)}), pair("spec", pod)})})}
	service := doc{pair("apiVersion", "v1"), pair("kind", "Service"), pair("metadata", meta),
		pair("spec", doc{pair("selector", labels), pair("ports", []doc{{pair("name", "http"), pair("port", 80), pair("targetPort", "http")}})})}
	documents := []any{deployment, service}
	if file, ok := r.plan.File(); ok {
		documents = append(documents, doc{pair("apiVersion", "v1"), pair("kind", "ConfigMap"), pair("metadata", meta),
			pair("data", doc{pair(file.Name, file.Content)})})
	}
	return r.marshal(documents...)
}

func (r Recipe) podContainer() doc {
	words := r.words(r.modelInPod(), true)
	env := r.podEnv()
	c := doc{pair("name", "engine"), pair("image", r.image), pair("command", words[:1]), pair("args", expandable(words[1:]))}
	if len(env) > 0 {
		c = append(c, pair("env", env))
	}
	probe := doc{pair("httpGet", doc{pair("path", "/health"), pair("port", "http")})}
	c = append(c, pair("ports", []doc{{pair("name", "http"), pair("containerPort", r.Port)}}))
	if name := r.resource(); name != "" {
		gpus := doc{pair(name, strconv.Itoa(r.plan.Devices()))}
		c = append(c, pair("resources", doc{pair("requests", gpus), pair("limits", gpus)}))
	}
	return append(c,
		pair("startupProbe", append(probe[:1:1], pair("periodSeconds", 6), pair("failureThreshold", 300))),
		pair("readinessProbe", append(probe[:1:1], pair("periodSeconds", 10))),
		pair("volumeMounts", r.podMounts()))
}

// podEnv is the engine's environment; secrets are those of the cluster.
func (r Recipe) podEnv() []doc {
	var env []doc
	for name, value := range sorted(r.env()) {
		env = append(env, doc{pair("name", name), pair("value", expanded(value))})
	}
	for name, secret := range sorted(r.secrets()) {
		env = append(env, doc{pair("name", name), pair("valueFrom", doc{pair("secretKeyRef", doc{pair("name", secret), pair("key", "value")})})})
	}
	return env
}

// storage is the cluster's volume with models, as the task names it.
func (r Recipe) storage() *task.Storage {
	if k := r.Task.Serving.Kubernetes; k != nil {
		return k.Storage
	}
	return nil
}

// modelInPod is the model as the engine sees it in a pod: in the volume, where
// the launcher of the experiments has it.
func (r Recipe) modelInPod() string {
	if s := r.storage(); s != nil {
		return s.Model(r.plan.Model.ID)
	}
	return r.model().inside
}

// modelVolume is the volume that has the model, and where it is mounted; nil
// for a model that the engine fetches.
func (r Recipe) modelVolume() (volume, mount doc) {
	const name = "models"
	if s := r.storage(); s != nil {
		mount = doc{pair("name", name), pair("mountPath", s.MountPath), pair("readOnly", true)}
		if s.Subpath != "" {
			mount = append(mount, pair("subPath", s.Subpath))
		}
		return doc{pair("name", name), pair("persistentVolumeClaim", doc{pair("claimName", s.Name), pair("readOnly", true)})}, mount
	}
	m := r.model()
	if m.outside == "" {
		return nil, nil
	}
	kind := "Directory"
	if m.file {
		kind = "File"
	}
	return doc{pair("name", name), pair("hostPath", doc{pair("path", onNode(m.outside)), pair("type", kind)})},
		doc{pair("name", name), pair("mountPath", m.at), pair("readOnly", true)}
}

func (r Recipe) podMounts() []doc {
	mounts := []doc{{pair("name", "shm"), pair("mountPath", "/dev/shm")}, {pair("name", "cache"), pair("mountPath", cacheInside)}}
	if _, mount := r.modelVolume(); mount != nil {
		mounts = append(mounts, mount)
	}
	if _, ok := r.plan.File(); ok {
		mounts = append(mounts, doc{pair("name", "options"), pair("mountPath", optionsInside), pair("readOnly", true)})
	}
	return mounts
}

func (r Recipe) podVolumes() []doc {
	volumes := []doc{
		{pair("name", "shm"), pair("emptyDir", doc{pair("medium", "Memory"), pair("sizeLimit", sharedMemory)})},
		{pair("name", "cache"), pair("emptyDir", doc{})},
	}
	if volume, _ := r.modelVolume(); volume != nil {
		volumes = append(volumes, volume)
	}
	if _, ok := r.plan.File(); ok {
		volumes = append(volumes, doc{pair("name", "options"), pair("configMap", doc{pair("name", r.name())})})
	}
	return volumes
}

// onNode is a path of a node: those of a cluster are absolute.
func onNode(file string) string {
	if path.IsAbs(file) {
		return file
	}
	return path.Join("/models", file)
}
