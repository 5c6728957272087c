package recipe

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

// doc is a mapping whose keys are written in order.
type doc = yaml.MapSlice

func pair(key string, value any) yaml.MapItem { return yaml.MapItem{Key: key, Value: value} }

func (r Recipe) marshal(documents ...any) (string, error) {
	var b strings.Builder
	b.WriteString(r.header())
	for i, d := range documents {
		if i > 0 {
			b.WriteString("---\n")
		}
		data, err := yaml.MarshalWithOptions(d, yaml.IndentSequence(true), yaml.UseLiteralStyleIfMultiline(true))
		if err != nil {
			return "", fmt.Errorf("writing the configuration: %w", err)
		}
		b.Write(data)
	}
	return b.String(), nil
}

// container says what a container of the engine needs, or why there is none.
func (r Recipe) container() error {
	if r.image == "" {
		return fmt.Errorf("%w: no image of %s is known; name one in the task file: image: NAME", ErrImpossible, r.plan.Engine)
	}
	return nil
}

// compose is a Compose file with the devices that the engine needs.
func (r Recipe) compose() (string, error) {
	if err := r.container(); err != nil {
		return "", err
	}
	port := strconv.Itoa(r.Port)
	words := r.words(true)
	service := doc{pair("image", r.image), pair("entrypoint", words[:1]), pair("command", composed(words[1:]))}
	if env := r.variables(); len(env) > 0 {
		service = append(service, pair("environment", env))
	}
	volumes := []string{"huggingface:/root/.cache/huggingface"}
	if r.mounted() {
		volumes = append(volumes, r.modelFolder()+":"+mountPoint+":ro")
	}
	if file, ok := r.plan.File(); ok {
		service = append(service, pair("working_dir", "/etc/engine"))
		volumes = append(volumes, "./"+file.Name+":/etc/engine/"+file.Name+":ro")
	}
	service = append(service,
		pair("ports", []string{"127.0.0.1:" + port + ":" + port}),
		pair("volumes", volumes),
		pair("ipc", "host"), pair("shm_size", "16gb"),
		pair("ulimits", doc{pair("memlock", -1)}),
		pair("deploy", doc{pair("resources", doc{pair("reservations", doc{pair("devices", []doc{{
			pair("driver", "nvidia"), pair("count", r.plan.Devices()), pair("capabilities", []string{"gpu"})}})})})}),
		pair("restart", "unless-stopped"))
	return r.marshal(doc{pair("services", doc{pair(r.name(), service)}), pair("volumes", doc{pair("huggingface", nil)})})
}

// composed protects what Compose would take for a variable.
func composed(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strings.ReplaceAll(w, "$", "$$")
	}
	return out
}

// variables are those of a Compose service; secrets come from its own
// environment.
func (r Recipe) variables() doc {
	var env doc
	for name, value := range sorted(r.env()) {
		env = append(env, pair(name, strings.ReplaceAll(value, "$", "$$")))
	}
	for name := range sorted(r.secrets()) {
		env = append(env, pair(name, "${"+name+":?}"))
	}
	return env
}

// expandable protects what Kubernetes would take for a variable.
func expandable(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strings.ReplaceAll(w, "$(", "$$(")
	}
	return out
}

// modelFolder is where the model lies on the machine that will serve it.
func (r Recipe) modelFolder() string {
	if id := r.plan.Model.ID; path.IsAbs(id) {
		return id
	}
	return "./" + r.plan.Model.ID
}

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
	words := r.words(true)
	gpus := strconv.Itoa(r.plan.Devices())
	var env []doc
	for name, value := range sorted(r.env()) {
		env = append(env, doc{pair("name", name), pair("value", value)})
	}
	for name, secret := range sorted(r.secrets()) {
		env = append(env, doc{pair("name", name), pair("valueFrom", doc{pair("secretKeyRef", doc{pair("name", secret), pair("key", "value")})})})
	}
	mounts := []doc{{pair("name", "shm"), pair("mountPath", "/dev/shm")}, {pair("name", "cache"), pair("mountPath", "/root/.cache/huggingface")}}
	if k := r.Task.Serving.Kubernetes; k != nil && k.Storage != nil {
		mount := doc{pair("name", "models"), pair("mountPath", k.Storage.MountPath), pair("readOnly", true)}
		if k.Storage.Subpath != "" {
			mount = append(mount, pair("subPath", k.Storage.Subpath))
		}
		mounts = append(mounts, mount)
	} else if r.mounted() {
		mounts = append(mounts, doc{pair("name", "models"), pair("mountPath", mountPoint), pair("readOnly", true)})
	}
	c := doc{pair("name", "engine"), pair("image", r.image), pair("command", words[:1]), pair("args", expandable(words[1:]))}
	if len(env) > 0 {
		c = append(c, pair("env", env))
	}
	if _, ok := r.plan.File(); ok {
		c = append(c, pair("workingDir", "/etc/engine"))
		mounts = append(mounts, doc{pair("name", "options"), pair("mountPath", "/etc/engine"), pair("readOnly", true)})
	}
	probe := doc{pair("httpGet", doc{pair("path", "/health"), pair("port", "http")})}
	return append(c,
		pair("ports", []doc{{pair("name", "http"), pair("containerPort", r.Port)}}),
		pair("resources", doc{pair("requests", doc{pair("nvidia.com/gpu", gpus)}), pair("limits", doc{pair("nvidia.com/gpu", gpus)})}),
		pair("startupProbe", append(probe[:1:1], pair("periodSeconds", 6), pair("failureThreshold", 300))),
		pair("readinessProbe", append(probe[:1:1], pair("periodSeconds", 10))),
		pair("volumeMounts", mounts))
}

func (r Recipe) podVolumes() []doc {
	volumes := []doc{
		{pair("name", "shm"), pair("emptyDir", doc{pair("medium", "Memory"), pair("sizeLimit", sharedMemory)})},
		{pair("name", "cache"), pair("emptyDir", doc{})},
	}
	if k := r.Task.Serving.Kubernetes; k != nil && k.Storage != nil {
		volumes = append(volumes, doc{pair("name", "models"), pair("persistentVolumeClaim", doc{pair("claimName", k.Storage.Name), pair("readOnly", true)})})
	} else if r.mounted() {
		volumes = append(volumes, doc{pair("name", "models"), pair("hostPath", doc{pair("path", r.plan.Model.ID), pair("type", "Directory")})})
	}
	if _, ok := r.plan.File(); ok {
		volumes = append(volumes, doc{pair("name", "options"), pair("configMap", doc{pair("name", r.name())})})
	}
	return volumes
}

// scalar writes numbers as numbers.
func scalar(word string) any {
	if i, err := strconv.ParseInt(word, 10, 64); err == nil && strconv.FormatInt(i, 10) == word {
		return i
	}
	if f, err := strconv.ParseFloat(word, 64); err == nil && strconv.FormatFloat(f, 'f', -1, 64) == word {
		return f
	}
	return word
}
