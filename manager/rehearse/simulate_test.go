package rehearse

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/engine"
)

func TestWhatCannotBeSimulatedIsRefused(t *testing.T) {
	problems := func(gpu, runtime, benchmark string) []task.Problem {
		e, err := engine.Lookup(runtime)
		require.NoError(t, err)
		var r Rehearsal
		r.simulated(&task.Serving{Simulate: &task.Simulate{GPU: gpu}, Benchmark: task.Benchmark{Task: benchmark}}, e)
		return r.Problems
	}
	require.Empty(t, problems("h100-sxm", "vllm", "text-to-text"))
	require.Empty(t, problems("H200", "sglang", "text-to-text"))
	list := problems("h100-sxn", "vllm", "text-to-text")
	require.Len(t, list, 1)
	require.Equal(t, "simulate.gpu", list[0].Field)
	require.Equal(t, "h100-sxm", list[0].Nearest)
	require.Len(t, problems("l4", "llama.cpp", "text-to-text"), 1)
	require.Len(t, problems("l4", "vllm", "text-to-embeddings"), 1)
}
