package engine

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// The page about engines names every cause, preset and version.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../docs/engines.md")
	require.NoError(t, err)
	for _, cause := range Causes() {
		require.Contains(t, string(page), "`"+string(cause)+"`")
	}
	for _, preset := range append(QuantPresets(), parallelPresets()...) {
		require.Contains(t, string(page), "`"+preset+"`")
	}
	for _, e := range everyEngine(t) {
		require.Contains(t, string(page), e.Version())
	}
}
