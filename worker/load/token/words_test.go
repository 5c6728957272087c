package token_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/worker/load/token"
	"github.com/fleetune/fleetune/worker/load/token/tokenizerjson"
)

func counters(t *testing.T) map[string]token.Counter {
	out := map[string]token.Counter{"bytes": token.Bytes{}, "runes": runes{}, "sixes": sixes{}}
	for _, name := range []string{"gpt2", "gpt2_prefix", "llama3", "qwen", "llama2", "mistral", "metaspace", "bert", "digits", "fused"} {
		c, err := tokenizerjson.Open(filepath.Join("tokenizerjson", "testdata", name+".json"))
		require.NoError(t, err)
		out[name] = c
	}
	return out
}

// runes makes a token of every rune: no word is one token.
type runes struct{}

func (runes) Count(text string) int { return len([]rune(text)) }
func (runes) Name() string          { return "runes" }

// sixes makes a token of six bytes: words are less than a token each.
type sixes struct{}

func (sixes) Count(text string) int { return (len(text) + 5) / 6 }
func (sixes) Name() string          { return "sixes" }

// Filler has the length that was asked for by whatever counts, the same for the
// same seed, and needs no escapes in JSON.
func TestFillerHasItsLengthByEveryTokenizer(t *testing.T) {
	for name, c := range counters(t) {
		t.Run(name, func(t *testing.T) {
			w := token.NewWords(c)
			rapid.Check(t, func(t *rapid.T) {
				var fills []token.Fill
				want := 0
				for range rapid.IntRange(1, 3).Draw(t, "fills") {
					f := token.Fill{Seed: rapid.Uint64().Draw(t, "seed"), Tokens: rapid.IntRange(0, 200).Draw(t, "tokens")}
					fills, want = append(fills, f), want+f.Tokens
				}
				text := string(w.Append(nil, fills...))
				require.Equal(t, want, c.Count(text), "%q", text)
				require.Equal(t, text, string(w.Append(nil, fills...)))
				require.NotContains(t, text, `"`)
				require.NotContains(t, text, `\`)
			})
		})
	}
}

// Blocks that prompts share are shared text, which is what a prefix cache sees.
func TestFillerSharesItsBeginning(t *testing.T) {
	for name, c := range counters(t) {
		w := token.NewWords(c)
		one := string(w.Append(nil, token.Fill{Seed: 1, Tokens: 100}, token.Fill{Seed: 2, Tokens: 100}))
		two := string(w.Append(nil, token.Fill{Seed: 1, Tokens: 100}, token.Fill{Seed: 3, Tokens: 100}))
		shared := 0
		for shared < len(one) && shared < len(two) && one[shared] == two[shared] {
			shared++
		}
		require.GreaterOrEqual(t, c.Count(one[:shared]), 90, name)
		require.Less(t, shared, len(one), name)
	}
}

func TestNoWordsMeanTheFallback(t *testing.T) {
	var w *token.Words
	text := string(w.Append([]byte(`"`), token.Fill{Seed: 4, Tokens: 3}))
	require.Equal(t, `"`+string(token.AppendFiller(nil, 4, 3)), text)
	require.Len(t, strings.Fields(text), 4)
}
