package serving

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/worker/serving/testengine"
	"github.com/stretchr/testify/require"
)

// llama is the config.json of a model of eight billion parameters: 16 GB.
const llama = `{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
 "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
 "max_position_embeddings": 131072, "torch_dtype": "bfloat16", "tie_word_embeddings": false}`

func large(t *testing.T) *stand {
	t.Helper()
	s := newStand(t, testengine.Good)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(llama), 0o600))
	s.spec.Runtime, s.spec.Engine, s.spec.Models = "vllm", "vllm", []task.Model{{ID: dir}}
	s.offer.Parameters = space.Point{"max-num-seqs": float64(64)}
	s.devices = []node.Device{{ID: "GPU-1", Vendor: "nvidia", Model: "NVIDIA L4", Memory: 12e9, Health: node.Healthy}}
	return s
}

// What cannot fit is refused before an engine is started: while staging, where
// this node's devices are known, else before it runs.
func TestWhatCannotFitIsNotStarted(t *testing.T) {
	for _, known := range []bool{true, false} {
		s := large(t)
		if known {
			s.config.Devices = func() []node.Device { return s.devices }
		}
		staged, res := s.stage(t.Context())
		require.Equal(t, known, res != nil)
		if !known {
			run := staged.Run(t.Context(), s.devices, s.budget, false)
			res = &run
			require.NoError(t, staged.Close())
		}
		requireOutcome(t, experiment.OutcomeInfeasible, *res)
		require.Equal(t, CauseDoesNotFit, res.Failure.Cause)
		require.Equal(t, "plan", res.Failure.Phase)
		require.Contains(t, res.Failure.Message, "12 GB")
		require.NoFileExists(t, filepath.Join(s.logs, "engine"))
	}
}

func TestWhatFitsIsStarted(t *testing.T) {
	s := large(t)
	s.devices[0].Memory = 80e9
	requireOutcome(t, experiment.OutcomeSuccess, s.do(t.Context()))
}

// A configuration that takes more devices than the experiment has is none.
func TestTooFewDevices(t *testing.T) {
	s := large(t)
	s.devices[0].Memory = 80e9
	s.offer.Parameters["tensor-parallel-size"] = float64(2)
	res := s.do(t.Context())
	requireOutcome(t, experiment.OutcomeInfeasible, res)
	require.Contains(t, res.Failure.Message, "2 devices")
}
