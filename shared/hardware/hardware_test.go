package hardware

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryGPUIsWholeAndFoundByItsNames(t *testing.T) {
	for _, g := range Table() {
		require.Positive(t, g.Memory, g.Name)
		require.Positive(t, g.Bandwidth, g.Name)
		require.Positive(t, g.Half, g.Name)
		require.Positive(t, g.Link, g.Name)
		require.Positive(t, g.Power, g.Name)
		require.NotEmpty(t, g.Source, g.Name)
		for _, name := range []string{g.Name, g.Product} {
			found, err := Lookup(name)
			require.NoError(t, err)
			require.Equal(t, g.Name, found.Name)
		}
	}
}

func TestShortNamesMeanTheUsualVariant(t *testing.T) {
	for short, want := range map[string]string{"H100": "h100-sxm", "a100": "a100-80", "RTX 4090": "rtx-4090", "h200": "h200-sxm"} {
		g, err := Lookup(short)
		require.NoError(t, err)
		require.Equal(t, want, g.Name)
	}
	_, err := Lookup("h999")
	require.ErrorContains(t, err, "h100-sxm")
}
