package load

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/worker/load/mockopenai"
	"github.com/fleetune/fleetune/worker/load/token/tokenizerjson"
)

// A benchmark that names a dataset and a tokenizer plays the dataset as it is,
// and cuts its texts to the lengths of every other scenario.
func TestCellsOfADataset(t *testing.T) {
	server, err := mockopenai.Start(mockopenai.Config{})
	require.NoError(t, err)
	defer server.Close()
	var rows strings.Builder
	for i := range 6 {
		body, err := json.Marshal(map[string]any{"messages": []any{map[string]string{"role": "user", "content": fmt.Sprintf("the question number %d of the dataset", i/2)}}})
		require.NoError(t, err)
		line, err := json.Marshal(map[string]string{"request_body": string(body), "user": "x"})
		require.NoError(t, err)
		rows.Write(append(line, '\n'))
	}
	file := filepath.Join(t.TempDir(), "log.jsonl")
	require.NoError(t, os.WriteFile(file, []byte(rows.String()), 0o600))

	opt := CellOptions{URL: server.URL, Model: "m", Requests: 3}
	const tokenizer = "token/tokenizerjson/testdata/qwen.json"
	stats, err := Inputs{Dataset: file, Deduplicate: true, Tokenizer: tokenizer}.Open(t.Context(), &opt)
	require.NoError(t, err)
	require.Equal(t, 3, stats.Duplicates)

	res, err := RunCell(t.Context(), Cell{Scenario: "dataset", Concurrency: 1}, opt)
	require.NoError(t, err)
	require.Equal(t, 3, res.Requests)
	for i, r := range server.Recordings() {
		require.Equal(t, fmt.Sprintf("the question number %d of the dataset", i), r.PromptText())
	}

	server.Forget()
	_, err = RunCell(t.Context(), Cell{Scenario: "D(40,7)", Concurrency: 1}, opt)
	require.NoError(t, err)
	tok, err := tokenizerjson.Open(tokenizer)
	require.NoError(t, err)
	prompts := map[string]bool{}
	for _, r := range server.Recordings() {
		require.Equal(t, 40, tok.Count(r.PromptText()), r.PromptText())
		require.Contains(t, r.PromptText(), "question number")
		require.Equal(t, 7, r.Int("max_tokens"))
		prompts[r.PromptText()] = true
	}
	require.NotEmpty(t, prompts)

	none := CellOptions{}
	stats, err = Inputs{}.Open(t.Context(), &none)
	require.NoError(t, err)
	require.Nil(t, stats)
	require.Contains(t, none.Counter.Name(), "estimate")
	_, err = Inputs{Tokenizer: "no/such-model"}.Open(t.Context(), &none)
	require.ErrorIs(t, err, tokenizerjson.ErrNotFound)
	_, err = Inputs{Dataset: filepath.Join(t.TempDir(), "none")}.Open(t.Context(), &none)
	require.ErrorIs(t, err, os.ErrNotExist)
}
