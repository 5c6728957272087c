package bench

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/worker/load/transcript"
)

// What a run sent is told turn by turn: of its whole requests, of its inputs,
// as a table, as JSON and as a page.
func TestTurnsOfARun(t *testing.T) {
	server, dir := serve(t, nil), t.TempDir()
	_, err := call(t.Context(), "-u", server.URL, "-m", "m", "-n", "3", "--session-turns-mean", "3", "--isl", "8", "--osl", "2", "--aiperf-dir", dir, "--export-level", "raw")
	require.NoError(t, err)
	out, err := call(t.Context(), "turn-messages", dir)
	require.NoError(t, err)
	require.Contains(t, out, "synthetic-000000: 3 turns")
	require.Contains(t, out, "assistant (2): ")

	out, err = call(t.Context(), "turn-messages", "--json", filepath.Join(dir, "profile_export_raw.jsonl"))
	require.NoError(t, err)
	var all []transcript.Conversation
	require.NoError(t, json.Unmarshal([]byte(out), &all))
	require.Len(t, all, 1)
	for i, turn := range all[0].Turns {
		require.Equal(t, 2*i+1, turn.Messages)
		require.Equal(t, max(0, 2*i-1), turn.Kept)
		require.Equal(t, 2, turn.Reply.Tokens)
	}
	page := filepath.Join(dir, "turns.html")
	_, err = call(t.Context(), "turn-messages", dir, "-o", page, "--turns", "2", "--text", "3")
	require.NoError(t, err)
	html, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Contains(t, string(html), "Turns left out: 1.")
	require.Contains(t, string(html), "characters more")

	require.NoError(t, os.Remove(filepath.Join(dir, "profile_export_raw.jsonl")))
	out, err = call(t.Context(), "turn-messages", dir)
	require.NoError(t, err, "its inputs are left")
	require.NotContains(t, out, "assistant")

	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{t.TempDir()}, "neither whole requests"},
		{[]string{filepath.Join(dir, "profile_export.jsonl")}, "--export-level raw"},
		{[]string{dir, "--turns", "0"}, "at least 1"},
		{[]string{dir, "--tokenizer", "/nowhere"}, "--tokenizer"},
	} {
		_, err = call(t.Context(), append([]string{"turn-messages"}, c.args...)...)
		require.ErrorContains(t, err, c.says)
	}
}
