package bench

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/mockopenai"
	"github.com/fleetune/fleetune/worker/load/report"
	"github.com/fleetune/fleetune/worker/load/survey"
)

// drawn reads a page and returns it; the pictures in it must be well-formed.
func drawn(t *testing.T, path string) string {
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, part := range strings.Split(string(raw), "<svg")[1:] {
		svg, _, ok := strings.Cut("<svg"+part, "</svg>")
		require.True(t, ok)
		d := xml.NewDecoder(strings.NewReader(svg + "</svg>"))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else {
				require.NoError(t, err)
			}
		}
	}
	return string(raw)
}

func TestRunsAreDrawnSideBySide(t *testing.T) {
	server := serve(t, nil)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"<before>.json", "after.json"} {
		_, err := call(t.Context(), "-u", server.URL, "-n", "6", "--traffic-scenario", "D(8,4)", "--sweep", "concurrency=1,2,3", "--json", at(name))
		require.NoError(t, err)
	}
	_, err := call(t.Context(), "plot", at("<before>.json"), at("after.json"), "-o", at("plot.html"))
	require.NoError(t, err)
	page := drawn(t, at("plot.html"))
	for _, want := range []string{"2 benchmarks", "&lt;before&gt;", "after", "Request Throughput (requests/sec)", "Time to first token over load, p99", "<circle", "series line1", "series line2", "load: concurrency"} {
		require.Contains(t, page, want)
	}
	require.NotContains(t, page, "<before>")
	_, err = call(t.Context(), "plot", at("plot.html"))
	require.Error(t, err)
	_, err = call(t.Context(), "plot")
	require.ErrorContains(t, err, "at least 1 arg")
}

func TestRequestsAreDrawnOnLanes(t *testing.T) {
	server := serve(t, func(n int, _ *mockopenai.Recording) mockopenai.Behaviour {
		if n == 3 {
			return mockopenai.Behaviour{Fault: mockopenai.ServerError}
		}
		return mockopenai.Behaviour{}
	})
	dir := t.TempDir()
	lines, page := filepath.Join(dir, "requests.jsonl"), filepath.Join(dir, "lanes.html")
	_, err := call(t.Context(), "-u", server.URL, "-f", "testdata/agentic.json", "-c", "1", "--num-sessions", "2", "--ignore-trace-delays", "--requests", lines)
	require.NoError(t, err)
	_, err = call(t.Context(), "swim-lane", lines, "-o", page)
	require.NoError(t, err)
	text := drawn(t, page)
	require.Equal(t, len(server.Recordings()), strings.Count(text, "<title>")-1)
	require.Equal(t, 1, strings.Count(text, `class="failed"`))
	require.Contains(t, text, `class="warm"`)

	for bad, want := range map[string]string{"": report.ErrNoLines.Error(), "{}\n": "line 1 is no request", "\n[]\n": "line 2 is no request"} {
		require.NoError(t, os.WriteFile(lines, []byte(bad), 0o600))
		_, err = call(t.Context(), "swim-lane", lines, "-o", "-")
		require.ErrorContains(t, err, want)
	}
}

func TestATraceIsAnalyzed(t *testing.T) {
	out, err := call(t.Context(), "analyze-trace", "testdata/agentic.json")
	require.NoError(t, err)
	require.Contains(t, out, "Format: weka_trace")
	require.Contains(t, out, "Agents: ")
	out, err = call(t.Context(), "analyze-trace", "testdata/agentic.json", "--json")
	require.NoError(t, err)
	var s survey.Survey
	require.NoError(t, json.Unmarshal([]byte(out), &s))
	require.Positive(t, s.Requests)
	_, err = call(t.Context(), "analyze-trace", filepath.Join(t.TempDir(), "none.json"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// What a trace could not be warmed up with is told with its place and a way out.
func TestAWarmupThatFailsSaysWhere(t *testing.T) {
	server := serve(t, func(int, *mockopenai.Recording) mockopenai.Behaviour { return mockopenai.Behaviour{Overflow: 1} })
	args := []string{"-u", server.URL, "-f", "testdata/agentic.json", "-c", "1", "--num-sessions", "1", "--ignore-trace-delays",
		"--trajectory-start-min-ratio", "0.9", "--trajectory-start-max-ratio", "0.9"}
	_, err := call(t.Context(), args...)
	require.ErrorContains(t, err, "the warm-up of a trace failed: turn ")
	require.ErrorContains(t, err, "context_overflow")
	require.ErrorContains(t, err, "--max-context-length")
	_, err = call(t.Context(), append(args, "--failed-request-threshold", "0.5")...)
	require.ErrorIs(t, err, load.ErrTooManyFailed, "it goes on, and is judged at its end")
}
