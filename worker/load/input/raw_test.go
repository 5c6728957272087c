package input

import (
	"path/filepath"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/token"
	"github.com/fleetune/fleetune/worker/load/token/tokenizerjson"
)

func TestInputsJSON(t *testing.T) {
	w, err := Load(write(t, "inputs.json", `{"data":[{"session_id":"s","payloads":[{"prompt":"abcd"},{"messages":[{"role":"user","content":"12345"}],"max_tokens":9}]},{"session_id":"none","payloads":[]}]}`), Options{})
	require.NoError(t, err)
	require.Equal(t, InputsJSON, w.Format)
	require.Equal(t, 1, w.Skipped)
	require.Len(t, w.Conversations, 1)
	c := w.Conversations[0]
	require.Equal(t, "s", c.ID)
	require.Equal(t, conversation.Whole, c.Mode)
	require.Equal(t, []int{1, 2}, []int{c.Turns[0].InputTokens, c.Turns[1].InputTokens})
	require.JSONEq(t, `{"messages":[{"role":"user","content":"12345"}],"max_tokens":9}`, string(c.Turns[1].Raw))
	_, err = Load(write(t, "inputs.json", `{"data":[{"payloads":[[1]]}]}`), Options{})
	require.ErrorContains(t, err, "data[0].payloads[0]: want an object, not a JSON array")
}

func TestRandomPools(t *testing.T) {
	dir := filepath.Dir(write(t, "a.jsonl", "{\"text\":\"a1\"}\n{\"text\":\"a2\",\"output_length\":4}\n"))
	pool := Options{Format: RandomPool, Seed: 5}
	one, err := Load(filepath.Join(dir, "a.jsonl"), pool)
	require.NoError(t, err)
	require.Len(t, one.Conversations, 100)
	seen := map[string]int{}
	for _, c := range one.Conversations {
		seen[c.Turns[0].Messages[0].Plain()]++
	}
	require.Len(t, seen, 2)
	again, err := Load(filepath.Join(dir, "a.jsonl"), pool)
	require.NoError(t, err)
	require.Equal(t, one, again)

	other := filepath.Dir(write(t, "b.jsonl", "{\"image\":\"u\"}\n"))
	two, err := Decode([]File{mustRead(t, dir, "a.jsonl"), mustRead(t, other, "b.jsonl")}, Options{Format: RandomPool, Limit: 3})
	require.NoError(t, err)
	require.Len(t, two.Conversations, 3)
	require.Contains(t, string(two.Conversations[0].Turns[0].Messages[0].Content), `"image_url":{"url":"u"}`)
	for text, says := range map[string]string{`{"turns":[]}`: "no such field", `{"text":"a","timestamp":1}`: "pool", "\n": "empty", `{"text":"a","texts":["b"]}`: "exclude"} {
		_, err := Decode([]File{{"p", []byte(text)}}, pool)
		require.ErrorContains(t, err, says)
	}
}

func mustRead(t *testing.T, dir, name string) File {
	data, err := read(filepath.Join(dir, name))
	require.NoError(t, err)
	return File{name, data}
}

func TestLongConversationsAreLeftOut(t *testing.T) {
	w, err := Load(write(t, "a.jsonl", "{\"text\":\"abcdefgh\"}\n{\"text\":\"abcd\"}\n"), Options{MaxInput: 1})
	require.NoError(t, err)
	require.Len(t, w.Conversations, 1)
	require.Equal(t, 1, w.Skipped)
}

// Prompts out of a dataset's texts have the scenario's length and are whole
// text, however little there is of it.
func TestTextsAreCutToTheScenario(t *testing.T) {
	tok, err := tokenizerjson.Open("../token/tokenizerjson/testdata/llama3.json")
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		var from []*conversation.Conversation
		for range rapid.IntRange(1, 4).Draw(t, "texts") {
			text := rapid.StringMatching(`[a-zäß語😀 .\n]{1,40}`).Draw(t, "text")
			from = append(from, &conversation.Conversation{Turns: []conversation.Turn{{Messages: []conversation.Message{conversation.Text("system", "SYSTEM"), conversation.Text("user", text)}}}})
		}
		var counter token.Counter = token.Bytes{}
		if rapid.Bool().Draw(t, "tokenizer") {
			counter = tok
		}
		texts, err := NewTexts(from, counter)
		require.NoError(t, err)
		s, err := ParseScenario("U(1,60)/(5,5)")
		require.NoError(t, err)
		spec := Synthetic{Scenario: s, Seed: rapid.Int64().Draw(t, "seed"), Texts: texts, Turns: Length{Fixed, 2, 0}}
		for i, c := range spec.Take(5) {
			total := 0
			for k := range c.Turns {
				text := c.Turns[k].Messages[0].Plain()
				require.True(t, utf8.ValidString(text))
				n := counter.Count(text)
				require.LessOrEqual(t, n, 60)
				require.Equal(t, total+n, c.Turns[k].InputTokens, "what is said to be sent is sent")
				require.NotContains(t, text, "SYSTEM")
				total += n + c.Turns[k].MaxTokens
			}
			require.Equal(t, c, spec.Take(5)[i])
		}
	})
	_, err = NewTexts([]*conversation.Conversation{{Turns: []conversation.Turn{{}}}}, nil)
	require.Error(t, err)
}
