package engine

import (
	"testing"

	"github.com/fleetune/fleetune/proto/task"
	"github.com/stretchr/testify/require"
)

func TestImage(t *testing.T) {
	for _, c := range []struct{ runtime, image, tag, want string }{
		{"vllm", "", "", "vllm/vllm-openai:latest"},
		{"sglang", "", "v0.5.2-cu126", "lmsysorg/sglang:v0.5.2-cu126"},
		{"vllm", "localhost:5000/mine", "x", "localhost:5000/mine:x"},
		{"vllm", "mine@sha256:00", "x", "mine:x"},
		{"vllm", "mine:1", "", "mine:1"},
		{"llama.cpp", "", "x", ""},
	} {
		e, err := Lookup(c.runtime)
		require.NoError(t, err)
		require.Equal(t, c.want, e.Image(&task.Serving{Image: c.image, ImageTag: c.tag}))
	}
}
