package recipe

import (
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/fleetune/fleetune/shared/engine"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// Every manifest has the fields of Kubernetes' own types and no others, and
// its parts fit together.
func TestManifestsAreThoseOfKubernetes(t *testing.T) {
	for name, r := range recipes(t) {
		if name == "llama" {
			continue // it has no image
		}
		t.Run(name, func(t *testing.T) {
			text, err := r.Write(Kubernetes)
			require.NoError(t, err)
			var deployment appsv1.Deployment
			var service corev1.Service
			documents := strings.Split(text, "\n---\n")
			require.GreaterOrEqual(t, len(documents), 2)
			require.NoError(t, yaml.UnmarshalStrict([]byte(documents[0]), &deployment))
			require.NoError(t, yaml.UnmarshalStrict([]byte(documents[1]), &service))
			for _, other := range documents[2:] {
				require.NoError(t, yaml.UnmarshalStrict([]byte(other), &corev1.ConfigMap{}))
			}
			labels := deployment.Spec.Template.Labels
			require.NotEmpty(t, labels)
			require.Equal(t, deployment.Spec.Selector.MatchLabels, labels)
			require.Equal(t, service.Spec.Selector, labels)
			pod := deployment.Spec.Template.Spec
			volumes := map[string]bool{}
			for _, v := range pod.Volumes {
				volumes[v.Name] = true
			}
			for _, c := range pod.Containers {
				require.NotEmpty(t, c.Image)
				ports := map[string]bool{}
				for _, p := range c.Ports {
					ports[p.Name] = true
				}
				require.True(t, ports[service.Spec.Ports[0].TargetPort.StrVal], "the service's port is the container's")
				for _, m := range c.VolumeMounts {
					require.True(t, volumes[m.Name], "volume %s", m.Name)
				}
				for _, name := range []corev1.ResourceName{"nvidia.com/gpu", "amd.com/gpu"} {
					gpus := c.Resources.Limits[name]
					require.Equal(t, string(name) == r.resource(), gpus.Value() > 0, name)
				}
			}
		})
	}
}

// The chart of vLLM's production stack refuses values without these, and mounts
// shared memory where it knows the degree of tensor parallelism.
func TestValuesAreThoseOfTheProductionStack(t *testing.T) {
	text, err := recipes(t)["vllm"].Write(Helm)
	require.NoError(t, err)
	var values struct {
		ServingEngineSpec struct {
			ModelSpec []struct {
				Name, Repository, Tag, ModelURL string
				ReplicaCount, RequestGPU        int
				RequestCPU                      int
				RequestMemory, ShmSize          string
				Env                             []corev1.EnvVar
				VllmConfig                      struct {
					TensorParallelSize int
					ExtraArgs          []string
				}
			}
		}
	}
	require.NoError(t, yaml.UnmarshalStrict([]byte(text), &values))
	m := values.ServingEngineSpec.ModelSpec[0]
	for _, set := range []string{m.Name, m.Repository, m.Tag, m.ModelURL, m.RequestMemory, m.ShmSize} {
		require.NotEmpty(t, set)
	}
	require.Positive(t, m.ReplicaCount)
	require.Positive(t, m.RequestCPU)
	require.Equal(t, 2, m.RequestGPU)
	require.Equal(t, 2, m.VllmConfig.TensorParallelSize)
	require.NotContains(t, m.VllmConfig.ExtraArgs, "--tensor-parallel-size", "the chart writes it")
	require.Contains(t, m.VllmConfig.ExtraArgs, "--max-num-seqs")
}

// The model that the engine is told is one that the container sees.
func TestModelIsWhereTheEngineLooks(t *testing.T) {
	for name, r := range recipes(t) {
		if name == "llama" {
			continue
		}
		text, err := r.Write(Kubernetes)
		require.NoError(t, err)
		var deployment appsv1.Deployment
		require.NoError(t, yaml.Unmarshal([]byte(strings.Split(text, "\n---\n")[0]), &deployment))
		c := deployment.Spec.Template.Spec.Containers[0]
		model := engine.ModelIn(append(c.Command, c.Args...))
		if !strings.HasPrefix(model, "/") {
			require.Contains(t, model, "/", "%s: the hub has it", name)
			continue
		}
		require.True(t, slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
			return model == m.MountPath || strings.HasPrefix(model, m.MountPath+"/")
		}), "%s: %s is in no volume", name, model)
	}
}

// Every Compose file keeps the schema of the Compose specification; whether a
// variable is set is for the machine that runs it.
func TestComposeFilesAreThoseOfTheSpecification(t *testing.T) {
	for name, r := range recipes(t) {
		if name == "llama" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			text, err := r.Write(Compose)
			require.NoError(t, err)
			project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{WorkingDir: t.TempDir(),
				ConfigFiles: []types.ConfigFile{{Filename: "compose.yaml", Content: []byte(text)}},
				Environment: types.Mapping{"API_KEY": "a", "HF_TOKEN": "b"}},
				func(o *loader.Options) { o.SetProjectName("test", true) })
			require.NoError(t, err)
			require.Len(t, project.Services, 1)
			service := project.Services[r.name()]
			require.NotEmpty(t, service.Image)
			reserved := service.Deploy != nil && len(service.Deploy.Resources.Reservations.Devices) > 0
			require.Equal(t, r.vendor() == nvidia, reserved)
			require.Equal(t, r.vendor() == amd, len(service.Devices) > 0)
			for name, value := range r.env() {
				require.Equal(t, value, *service.Environment[name], "what the file escapes is what the engine gets")
			}
		})
	}
}
