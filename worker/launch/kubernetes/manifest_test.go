package kubernetes

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/worker/launch"
	"github.com/fleetune/fleetune/worker/serving/testengine"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kjson "k8s.io/apimachinery/pkg/util/json"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) {
	testengine.Main()
	goleak.VerifyTestMain(m)
}

func golden(t *testing.T, name string, got any) {
	t.Helper()
	text, err := json.MarshalIndent(got, "", "  ")
	require.NoError(t, err)
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, append(text, '\n'), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(text)+"\n")
}

func spec() launch.Spec {
	return launch.Spec{
		Tag: "fleetune-0b51a1d0-0000-4000-8000-000000000001-3", Name: "team-Llama 3 tune-exp12", Dir: "launch-1", Image: "vllm/vllm-openai:v0.11.0",
		Model: launch.Model{ID: "meta-llama/Llama-3.2-1B-Instruct"}, Env: map[string]string{"VLLM_USE_V1": "1"},
		Secrets: map[string]string{"HF_TOKEN": "hidden"}, Accelerators: 2,
		Devices: []node.Device{{ID: "GPU-1", Vendor: "nvidia"}},
		Kubernetes: &task.Kubernetes{Namespace: "tuning", NodeSelector: map[string]string{"gpu": "h100"},
			Storage: &task.Storage{Type: "pvc", Name: "models", Subpath: "meta/x", MountPath: "/raid/models/meta/x"}},
		File: &launch.File{Name: "options.yaml", Content: "a: 1\n"},
		Command: func(p launch.Place) []string {
			return []string{"python3", "-m", "vllm.entrypoints.openai.api_server", "--model", p.ModelPath, "--host", p.Host, "--port", "8000", "--config", p.File, "--max-num-seqs", "64"}
		},
	}
}

func testLauncher() *Launcher {
	return &Launcher{Config: Config{Worker: "w_1", Namespace: "default", Lifetime: time.Hour}}
}

func TestManifests(t *testing.T) {
	m := testLauncher().manifests(spec())
	golden(t, "job.json", m.job(spec(), time.Hour).Object)
	golden(t, "secret.json", m.secret(spec()).Object)
	golden(t, "configmap.json", m.config(spec()).Object)
	text, err := json.Marshal(m.job(spec(), time.Hour).Object)
	require.NoError(t, err)
	require.NotContains(t, string(text), "hidden")
}

// What a cluster needs of every pod is in each; what the engine needs wins.
func TestPodsOfACluster(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pod.yaml")
	require.NoError(t, os.WriteFile(file, []byte(`
tolerations: [{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]
imagePullSecrets: [{name: registry}]
nodeSelector: {zone: a, gpu: any}
restartPolicy: Always
volumes: [{name: compiled, hostPath: {path: /var/cache/vllm}}]
containers:
- name: engine
  env: [{name: HTTPS_PROXY, value: "http://proxy:3128"}]
  resources: {requests: {cpu: "8"}, limits: {memory: 200Gi}}
  volumeMounts: [{name: compiled, mountPath: /root/.cache/vllm}]
- name: watch
  image: watcher
`), 0o600))
	pod, err := ReadPod(file)
	require.NoError(t, err)
	l := testLauncher()
	l.Pod = pod
	m := l.manifests(spec())
	golden(t, "job-of-a-cluster.json", m.job(spec(), time.Hour).Object)
	again := m.job(spec(), time.Hour)
	golden(t, "job-of-a-cluster.json", again.Object) // nothing is written into what all share

	require.NoError(t, os.WriteFile(file, []byte("toleration: []\n"), 0o600))
	_, err = ReadPod(file)
	require.ErrorContains(t, err, `unknown field "toleration"`)
	_, err = ReadPod(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// OME runs the tuned arguments, not only the number of devices.
func TestInferenceService(t *testing.T) {
	s := spec()
	s.Kubernetes.OME = true
	s.Kubernetes.Runtime = json.RawMessage(`{"name": "vllm-small", "spec": {"a": 1}, "overrides": {"b": 2}, "labels": {"mine": "yes"}}`)
	m := testLauncher().manifests(s)
	service, err := m.inferenceService(s)
	require.NoError(t, err)
	golden(t, "inferenceservice.json", service.Object)
	runtime, err := named(s.Kubernetes.Runtime)
	require.NoError(t, err)
	golden(t, "servingruntime.json", runtime.shared("ClusterServingRuntime").Object)
	s.Kubernetes.BaseModel = json.RawMessage(`[]`)
	_, err = m.inferenceService(s)
	require.ErrorContains(t, err, "clusterbasemodel_config")
}

func TestModelPath(t *testing.T) {
	s := spec()
	require.Equal(t, "/raid/models/meta/x", modelPath(s))
	s.Kubernetes.Storage.Subpath = ""
	require.Equal(t, "/raid/models/meta/x/meta-llama/Llama-3.2-1B-Instruct", modelPath(s))
	s.Kubernetes.Storage = nil
	require.Equal(t, s.Model.ID, modelPath(s))
}

var (
	dns        = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)
	labelValue = regexp.MustCompile(`^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$`)
)

// Whatever people call their tasks, the cluster accepts the names, and two
// launches never share one.
func TestNamesAreLegal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := launch.Spec{Name: rapid.String().Draw(t, "name"), Tag: rapid.String().Draw(t, "tag"), Dir: "1"}
		one := objectName(s)
		if !dns.MatchString(one) {
			t.Fatalf("%q is no name", one)
		}
		if v := label(s.Name); !labelValue.MatchString(v) {
			t.Fatalf("%q is no label", v)
		}
		s.Dir = "2"
		if objectName(s) == one {
			t.Fatal("two launches share a name")
		}
	})
}

func TestStanding(t *testing.T) {
	for name, c := range map[string]struct {
		pod     string
		why     string
		started bool
		failed  string
	}{
		"new":           {`{"status": {"phase": "Pending"}}`, "Pending", false, ""},
		"unschedulable": {`{"status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes: insufficient nvidia.com/gpu"}]}}`, "Unschedulable: 0/3 nodes: insufficient nvidia.com/gpu", false, ""},
		"pulling":       {`{"status": {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}}`, "Pending ContainerCreating", false, ""},
		"no image":      {`{"status": {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}}]}}`, "", false, "ImagePullBackOff: no such tag"},
		"running":       {`{"status": {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}}`, "", true, ""},
		"ended":         {`{"status": {"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}}`, "", true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			pod := decode(t, c.pod)
			why, started, err := standing(pod)
			if c.failed != "" {
				require.ErrorIs(t, err, ErrStart)
				require.ErrorContains(t, err, c.failed)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.why, why)
			require.Equal(t, c.started, started)
			end, over := endOf(pod)
			require.Equal(t, name == "ended", over)
			if over {
				require.Equal(t, launch.End{Code: 137, Signal: "signal 9", OOM: true}, end)
			}
		})
	}
}

func TestNoClusterIsConfigured(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	_, err := New(Config{})
	require.ErrorIs(t, err, ErrNone)
	_, err = New(Config{Kubeconfig: "/no/such/file"})
	require.ErrorContains(t, err, "/no/such/file")
	require.NotContains(t, err.Error(), "\n")
}

func decode(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	require.NoError(t, kjson.Unmarshal([]byte(text), &o.Object))
	return o
}

// An engine that the cluster took away is the place's failure, not its own.
func TestEndsOfPods(t *testing.T) {
	pod := func(status object) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: object{"status": status}}
	}
	end, over := endOf(pod(object{"phase": "Failed", "reason": "Evicted", "message": "low on memory"}))
	require.True(t, over)
	require.Equal(t, launch.End{Code: -1, Lost: "the cluster ended its pod Evicted low on memory"}, end)
	_, over = endOf(pod(object{"phase": "Running"}))
	require.False(t, over)
	end, over = endOf(pod(object{"phase": "Failed", "containerStatuses": []any{
		object{"name": "aside", "state": object{"running": object{}}},
		object{"name": "engine", "state": object{"terminated": object{"exitCode": int64(137), "reason": "OOMKilled"}}}}}))
	require.True(t, over)
	require.Equal(t, launch.End{Code: 137, Signal: "signal 9", OOM: true}, end)
}
