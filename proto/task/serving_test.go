package task

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Files of other tools use names that are none here: they are adapted and the
// user is told.
func TestNamesOfOtherTools(t *testing.T) {
	decoded, problems := Decode("task.yaml", []byte(`
task_name: My_Task 7
model: {id_or_path: m}
base_runtime: vllm
parameters: {--max-num-seqs: [1, 2]}
`))
	require.NotNil(t, decoded, problems)
	require.Equal(t, "my-task-7", decoded.Name)
	require.Equal(t, "max-num-seqs", decoded.Space.Parameters[0].Name)
	require.Len(t, problems, 1)
	require.Equal(t, Warning, problems[0].Severity)
	require.Equal(t, "task_name", problems[0].Field)

	decoded, _ = Decode("task.yaml", []byte("task_name: My_Task\nparameters: {a: [1]}\nnoop: true\n"))
	require.Nil(t, decoded, "only files of serving tasks are adapted")
}

// The cells are scenarios × concurrencies, the concurrency varying fastest.
func TestCells(t *testing.T) {
	b := Benchmark{Scenarios: []string{"D(1,2)", "D(3,4)"}, Concurrency: []int{1, 8}}
	require.Equal(t, []Cell{{"D(1,2)", 1}, {"D(1,2)", 8}, {"D(3,4)", 1}, {"D(3,4)", 8}}, b.Cells())
}

// A worker must have every secret that an experiment resolves.
func TestServingNeedsItsSecrets(t *testing.T) {
	decoded, problems := Decode("task.yaml", []byte(`
task_name: a
model: [{id_or_path: m, hf_token: hub}, {id_or_path: n, hf_token: other}]
base_runtime: vllm
parameters: {}
env: {secrets: {HF_TOKEN: hub}}
benchmark: {dataset_url: "https://example.com/a.csv", dataset_token: data}
`))
	require.NotNil(t, decoded, problems)
	require.Equal(t, []string{"data", "hub", "other"}, decoded.Needs().Secrets)
	require.Equal(t, KindServing, decoded.Needs().Kind)
	require.Equal(t, ParameterModel, decoded.Space.Parameters[0].Name)
	require.Equal(t, "n", decoded.Serving.Model(map[string]any{"model": "n"}).ID)
}

// A pod sees a model of a volume below its mount: by its own path, as the only
// one that is mounted, or by its name.
func TestModelOfAVolume(t *testing.T) {
	for _, c := range []struct{ mount, subpath, id, want string }{
		{"/raid/models", "", "org/name", "/raid/models/org/name"},
		{"/raid/models", "meta/x", "org/name", "/raid/models"},
		{"/raid/models/", "", "/raid/models/a/m.gguf", "/raid/models/a/m.gguf"},
		{"/raid/models", "meta/x", "/raid/models/m.gguf", "/raid/models/m.gguf"},
		{"/raid/models", "", "/raid/models", "/raid/models"},
		{"/raid/models", "", "/raid/models-2/a", "/raid/models"},
		{"/raid/models", "", "/elsewhere/x", "/raid/models"},
	} {
		s := Storage{MountPath: c.mount, Subpath: c.subpath}
		require.Equal(t, c.want, s.Model(c.id), "%+v", c)
	}
}
