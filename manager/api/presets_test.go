package api_test

import (
	"net/http"
	"testing"

	"github.com/fleetune/fleetune/manager/api/apitest"
	"github.com/stretchr/testify/require"
)

// A filter that can find nothing is a slip of the hand, and said to be one.
func TestPresetFilters(t *testing.T) {
	s := apitest.Start(t)
	c := dial(t, s, apitest.Token)
	all, err := c.Presets(t.Context(), "", "")
	require.NoError(t, err)
	for _, runtime := range []string{"vllm", "vLLM", "vllm-openai"} {
		list, err := c.Presets(t.Context(), "", runtime)
		require.NoError(t, err)
		require.NotEmpty(t, list)
		require.Less(t, len(list), len(all))
		for _, p := range list {
			require.Equal(t, "vllm", p.Runtime)
		}
	}
	list, err := c.Presets(t.Context(), "", "llama.cpp")
	require.NoError(t, err, "an engine without presets is one all the same")
	require.Empty(t, list)
	_, err = c.Presets(t.Context(), "", "vllmm")
	require.Contains(t, refusal(t, err, http.StatusUnprocessableEntity).Detail, `did you mean "vllm"?`)
	_, err = c.Presets(t.Context(), "performanc", "")
	require.Contains(t, refusal(t, err, http.StatusUnprocessableEntity).Next, "did you mean performance?")
}
