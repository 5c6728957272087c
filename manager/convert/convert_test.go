package convert

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetune/fleetune/proto/task"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files anew")
	flag.Parse()
	os.Exit(m.Run())
}

func nothing(string) (string, bool) { return "", false }

// Studies become task files that are valid, with what they could not say.
func TestStudies(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			result, err := Study(data, nothing)
			require.NoError(t, err)
			got := result.Task + "# notes\n# " + strings.Join(result.Notes, "\n# ") + "\n"
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if flag.Lookup("update").Value.String() == "true" {
				require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), got)
			decoded, problems := task.Decode("task.yaml", []byte(result.Task))
			require.NotNil(t, decoded, problems)
		})
	}
}

func TestVariables(t *testing.T) {
	look := func(name string) (string, bool) { return "org/other", name == "MODEL_NAME" }
	data, err := os.ReadFile("testdata/local.yaml")
	require.NoError(t, err)
	result, err := Study(data, look)
	require.NoError(t, err)
	require.Contains(t, result.Task, "org/other")
}

func TestWhatIsNoStudy(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "it lacks optimization, benchmark, parameters",
		"[1]":                               "line 1, column 1: sequence was used where mapping is expected",
		"a: b":                              "it lacks optimization, benchmark, parameters",
		"optimization: {}\nbenchmark: {}\n": "it lacks parameters, benchmark.model",
		"{{":                                "line 1, column",
		"optimization: {n_trials: x}\nbenchmark: {}\nparameters: {}":                                        "line 1, column 26: is a text; expected a whole number",
		"optimization: {}\nbenchmark: {model: m}\nparameters: {max_num_seqs: {min: 9, max: 1}}":             "\n  parameters.max-num-seqs.low: low 9 is above high 1",
		"task_name: t\nbase_runtime: vllm\nmodel: m\nparameters: {}\noptimization: {}\nbenchmark: {}\n":     "fleetune submit takes it as it is",
		"optimization: {n_trials: 3000000}\nbenchmark: {model: secret}\nparameters: {max_num_seqs: [1, 2]}": "optimization.max_iterations: is 3000000; expected a number from 1 to 1000000",
	} {
		_, err := Study([]byte(text), nothing)
		require.ErrorIs(t, err, ErrNotAStudy, text)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "secret", "what is wrong is said, and not the whole text")
	}
}

func FuzzStudy(f *testing.F) {
	for _, name := range []string{"local", "kubernetes"} {
		data, err := os.ReadFile("testdata/" + name + ".yaml")
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		result, err := Study(data, nothing)
		if err != nil {
			return
		}
		decoded, problems := task.Decode("task.yaml", []byte(result.Task))
		require.NotNil(t, decoded, problems)
	})
}
