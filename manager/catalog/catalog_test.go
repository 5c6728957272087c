package catalog_test

import (
	"testing"

	"github.com/fleetune/fleetune/manager/catalog"
	"github.com/fleetune/fleetune/shared/engine"
	"github.com/stretchr/testify/require"
)

func TestEngines(t *testing.T) {
	list, err := catalog.Engines()
	require.NoError(t, err)
	require.Len(t, list, len(engine.Names()))
	for _, e := range list {
		require.Equal(t, e.Versions[len(e.Versions)-1], e.Version)
		require.Positive(t, e.Tuned)
		require.Greater(t, e.Total, e.Tuned)
		require.NotEmpty(t, e.QuantPresets)
		require.Contains(t, e.ParallelPresets, "single-gpu")
		all, err := catalog.Arguments(e.Name, "", catalog.Filter{})
		require.NoError(t, err)
		require.Len(t, all.Items, e.Total)
		tuned, err := catalog.Arguments(e.Name, "", catalog.Filter{Tuned: true})
		require.NoError(t, err)
		require.Len(t, tuned.Items, e.Tuned)
	}
}

func TestArgument(t *testing.T) {
	for _, spelling := range []string{"tp", "tensor-parallel-size", "--tensor_parallel_size"} {
		a, err := catalog.Argument("vllm", "", spelling)
		require.NoError(t, err)
		require.Equal(t, "tensor-parallel-size", a.Name)
		require.True(t, a.Tuned)
		require.False(t, a.Reserved)
	}
	port, err := catalog.Argument("vllm", "v0.10.1", "port")
	require.NoError(t, err)
	require.True(t, port.Reserved)
	found, err := catalog.Arguments("sglang", "", catalog.Filter{Search: "Cuda_Graph"})
	require.NoError(t, err)
	require.NotEmpty(t, found.Items)
}

func TestUnknownNames(t *testing.T) {
	for _, c := range []struct{ engine, version, argument, want string }{
		{"vlm", "", "tp", `did you mean "vllm"?`},
		{"vllm", "newest", "tp", `"newest" is no version`},
		{"sglang", "", "max-num-seqs", `"max-num-seqs" is no argument of sglang`},
		{"sglang", "", "max-num-seqs", `did you mean "max-running-requests"?`},
		{"vllm", "", "max-num-seq", `did you mean "max-num-seqs"?`},
	} {
		_, err := catalog.Argument(c.engine, c.version, c.argument)
		require.ErrorIs(t, err, catalog.ErrUnknown)
		require.ErrorContains(t, err, c.want)
	}
}
