package model

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/proto/task"
)

func TestWellKnownModelsAreFoundByTheirNames(t *testing.T) {
	for name, want := range map[string]string{
		"meta-llama/Llama-3.1-8B-Instruct":      "llama-3-1-8b",
		"llama-3-2-1b-instruct":                 "llama-3-2-1b",
		"/models/Meta-Llama-3-8B":               "llama-3-8b",
		"Qwen/Qwen2.5-7B-Instruct-AWQ":          "qwen2-5-7b",
		"Qwen/Qwen2.5-72B":                      "qwen2-5-72b",
		"deepseek-ai/DeepSeek-V3":               "deepseek-v3",
		"mistralai/Mixtral-8x7B-Instruct-v0.1":  "mixtral-8x7b",
		"neuralmagic/Llama-3.3-70B-FP8-dynamic": "llama-3-3-70b",
	} {
		a, ok := Known(name)
		require.True(t, ok, name)
		require.Equal(t, want, a.Name)
	}
	a, _ := Known("Qwen/Qwen2.5-7B-Instruct-AWQ")
	require.Equal(t, "awq", a.QuantMethod)
	require.Equal(t, 4, a.QuantBits)
	_, ok := Known("gpt2")
	require.False(t, ok)
}

func TestTheShapeComesFromTheFirstThatKnows(t *testing.T) {
	given := &task.Architecture{Name: "given", Layers: 2}
	a, err := Find("meta-llama/Llama-3.1-8B", given)
	require.NoError(t, err)
	require.Equal(t, *given, a)
	dir := filepath.Join(t.TempDir(), "llama-3.1-8b")
	require.NoError(t, os.Mkdir(dir, 0o755))
	config := `{"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":64,"intermediate_size":128,"num_hidden_layers":3,"num_attention_heads":4,"vocab_size":100}`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o644))
	a, err = Find(dir, nil)
	require.NoError(t, err)
	require.Equal(t, 3, a.Layers)
	_, err = Find("gpt2", nil)
	require.ErrorIs(t, err, ErrUnknown)
	read, err := Read(config)
	require.NoError(t, err)
	require.Equal(t, 3, read.Layers)
	read, err = Read(filepath.Join(dir, "config.json"))
	require.NoError(t, err)
	require.Equal(t, 64, read.Hidden)
	read, err = Read(`{"layers":7,"hidden":8}`)
	require.NoError(t, err)
	require.Equal(t, 7, read.Layers)
	_, err = Read("{}")
	require.Error(t, err)
}
