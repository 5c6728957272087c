package recipe

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files anew")
	flag.Parse()
	os.Exit(m.Run())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if flag.Lookup("update").Value.String() == "true" {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "go test ./recipe -update writes it")
	require.Equal(t, string(want), got)
}

func recipe(t testing.TB, file string, point space.Point) Recipe {
	t.Helper()
	decoded, problems := task.Decode("task.yaml", []byte(file))
	require.NotNil(t, decoded, problems)
	return Recipe{Task: decoded, Parameters: point, Origin: "experiment 7 of " + decoded.Name}
}

func recipes(t testing.TB) map[string]Recipe {
	return map[string]Recipe{
		"vllm": recipe(t, `
task_name: chat
model: {id_or_path: meta-llama/Llama-3.1-8B-Instruct, hf_token: hub}
base_runtime: vllm
parameters: {max-num-seqs: [64, 256], enable-prefix-caching: [true, false]}
quant_config: {presets: [default, dynamic-fp8]}
parallel_config: {tp: [1, 2]}
env: {set: {NOTE: "it's $5 \"each\" 100%"}, secrets: {API_KEY: keys}}
env_parameters: {VLLM_ATTENTION_BACKEND: [FLASHINFER]}
benchmark: {model_name: chat}
`, space.Point{"max-num-seqs": int64(256), "enable-prefix-caching": true, "quant.preset": "dynamic-fp8", "parallel.tp": int64(2), "env.VLLM_ATTENTION_BACKEND": "FLASHINFER"}),
		"sglang": recipe(t, `
task_name: chat
model: llama-3-2-1b-instruct
base_runtime: sglang
runtime_image_tag: v0.5.2-cu126
deployment_mode: kubernetes
storage: {pvc_name: models, pvc_subpath: meta/x, mount_path: /raid/models}
node_selector: {gpu: h100}
parameters: {tp-size: [1, 4], mem-fraction-static: [0.8, 0.9]}
simulate: {gpu: h100-sxm}
`, space.Point{"tp-size": int64(4), "mem-fraction-static": 0.9}),
		"tensorrt": recipe(t, `
task_name: chat
model: org/model
base_runtime: tensorrt-llm
image: tensorrt-llm-release:1.0
parameters: {max_batch_size: [64]}
quant_config: {kvcache_dtype: fp8}
parallel_config: {tp: 2}
`, space.Point{"max_batch_size": int64(64), "quant.kvcache_dtype": "fp8", "parallel.tp": int64(2)}),
		"llama": recipe(t, `
task_name: chat
model: /models/m.gguf
base_runtime: llama.cpp
deployment_mode: local
program: [/opt/llama/bin/llama-server]
parameters: {parallel: [4], ubatch-size: [64, 512]}
`, space.Point{"parallel": int64(4), "ubatch-size": int64(64)}),
		"llama-cpu": placed(recipe(t, `
task_name: chat
model: tiny
base_runtime: llama.cpp
deployment_mode: local
parameters: {parallel: [4]}
resources: {accelerator: cpu}
`, space.Point{"parallel": int64(4)}), "llama-server:b9999", "cpu", "/srv/models/tiny/q4-00001-of-00002.gguf"),
		"vllm-amd": placed(recipe(t, `
task_name: chat
model: tiny
base_runtime: vllm
parameters: {max-num-seqs: [64]}
`, space.Point{"max-num-seqs": int64(64)}), "vllm-rocm", "amd", ""),
		"llama-file": placed(recipe(t, `
task_name: chat
model: /models/m.gguf
base_runtime: llama.cpp
deployment_mode: local
parameters: {parallel: [4]}
`, space.Point{"parallel": int64(4)}), "llama-server@sha256:0123", "", ""),
	}
}

// placed says on what the experiment ran, and names an image.
func placed(r Recipe, image, vendor, model string) Recipe {
	r.Image, r.Vendor, r.ModelPath = image, vendor, model
	return r
}

// Every engine in every form, as it is written down; YAML is YAML, and a
// script is one.
func TestFormats(t *testing.T) {
	for name, r := range recipes(t) {
		for _, f := range Formats() {
			t.Run(name+"/"+string(f), func(t *testing.T) {
				text, err := r.Write(f)
				if err != nil {
					require.True(t, errors.Is(err, ErrImpossible) || errors.Is(err, ErrImage))
					golden(t, name+"-"+string(f)+".error", err.Error()+"\n")
					return
				}
				golden(t, name+"-"+f.File(), text)
				require.Contains(t, text, r.Origin)
				if strings.HasSuffix(f.File(), ".yaml") {
					d := yaml.NewDecoder(strings.NewReader(text))
					var first map[string]any
					require.NoError(t, d.Decode(&first))
				}
				if f == Command {
					check := exec.Command("sh", "-n")
					check.Stdin = strings.NewReader(text)
					out, err := check.CombinedOutput()
					require.NoError(t, err, string(out))
				}
			})
		}
	}
}

// What the script sets reaches a program as it was meant, whatever it holds.
func TestShellKeepsValues(t *testing.T) {
	r := recipes(t)["vllm"]
	r.Task.Serving.Program = []string{"/usr/bin/env", "printenv", "NOTE", ";"}
	text, err := r.Write(Command)
	require.NoError(t, err)
	line := text[:strings.LastIndex(text, "exec ")] + `printf %s "$NOTE"`
	out, err := exec.Command("sh", "-c", line).Output()
	require.NoError(t, err)
	require.Equal(t, `it's $5 "each" 100%`, string(out))
}

// No form holds a secret's value, and a rehearsal says that it was one.
func TestHonestAndDiscreet(t *testing.T) {
	r := recipes(t)["sglang"]
	text, err := r.Write(Kubernetes)
	require.NoError(t, err)
	require.Contains(t, text, "simulated h100-sxm")
	_, err = r.Write("zip")
	require.ErrorIs(t, err, ErrFormat)
	r.Task.Serving.Endpoint = &task.Endpoint{URL: "http://x"}
	_, err = r.Write(Command)
	require.ErrorIs(t, err, ErrImpossible)
}
