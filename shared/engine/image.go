package engine

import (
	"strings"

	"github.com/fleetune/fleetune/proto/task"
)

// images are those that the engines' makers publish at the registry that
// clients take where none is named. The others have to be named by the task.
func images() map[string]string {
	return map[string]string{VLLM: "vllm/vllm-openai:latest", SGLang: "lmsysorg/sglang:latest"}
}

// Image is the container image that a task asks for: its own or the engine's,
// with the task's tag. It is empty where neither is known.
func (e *Engine) Image(s *task.Serving) string {
	image := s.Image
	if image == "" {
		image = images()[e.Name()]
	}
	if s.ImageTag == "" || image == "" {
		return image
	}
	return retag(image, s.ImageTag)
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
