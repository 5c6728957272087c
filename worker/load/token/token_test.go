package token

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestFillerHasItsLength(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		n := rapid.IntRange(0, 500).Draw(t, "tokens")
		text := string(AppendFiller(nil, seed, n))
		require.Equal(t, n, Bytes{}.Count(text))
		require.Len(t, strings.Fields(text), n)
		require.True(t, strings.HasPrefix(string(AppendFiller(nil, seed, n+3)), text))
		require.NotContains(t, text, `"`)
	})
	require.NotEqual(t, AppendFiller(nil, 1, 50), AppendFiller(nil, 2, 50))
}

func TestFallbackRoundsUp(t *testing.T) {
	require.Equal(t, 0, Bytes{}.Count(""))
	require.Equal(t, 1, Bytes{}.Count("a"))
	require.Equal(t, 2, Bytes{}.Count("abcde"))
	require.Contains(t, Bytes{}.Name(), "estimate")
}
