package dataset

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/worker/load/input"
)

func environment(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

// Every named dataset comes from a mirror, and from a hub of one's own where it
// is the hub's.
func TestPublicDatasetsComeFromAMirror(t *testing.T) {
	excerpts := map[string]string{".jsonl": "../input/testdata/mooncake.jsonl", ".csv": "../input/testdata/azure.csv"}
	asked := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked[r.URL.Path] = true
		if path.Ext(r.URL.Path) == ".json" {
			_, _ = w.Write([]byte(`[{"id":"a","conversations":[{"value":"how are you today my friend"},{"value":"very well thank you dear"}]}]`))
			return
		}
		data, err := os.ReadFile(excerpts[path.Ext(r.URL.Path)])
		if err != nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write(data)
	}))
	t.Cleanup(server.Close)
	cache := t.TempDir()
	for _, p := range Publics() {
		got, err := FindPublic(p.Name, environment(map[string]string{MirrorVariable: server.URL + "/all/"}))
		require.NoError(t, err)
		d, err := Load(t.Context(), got.URL, Options{Fetch: Fetch{Cache: cache}, Input: input.Options{Format: got.Format}})
		require.NoError(t, err, p.Name)
		require.NotEmpty(t, d.Conversations)
		require.NotEmpty(t, p.What)
	}
	require.True(t, asked["/all/raw.githubusercontent.com/kvcache-ai/Mooncake/main/FAST25-release/traces/conversation_trace.jsonl"])

	got, err := FindPublic("sharegpt", environment(map[string]string{HubVariable: server.URL}))
	require.NoError(t, err)
	_, err = Load(t.Context(), got.URL, Options{Fetch: Fetch{Cache: cache}})
	require.NoError(t, err)
	require.True(t, asked["/datasets/anon8231489123/ShareGPT_Vicuna_unfiltered/resolve/main/ShareGPT_V3_unfiltered_cleaned_split.json"])
	got, err = FindPublic("azure_code_2023", environment(map[string]string{HubVariable: server.URL}))
	require.NoError(t, err)
	require.NotContains(t, got.URL, server.URL, "it is not on the hub")
}

func TestPublicDatasetsThatAreNone(t *testing.T) {
	none := environment(nil)
	_, err := FindPublic("mooncake_conversations", none)
	require.ErrorContains(t, err, "did you mean mooncake_conversation?")
	_, err = FindPublic("zz", none)
	require.ErrorContains(t, err, "there are sharegpt, ")
	for name, value := range map[string]string{HubVariable: "hub.local", MirrorVariable: "https://x?a=b"} {
		_, err = FindPublic("sharegpt", environment(map[string]string{name: value}))
		require.ErrorContains(t, err, name+": want the beginning of an http(s) URL")
	}
}
