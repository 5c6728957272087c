package vocabulary

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestRepliesAreReadAsTheTokensThatWereSaid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		var said []uint32
		var text strings.Builder
		for i := range rapid.IntRange(0, 50).Draw(t, "tokens") {
			said = append(said, Say(seed, i))
			text.WriteString(Text(said[i]))
		}
		require.Equal(t, said, Append(nil, text.String()))
	})
}

func TestFourBytesAreAToken(t *testing.T) {
	require.Empty(t, Append(nil, ""))
	require.Len(t, Append(nil, "a"), 1)
	require.Len(t, Append(nil, "abcde"), 2)
	require.Equal(t, "e   ", Text(Append(nil, "abcde")[1]))
}
