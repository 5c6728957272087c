package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/worker/load/mockopenai"
)

func names(t *testing.T, dir string) []string {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// Each level writes what those before it do.
func TestLevelsOfTheLayout(t *testing.T) {
	server := serve(t, nil)
	summary := []string{"fleetune_bench.json", "inputs.json", "x.csv", "x.json"}
	for level, want := range map[string][]string{levelSummary: summary, levelRecords: append(summary[:4:4], "x.jsonl"), levelRaw: append(summary[:4:4], "x.jsonl", "x_raw.jsonl")} {
		dir := t.TempDir()
		_, err := call(t.Context(), "-u", server.URL, "-n", "2", "--traffic-scenario", "D(8,2)", "--aiperf-dir", dir, "--export-level", level, "--profile-export-prefix", "x")
		require.NoError(t, err)
		require.Equal(t, want, names(t, dir), level)
	}
}

// The raw file has everything that went over the wire, save secrets.
func TestRawRequests(t *testing.T) {
	fails := false
	server := serve(t, func(int, *mockopenai.Recording) mockopenai.Behaviour {
		if fails {
			return mockopenai.Behaviour{Fault: mockopenai.TooMany}
		}
		return mockopenai.Behaviour{}
	})
	t.Setenv("BENCH_TEST_KEY", "hush")
	for _, c := range []struct {
		stream string
		fails  bool
		status int
	}{{"true", false, 200}, {"false", false, 200}, {"true", true, 429}} {
		fails = c.fails
		dir := t.TempDir()
		_, err := call(t.Context(), "-u", server.URL, "-m", "m", "-n", "3", "--streaming="+c.stream, "--traffic-scenario", "D(8,2)", "--api-key-env", "BENCH_TEST_KEY",
			"-H", "X-Tenant: hush", "--aiperf-dir", dir, "--export-level", "raw")
		require.Equal(t, c.fails, err != nil, err)
		data, err := os.ReadFile(filepath.Join(dir, "profile_export_raw.jsonl"))
		require.NoError(t, err)
		n := 0
		for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); n++ {
			require.NotContains(t, s.Text(), "hush")
			var line struct {
				Payload  map[string]any    `json:"payload"`
				Request  map[string]string `json:"request_headers"`
				Status   int               `json:"status"`
				Replies  []map[string]any  `json:"responses"`
				Metadata map[string]any    `json:"metadata"`
				Error    map[string]any    `json:"error"`
			}
			require.NoError(t, json.Unmarshal(s.Bytes(), &line))
			require.Equal(t, "m", line.Payload["model"])
			require.Equal(t, c.status, line.Status)
			require.Equal(t, "withheld", line.Request["Authorization"])
			require.Equal(t, line.Metadata["x_request_id"], line.Request["X-Request-Id"])
			require.Equal(t, c.fails, line.Error != nil)
			require.NotEmpty(t, line.Replies)
			require.Equal(t, c.stream == "true" && !c.fails, line.Replies[0]["packets"] != nil)
		}
		require.Equal(t, 3, n)
	}
}

// What inputs.json holds is what was sent, and can be sent again.
func TestInputsAreSentAgain(t *testing.T) {
	server := serve(t, nil)
	dir := t.TempDir()
	_, err := call(t.Context(), "-u", server.URL, "-m", "m", "-n", "5", "--traffic-scenario", "D(8,2)", "--num-profile-runs", "2", "--aiperf-dir", dir)
	require.NoError(t, err)
	_, err = call(t.Context(), "-u", server.URL, "-f", filepath.Join(dir, "inputs.json"), "--custom-dataset-type", "inputs_json", "-n", "10")
	require.NoError(t, err)
	all := server.Recordings()
	require.Len(t, all, 20)
	for i := range 10 {
		require.Equal(t, string(all[i].Body["messages"]), string(all[i+10].Body["messages"]))
	}
}
