package bench

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/worker/load/agentic"
	"github.com/fleetune/fleetune/worker/load/report"
)

func locked(t *testing.T, args ...string) (*options, error) {
	o := &options{}
	set := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	o.flags(set)
	require.NoError(t, set.Parse(append([]string{"--scenario=" + agentX}, args...)))
	return o, o.lock(set)
}

func TestAScenarioLocksItsSettings(t *testing.T) {
	o, err := locked(t, "--input-file=x", "--random-seed=1")
	require.NoError(t, err)
	require.Equal(t, agentXUsual, o.Duration)
	require.Equal(t, "first_turn_prefix", o.CacheBust)
	require.Equal(t, []float64{0, 1}, []float64{o.StartMin, o.StartMax})
	require.Equal(t, agentXIdleCap, o.SystemIdle)
	require.True(t, o.submission(&report.Document{Branches: &agentic.Counters{RequestsIssued: 10}}).Valid)
	require.False(t, o.submission(&report.Document{Branches: &agentic.Counters{RequestsIssued: 10, Overflows: 1}}).Valid)
	require.Contains(t, o.submission(&report.Document{Cancelled: true}).Reasons, "the run was stopped early")

	bad := []string{"--streaming=false", "--ignore-eos=false", "--cache-bust=none", "--benchmark-duration=60s", "--max-context-length=9"}
	_, err = locked(t, bad...)
	for _, want := range []string{"--streaming", "--ignore-eos", "--cache-bust", "--input-file", "--benchmark-duration", "--max-context-length", "--random-seed"} {
		require.ErrorContains(t, err, want, "every broken rule is told at once")
	}
	o, err = locked(t, append(bad, "--unsafe-override")...)
	require.NoError(t, err)
	s := o.submission(&report.Document{Branches: &agentic.Counters{}})
	require.False(t, s.Valid)
	require.Len(t, s.Reasons, 7)
	_, err = locked(t, "--scenario=other")
	require.ErrorContains(t, err, agentX)
}

// A warm-up under isolation carries one marker, profiling none; other markers
// are of each session's own.
func TestMarkersOfOrdinaryLoads(t *testing.T) {
	server := serve(t, nil)
	_, err := call(t.Context(), "-u", server.URL, "-n", "6", "-c", "2", "--warmup-request-count", "3", "--cache-bust", "warmup_isolation_first_turn_prefix")
	require.NoError(t, err)
	marked := 0
	for _, r := range server.Recordings() {
		if strings.Contains(string(r.Body["messages"]), `[warmup]\n\n`) {
			marked++
		}
	}
	require.Equal(t, 3, marked)
	own := serve(t, nil)
	_, err = call(t.Context(), "-u", own.URL, "-n", "6", "-c", "2", "--cache-bust", "first_turn_suffix")
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, r := range own.Recordings() {
		_, marker, ok := strings.Cut(string(r.Body["messages"]), `\n\n[rid:`)
		require.True(t, ok)
		seen[marker] = true
	}
	require.Len(t, seen, 6)
	_, err = call(t.Context(), "-u", own.URL, "--cache-bust", "warmup_isolation_none")
	require.ErrorContains(t, err, "--cache-bust")
}

// The stage before measuring sends real requests, which enter the warm-up's
// figures alone.
func TestPressureIsWarmup(t *testing.T) {
	server := serve(t, nil)
	path := filepath.Join(t.TempDir(), "report.json")
	_, err := call(t.Context(), "-u", server.URL, "--input-file", "testdata/agentic.json", "-c", "1", "--num-sessions", "1",
		"--warmup-requests-per-lane", "2", "--agentic-warmup=false", "--trajectory-start-min-ratio", "0", "--trajectory-start-max-ratio", "0",
		"--ignore-trace-delays", "--replay-barriers", "--split-flattened-agents", "--burst-phase-starts", "--json", path)
	require.NoError(t, err)
	doc := read(t, path)
	require.EqualValues(t, 2, doc.Warmup["request_count"].Avg)
	require.EqualValues(t, len(server.Recordings())-2, doc.Metrics["request_count"].Avg)
}
