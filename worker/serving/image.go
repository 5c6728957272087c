package serving

import (
	"strings"

	"github.com/fleetune/fleetune/shared/engine"
)

// images are those that the engines' makers publish.
func images() map[string]string {
	return map[string]string{
		engine.VLLM:     "docker.io/vllm/vllm-openai:latest",
		engine.SGLang:   "docker.io/lmsysorg/sglang:latest",
		engine.LlamaCpp: "ghcr.io/ggml-org/llama.cpp:server-cuda",
		engine.TensorRT: "nvcr.io/nvidia/tensorrt-llm/release:latest",
	}
}

// image is the task's image, or the engine's own, with the task's tag.
func (s *Staged) image() string {
	image := s.spec.Image
	if image == "" {
		image = images()[s.engine.Name()]
	}
	if s.spec.ImageTag == "" {
		return image
	}
	return retag(image, s.spec.ImageTag)
}

// retag replaces an image's tag or digest. A colon before the last slash is
// that of a registry's port.
func retag(image, tag string) string {
	name, _, _ := strings.Cut(image, "@")
	slash := strings.LastIndexByte(name, '/')
	if colon := strings.LastIndexByte(name, ':'); colon > slash {
		name = name[:colon]
	}
	return name + ":" + tag
}
