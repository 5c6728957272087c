package recipe

import (
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/fleetune/fleetune/proto/node"
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
	type model struct {
		Name, Repository, Tag, ModelURL string
		ReplicaCount, RequestGPU        int
		RequestGPUType                  string
		RequestCPU                      int
		RequestMemory, ShmSize          string
		Env                             []corev1.EnvVar
		ExtraVolumes                    []corev1.Volume
		ExtraVolumeMounts               []corev1.VolumeMount
		VllmConfig                      struct {
			TensorParallelSize  int
			EnablePrefixCaching bool
			ExtraArgs           []string
		}
	}
	read := func(r Recipe) (model, *string) {
		text, err := r.Write(Helm)
		require.NoError(t, err)
		var values struct {
			ServingEngineSpec struct {
				RuntimeClassName *string
				ModelSpec        []model
			}
		}
		require.NoError(t, yaml.UnmarshalStrict([]byte(text), &values))
		m := values.ServingEngineSpec.ModelSpec[0]
		for _, set := range []string{m.Name, m.Repository, m.Tag, m.ModelURL, m.RequestMemory} {
			require.NotEmpty(t, set)
		}
		require.Positive(t, m.ReplicaCount)
		require.Positive(t, m.RequestCPU)
		return m, values.ServingEngineSpec.RuntimeClassName
	}
	written := func(name string) (model, *string) { return read(recipes(t)[name]) }
	m, class := written("vllm")
	require.Nil(t, class, "the chart's own")
	require.Equal(t, 2, m.RequestGPU)
	require.Equal(t, 2, m.VllmConfig.TensorParallelSize)
	require.NotEmpty(t, m.ShmSize)
	require.True(t, m.VllmConfig.EnablePrefixCaching)
	require.NotContains(t, m.VllmConfig.ExtraArgs, "--tensor-parallel-size", "the chart writes it")
	require.Subset(t, m.VllmConfig.ExtraArgs, []string{"--max-num-seqs", "--served-model-name", "chat"})

	m, class = written("vllm-amd")
	require.Empty(t, *class, "the chart's own is NVIDIA's")
	require.Equal(t, "amd.com/gpu", m.RequestGPUType)
	require.Equal(t, 1, m.RequestGPU)
	require.True(t, m.VllmConfig.EnablePrefixCaching, "vLLM has it on, and the chart turns off what it is not told")
	require.Equal(t, m.ExtraVolumes[0].Name, m.ExtraVolumeMounts[0].Name)
	require.Equal(t, m.ModelURL, m.ExtraVolumeMounts[0].MountPath)

	uncached := recipes(t)["vllm"]
	uncached.Parameters["enable-prefix-caching"] = false
	uncached.Vendor = node.CPU
	m, class = read(uncached)
	require.Empty(t, *class)
	require.Zero(t, m.RequestGPU)
	require.False(t, m.VllmConfig.EnablePrefixCaching)
	require.NotContains(t, m.VllmConfig.ExtraArgs, "--no-enable-prefix-caching", "the chart writes it")
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
		words := slices.Concat(c.Command, c.Args)
		model := words[slices.Index(words, "--host")-1]
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
