// Package model finds out the shape of a model for the simulated engine: from
// what it is handed, from a config.json beside the weights, or from the names of
// well-known models, whose published shapes it has.
package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/engine"
)

// ErrUnknown says that nothing tells the shape of a model.
var ErrUnknown = errors.New("the model's shape is unknown")

// Find returns the shape of a model: the given one, that of the folder's
// config.json, or that of a well-known model of that name.
func Find(model string, given *task.Architecture) (task.Architecture, error) {
	if given != nil && given.Layers > 0 {
		return *given, nil
	}
	config, err := os.ReadFile(filepath.Join(model, "config.json"))
	if err == nil {
		return engine.ParseConfig(config)
	}
	if a, ok := Known(model); ok {
		return a, nil
	}
	return task.Architecture{}, fmt.Errorf("%w: %q has no config.json here, and is no well-known model", ErrUnknown, model)
}

// Read decodes an architecture: Fleetune's own JSON, or a model's config.json.
// The text is the JSON itself or the name of a file.
func Read(text string) (*task.Architecture, error) {
	data := []byte(text)
	if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		var err error
		if data, err = os.ReadFile(text); err != nil {
			return nil, fmt.Errorf("reading the architecture: %w", err)
		}
	}
	var own task.Architecture
	if err := json.Unmarshal(data, &own); err == nil && own.Layers > 0 {
		return &own, nil
	}
	parsed, err := engine.ParseConfig(data)
	if err != nil {
		return nil, fmt.Errorf("reading the architecture: %w", err)
	}
	return &parsed, nil
}

// Known returns the shape of a well-known model by its name: a hub id or the
// name of a folder, in any case, with dots or dashes.
func Known(name string) (task.Architecture, bool) {
	name = strings.ReplaceAll(strings.ToLower(filepath.Base(name)), ".", "-")
	var best task.Architecture
	for _, a := range known() {
		if strings.Contains(name, a.Name) && len(a.Name) > len(best.Name) {
			best = a
		}
	}
	if best.Name == "" {
		return best, false
	}
	for method, bits := range map[string]int{"fp8": 8, "awq": 4, "gptq": 4, "int4": 4, "w4a16": 4, "nvfp4": 4} {
		if strings.Contains(name, "-"+method) {
			best.QuantMethod, best.QuantBits = method, bits
		}
	}
	return best, true
}

// known lists well-known models. Shapes are those of their config.json.
func known() []task.Architecture {
	dense := func(name string, layers, hidden, inner, heads, kv, size, words int, tied bool, length int) task.Architecture {
		return task.Architecture{Name: name, Layers: layers, Hidden: hidden, Intermediate: inner, Heads: heads, KVHeads: kv, HeadDim: size,
			Vocabulary: words, TiedEmbeddings: tied, MaxPositions: length, DType: "bfloat16"}
	}
	mixtral := dense("mixtral-8x7b", 32, 4096, 14336, 32, 8, 128, 32000, false, 32768)
	mixtral.Experts, mixtral.ExpertsPerToken, mixtral.MoEIntermediate = 8, 2, 14336
	qwenMoE := dense("qwen3-30b-a3b", 48, 2048, 6144, 32, 4, 128, 151936, false, 40960)
	qwenMoE.Experts, qwenMoE.ExpertsPerToken, qwenMoE.MoEIntermediate = 128, 8, 768
	deepSeek := dense("deepseek-v3", 61, 7168, 18432, 128, 128, 128, 129280, false, 163840)
	deepSeek.Experts, deepSeek.ExpertsPerToken, deepSeek.SharedExperts, deepSeek.MoEIntermediate, deepSeek.DenseLayers = 256, 8, 1, 2048, 3
	deepSeek.KVLoraRank, deepSeek.RopeHeadDim, deepSeek.QLoraRank, deepSeek.VHeadDim = 512, 64, 1536, 128
	deepSeek.QuantMethod, deepSeek.QuantBits = "fp8", 8
	reasoner := deepSeek
	reasoner.Name = "deepseek-r1"
	return []task.Architecture{
		dense("llama-2-7b", 32, 4096, 11008, 32, 32, 128, 32000, false, 4096),
		dense("llama-2-13b", 40, 5120, 13824, 40, 40, 128, 32000, false, 4096),
		dense("llama-2-70b", 80, 8192, 28672, 64, 8, 128, 32000, false, 4096),
		dense("llama-3-8b", 32, 4096, 14336, 32, 8, 128, 128256, false, 8192),
		dense("llama-3-70b", 80, 8192, 28672, 64, 8, 128, 128256, false, 8192),
		dense("llama-3-1-8b", 32, 4096, 14336, 32, 8, 128, 128256, false, 131072),
		dense("llama-3-1-70b", 80, 8192, 28672, 64, 8, 128, 128256, false, 131072),
		dense("llama-3-3-70b", 80, 8192, 28672, 64, 8, 128, 128256, false, 131072),
		dense("llama-3-1-405b", 126, 16384, 53248, 128, 8, 128, 128256, false, 131072),
		dense("llama-3-2-1b", 16, 2048, 8192, 32, 8, 64, 128256, true, 131072),
		dense("llama-3-2-3b", 28, 3072, 8192, 24, 8, 128, 128256, true, 131072),
		dense("mistral-7b", 32, 4096, 14336, 32, 8, 128, 32768, false, 32768),
		dense("qwen2-7b", 28, 3584, 18944, 28, 4, 128, 152064, false, 32768),
		dense("qwen2-72b", 80, 8192, 29568, 64, 8, 128, 152064, false, 32768),
		dense("qwen2-5-0-5b", 24, 896, 4864, 14, 2, 64, 151936, true, 32768),
		dense("qwen2-5-1-5b", 28, 1536, 8960, 12, 2, 128, 151936, true, 32768),
		dense("qwen2-5-3b", 36, 2048, 11008, 16, 2, 128, 151936, true, 32768),
		dense("qwen2-5-7b", 28, 3584, 18944, 28, 4, 128, 152064, false, 32768),
		dense("qwen2-5-14b", 48, 5120, 13824, 40, 8, 128, 152064, false, 32768),
		dense("qwen2-5-32b", 64, 5120, 27648, 40, 8, 128, 152064, false, 32768),
		dense("qwen2-5-72b", 80, 8192, 29568, 64, 8, 128, 152064, false, 32768),
		dense("qwen3-0-6b", 28, 1024, 3072, 16, 8, 128, 151936, true, 40960),
		dense("qwen3-8b", 36, 4096, 12288, 32, 8, 128, 151936, false, 40960),
		dense("qwen3-32b", 64, 5120, 25600, 64, 8, 128, 151936, false, 40960),
		mixtral, qwenMoE, deepSeek, reasoner,
	}
}
