package bench

import (
	"compress/gzip"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/worker/load/dataset"
	"github.com/fleetune/fleetune/worker/load/endpoint"
	"github.com/fleetune/fleetune/worker/load/token/tokenizerjson"
)

const tinyTokenizer = "../load/token/tokenizerjson/testdata/llama3.json"

// Prompts of a dataset behind a URL and a token reach the server as the rows
// have them, each once, at the lengths that the rows ask for.
func TestADatasetByURL(t *testing.T) {
	server := serve(t, nil)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer hush" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		z := gzip.NewWriter(w)
		_, _ = z.Write([]byte("q,len\nfirst,3\nsecond,4\nfirst,5\n")) // a client that is gone ends its test
		_ = z.Close()
	}))
	defer site.Close()
	args := []string{"-u", server.URL, "-m", "m", "-f", site.URL + "/a.csv.gz", "--map", "prompt=q", "--map", "output_len=len", "--prompt-template", "Say {{q}}!",
		"--dataset-deduplicate", "--dataset-cache", t.TempDir(), "-n", "2", "--tokenizer", tinyTokenizer}
	_, err := call(t.Context(), args...)
	require.ErrorContains(t, err, "401")
	t.Setenv("DATASET_TOKEN", "hush")
	_, err = call(t.Context(), append(args, "--dataset-token-env", "DATASET_TOKEN")...)
	require.NoError(t, err)
	for i, want := range []string{"Say first!", "Say second!"} {
		r := server.Recordings()[i]
		require.Equal(t, want, r.PromptText())
		require.Equal(t, 3+i, r.Int("max_tokens"))
	}
	require.Len(t, server.Recordings(), 2)
	_, err = call(t.Context(), append(args, "--dataset-token-env", "NOT_SET")...)
	require.ErrorContains(t, err, "NOT_SET is not set")
}

// Synthetic prompts have their length by the tokenizer that is named.
func TestPromptsAreAsLongAsTheTokenizerSays(t *testing.T) {
	server := serve(t, nil)
	path := filepath.Join(t.TempDir(), "r.json")
	_, err := call(t.Context(), "-u", server.URL, "-n", "5", "--traffic-scenario", "U(20,90)/(2,3)", "--shared-system-prompt-length", "30", "--tokenizer", tinyTokenizer, "--json", path)
	require.NoError(t, err)
	tok, err := tokenizerjson.Open(tinyTokenizer)
	require.NoError(t, err)
	for _, r := range server.Recordings() {
		var sent []endpoint.Message
		require.NoError(t, json.Unmarshal(r.Body["messages"], &sent))
		require.Equal(t, 30, tok.Count(sent[0].Plain()))
		n := tok.Count(sent[1].Plain())
		require.GreaterOrEqual(t, n, 20)
		require.LessOrEqual(t, n, 90)
	}
	require.Contains(t, read(t, path).TokensBy, "tokenizer llama3.json")
	_, err = call(t.Context(), "--tokenizer", filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, tokenizerjson.ErrNotFound)
}

func TestPreviewSendsNothing(t *testing.T) {
	server := serve(t, nil)
	file := filepath.Join(t.TempDir(), "rows.jsonl")
	require.NoError(t, os.WriteFile(file, []byte(`{"question":"Why?","n":1}`+"\n"+`{"question":"How?","n":1}`+"\n"), 0o600))
	out, err := call(t.Context(), "-u", server.URL, "-m", "m", "-f", file, "--preview")
	require.NoError(t, err)
	golden := filepath.Join("testdata", "preview.txt")
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(out), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), out)
	out, err = call(t.Context(), "-f", file, "--preview", "--json", "-", "--num-dataset-entries", "1")
	require.NoError(t, err)
	var s dataset.Stats
	require.NoError(t, json.Unmarshal([]byte(out), &s))
	require.Equal(t, 1, s.NotSampled)
	require.Empty(t, server.Recordings())
	_, err = call(t.Context(), "--preview", "--map", "x", "--dataset-sample", "best")
	for _, says := range []string{"--preview needs", "--map", "--dataset-sample", "need --input-file"} {
		require.ErrorContains(t, err, says)
	}
}
