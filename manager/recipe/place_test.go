package recipe

import (
	"testing"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/stretchr/testify/require"
)

// small is a recipe of vLLM with further lines of its task.
func small(t *testing.T, lines string) Recipe {
	t.Helper()
	return recipe(t, "task_name: a\nmodel: org/m\nbase_runtime: vllm\nparameters: {max-num-seqs: [1]}\n"+lines+"\n", space.Point{"max-num-seqs": int64(1)})
}

// The kind of device is what the task insists on, then the experiment's; a
// rehearsal's is that of the hardware it stands for.
func TestVendor(t *testing.T) {
	for _, test := range []struct{ task, held, want string }{
		{"", "", nvidia},
		{"", node.CPU, node.CPU},
		{"", amd, amd},
		{"resources: {accelerator: cpu}", "", node.CPU},
		{"resources: {accelerator: AMD}", "", amd},
		{"resources: {accelerator: mi300x}", "", amd},
		{"resources: {accelerator: h100}", "", nvidia},
		{"resources: {accelerator: gpu}", "", nvidia},
		{"resources: {accelerator: gpu}", amd, amd},
		{"simulate: {gpu: h100-sxm}", node.CPU, nvidia},
		{"simulate: {gpu: mi300x}\nresources: {accelerator: cpu}", node.CPU, amd},
	} {
		r := small(t, test.task)
		r.Vendor = test.held
		require.Equal(t, test.want, r.vendor(), "%+v", test)
	}
}

// What needs no device of a maker asks for none of it, in no form.
func TestNoDevicesOfOthers(t *testing.T) {
	for vendor, others := range map[string][]string{
		node.CPU: {nvidia, "amd.com", "/dev/kfd"}, amd: {nvidia}, nvidia: {"amd.com", "/dev/kfd"},
	} {
		r := small(t, "parallel_config: {tp: 1}")
		r.Vendor, r.Image = vendor, "mine:1"
		for _, f := range Formats() {
			text, err := r.Write(f)
			require.NoError(t, err)
			for _, other := range others {
				require.NotContains(t, text, other, "%s as %s", vendor, f)
			}
		}
	}
}

// An image is the one that is asked for, the task's, that which ran, or that
// of the engine's makers where it fits the devices.
func TestImage(t *testing.T) {
	for _, test := range []struct{ task, asked, want string }{
		{"", "", "vllm/vllm-openai:latest"},
		{"", "mine:1", "mine:1"},
		{"image: own:2", "", "own:2"},
		{"image: own:2", "mine:1", "mine:1"},
		{"deployment_mode: local\nresources: {accelerator: cpu}", "", ""},
		{"deployment_mode: local\nresources: {accelerator: cpu}", "mine:1", "mine:1"},
		{"deployment_mode: docker\nresources: {accelerator: amd}", "", "vllm/vllm-openai:latest"}, // it ran in that
		{"deployment_mode: docker\nsimulate: {gpu: mi300x}", "", ""},                              // and here nothing did
	} {
		r := small(t, test.task)
		r.Image = test.asked
		text, err := r.Write(Compose)
		if test.want == "" {
			require.ErrorIs(t, err, ErrImage, "%+v", test)
			continue
		}
		require.NoError(t, err)
		require.Contains(t, text, "image: "+test.want+"\n", "%+v", test)
	}
}

// What a worker keeps of a hub is not named: its files are links that lead out
// of what a container would be shown. A folder that people filled is.
func TestModelOfAHub(t *testing.T) {
	r := small(t, "")
	r.ModelPath = "/root/.cache/huggingface/hub/models--org--m/snapshots/0123"
	for _, f := range []Format{Command, Compose, Kubernetes, Config} {
		text, err := r.Write(f)
		require.NoError(t, err)
		require.Contains(t, text, "org/m")
		require.NotContains(t, text, r.ModelPath)
	}
	r.ModelPath = "/srv/models/org/m"
	text, err := r.Write(Compose)
	require.NoError(t, err)
	require.Contains(t, text, "/srv/models/org/m:/model:ro\n")
	require.Contains(t, text, "- --served-model-name\n      - org/m\n", "requests name it as before")
}

// A program that the task names is the image's where the engine ran in one, and
// the machine's where it did not.
func TestProgramInContainers(t *testing.T) {
	for mode, want := range map[string]bool{"docker": true, "kubernetes": true, "local": false} {
		r := small(t, "deployment_mode: "+mode+"\nprogram: [/opt/vllm/bin/python]")
		text, err := r.Write(Compose)
		require.NoError(t, err)
		if want {
			require.Contains(t, text, "/opt/vllm/bin/python", mode)
		} else {
			require.NotContains(t, text, "/opt/vllm/bin/python", mode)
		}
	}
}

// A GGUF file of a volume is named by its path there.
func TestFileOfAVolume(t *testing.T) {
	r := recipe(t, `
task_name: chat
model: /models/tiny/m-Q4_K_M.gguf
base_runtime: llama.cpp
deployment_mode: kubernetes
image: llama:server
parameters: {threads: [8]}
storage: {pvc_name: models, mount_path: /models}
`, space.Point{"threads": int64(8)})
	for _, f := range []Format{Kubernetes, Helm} {
		text, err := r.Write(f)
		require.NoError(t, err)
		require.Contains(t, text, "- /models/tiny/m-Q4_K_M.gguf\n")
		require.NotContains(t, text, "hostPath")
	}
}
