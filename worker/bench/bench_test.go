package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/mockopenai"
	"github.com/fleetune/fleetune/worker/load/report"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The signal package's own watcher stays for the life of the process.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("os/signal.loop"), goleak.IgnoreTopFunction("os/signal.signal_recv"))
}

func serve(t *testing.T, behave func(n int, r *mockopenai.Recording) mockopenai.Behaviour) *mockopenai.Server {
	s, err := mockopenai.Start(mockopenai.Config{Behave: behave})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func call(ctx context.Context, args ...string) (string, error) {
	c := Command(nil)
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&bytes.Buffer{})
	c.SetArgs(args)
	err := c.ExecuteContext(ctx)
	return out.String(), err
}

func read(t *testing.T, path string) *report.Document {
	d, err := readReport(path)
	require.NoError(t, err)
	return d
}

func TestARunWritesEveryReport(t *testing.T) {
	server := serve(t, nil)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	t.Setenv("BENCH_TEST_KEY", "hush")
	out, err := call(t.Context(), "-u", server.URL, "-m", "m", "-c", "2", "-n", "12", "--traffic-scenario", "D(8,4)", "--warmup-request-count", "2",
		"--api-key-env", "BENCH_TEST_KEY", "-H", "X-A: b", "--extra-inputs", "temperature:0.5", "--goodput", "time_to_first_token:10000", "--slice-duration", "10ms",
		"--json", at("r.json"), "--csv", at("r.csv"), "--requests", at("r.jsonl"), "--html", at("r.html"), "--aiperf-dir", at("aiperf"))
	require.NoError(t, err)
	require.Contains(t, out, "Time to First Token (ms)")
	require.Contains(t, out, "12 succeeded, 0 failed (0.00 %)")
	d := read(t, at("r.json"))
	require.Equal(t, 12.0, d.Metrics[metrics.TagRequestCount].Avg)
	require.Equal(t, 12.0, d.Metrics[metrics.TagGoodCount].Avg)
	require.Equal(t, 2.0, d.Warmup[metrics.TagRequestCount].Avg)
	require.NotEmpty(t, d.Slices)
	raw, err := os.ReadFile(at("r.json"))
	require.NoError(t, err)
	require.NotContains(t, string(raw), "hush", "a report holds no secret")
	lines, err := os.ReadFile(at("r.jsonl"))
	require.NoError(t, err)
	require.Equal(t, 14, strings.Count(string(lines), "\n"))
	for _, name := range []string{"r.csv", "r.html", "aiperf/profile_export_aiperf.json"} {
		require.FileExists(t, at(name))
	}
	r := server.Recordings()[0]
	require.Equal(t, "Bearer hush", r.Header.Get("Authorization"))
	require.Equal(t, "b", r.Header.Get("X-A"))
	require.Equal(t, "0.5", string(r.Body["temperature"]))
	require.Equal(t, 8, r.PromptTokens())
}

func TestJSONGoesToStandardOutputAlone(t *testing.T) {
	server := serve(t, nil)
	out, err := call(t.Context(), "-u", server.URL, "-n", "2", "--traffic-scenario", "D(8,4)", "--json", "-")
	require.NoError(t, err)
	require.True(t, json.Valid([]byte(out)))
}

func TestACommandInWhichEveryRequestFails(t *testing.T) {
	server := serve(t, func(int, *mockopenai.Recording) mockopenai.Behaviour {
		return mockopenai.Behaviour{Fault: mockopenai.TooMany}
	})
	out, err := call(t.Context(), "-u", server.URL, "-n", "3")
	require.ErrorIs(t, err, load.ErrAllFailed)
	require.Contains(t, out, "3 × rate_limited (429)")
}

// Whatever is going on, a stop ends it with a valid report of what there is:
// requests that hang, or that are an hour away, are not waited for.
func TestStoppingGivesAPartialReport(t *testing.T) {
	agents := []string{"-f", "testdata/agentic.json", "-c", "1", "-d", "1h", "--trajectory-start-min-ratio", "0.9", "--trajectory-start-max-ratio", "0.9"}
	for name, c := range map[string]struct {
		args  []string
		stop  int // at which request
		least float64
		hang  bool // from then on the server says nothing more
	}{
		"closed":            {[]string{"-d", "1h"}, 20, 19, false},
		"closed, hanging":   {[]string{"-n", "40", "-c", "2"}, 20, 18, true},
		"open":              {[]string{"-d", "1h", "-r", "500"}, 20, 1, false},
		"open, hanging":     {[]string{"-d", "1h", "-r", "500"}, 20, 1, true},
		"users":             {[]string{"-d", "1h", "--user-centric-rate", "500", "--num-users", "5"}, 20, 1, true},
		"warm-up":           {[]string{"-n", "5", "--warmup-duration", "1h"}, 20, 0, false},
		"warm-up, hanging":  {[]string{"-n", "5", "--warmup-request-count", "40"}, 20, 0, true},
		"sweep":             {[]string{"-n", "15", "--sweep", "concurrency=1,2"}, 20, 4, true},
		"search":            {[]string{"-n", "15", "--search", "concurrency=1:8", "--goodput", "time_to_first_token:60000"}, 20, 4, true},
		"repeats":           {[]string{"-n", "15", "--num-profile-runs", "3"}, 20, 4, true},
		"replay's warm-up":  {agents, 0, 0, true},
		"replay":            {append(agents[:len(agents):len(agents)], "--agentic-warmup=false", "--burst-phase-starts"), 0, 0, true},
		"replay's pressure": {append(agents[:len(agents):len(agents)], "--agentic-warmup=false", "--agentic-cache-warmup-duration", "1h"), 0, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			server := serve(t, func(n int, _ *mockopenai.Recording) mockopenai.Behaviour {
				if n >= c.stop {
					cancel()
					if c.hang {
						return mockopenai.Behaviour{Fault: mockopenai.Hang}
					}
				}
				return mockopenai.Behaviour{}
			})
			path := filepath.Join(t.TempDir(), "r.json")
			args := append([]string{"-u", server.URL, "--traffic-scenario", "D(8,4)", "--json", path, "--html", path + ".html"}, c.args...)
			_, err := call(ctx, args...)
			require.NoError(t, err)
			d := read(t, path)
			require.True(t, d.Cancelled)
			require.GreaterOrEqual(t, d.Metrics[metrics.TagRequestCount].Avg, c.least)
			require.Zero(t, d.Metrics[metrics.TagErrorCount].Avg, "what we hang up on is no failure")
		})
	}
}

// A run in which too much fails ends early, with the report and an error; one
// failure more or less at the start decides nothing.
func TestTooManyFailuresEndARun(t *testing.T) {
	behave := func(every int) func(int, *mockopenai.Recording) mockopenai.Behaviour {
		return func(n int, _ *mockopenai.Recording) mockopenai.Behaviour {
			if n%every == 0 {
				return mockopenai.Behaviour{Fault: mockopenai.ServerError}
			}
			return mockopenai.Behaviour{}
		}
	}
	path := filepath.Join(t.TempDir(), "r.json")
	args := []string{"-d", "1h", "--traffic-scenario", "D(8,4)", "--failed-request-threshold", "0.25", "--json", path}
	_, err := call(t.Context(), append(args, "-u", serve(t, behave(2)).URL)...)
	require.ErrorIs(t, err, load.ErrTooManyFailed)
	d := read(t, path)
	require.True(t, d.Cancelled)
	require.GreaterOrEqual(t, d.Metrics[metrics.TagErrorCount].Avg, 10.0)
	_, err = call(t.Context(), append(args, "-d", "0", "-n", "50", "-u", serve(t, behave(5)).URL)...)
	require.NoError(t, err, "a fifth may fail")
	_, err = call(t.Context(), append(args, "-d", "0", "-n", "4", "-u", serve(t, behave(2)).URL)...)
	require.ErrorIs(t, err, load.ErrTooManyFailed, "a short run is judged at its end")
	_, err = call(t.Context(), "--failed-request-threshold", "5")
	require.ErrorContains(t, err, "--failed-request-threshold must be a share")
}

func TestSweepAndSearch(t *testing.T) {
	// The server answers sessions beyond three at once too late.
	server := serve(t, func(_ int, r *mockopenai.Recording) mockopenai.Behaviour {
		if r.Int("max_tokens") > 3 {
			return mockopenai.Behaviour{Fault: mockopenai.ServerError}
		}
		return mockopenai.Behaviour{TTFT: time.Millisecond}
	})
	path := filepath.Join(t.TempDir(), "r.json")
	out, err := call(t.Context(), "-u", server.URL, "-n", "4", "--traffic-scenario", "D(8,2)", "--sweep", "concurrency=1,2,4", "--json", path)
	require.NoError(t, err)
	require.Contains(t, out, "meets SLOs")
	d := read(t, path)
	require.Len(t, d.Points, 3)
	_, err = call(t.Context(), "-u", server.URL, "-n", "4", "--traffic-scenario", "D(8,2)", "--search", "concurrency=1:4", "--goodput", "time_to_first_token:60000", "--json", path)
	require.NoError(t, err)
	require.Equal(t, 4.0, *read(t, path).Best)
	_, err = call(t.Context(), "-u", server.URL, "-n", "4", "--traffic-scenario", "D(8,9)", "--search", "concurrency=1:4", "--json", path)
	require.ErrorIs(t, err, load.ErrAllFailed)
	require.Nil(t, read(t, path).Best)
}

func TestRepeatedRunsAreCompared(t *testing.T) {
	dir := t.TempDir()
	for name, delay := range map[string]time.Duration{"a.json": 0, "b.json": 20 * time.Millisecond} {
		prompts := map[string]bool{}
		server := serve(t, func(int, *mockopenai.Recording) mockopenai.Behaviour { return mockopenai.Behaviour{TTFT: delay} })
		_, err := call(t.Context(), "-u", server.URL, "-n", "4", "--traffic-scenario", "D(8,2)", "--num-profile-runs", "3", "--json", filepath.Join(dir, name), "--aiperf-dir", filepath.Join(dir, "aiperf"))
		require.NoError(t, err)
		for _, r := range server.Recordings() {
			prompts[r.PromptText()] = true
		}
		require.Len(t, prompts, 12, "no run sends prompts of another")
		require.FileExists(t, filepath.Join(dir, "aiperf", "profile_export.jsonl"))
	}
	out, err := call(t.Context(), "compare", filepath.Join(dir, "a.json"), filepath.Join(dir, "b.json"))
	require.NoError(t, err)
	require.Contains(t, out, "3 and 3 runs")
	out, err = call(t.Context(), "compare", "--json", filepath.Join(dir, "a.json"), filepath.Join(dir, "b.json"))
	require.NoError(t, err)
	require.True(t, json.Valid([]byte(out)))
	require.Contains(t, out, `"verdict"`)
	require.FileExists(t, filepath.Join(dir, "aiperf", "aggregate", "profile_export_aiperf_aggregate.json"))
	_, err = call(t.Context(), "compare", filepath.Join(dir, "a.json"), filepath.Join(dir, "no.json"))
	require.Error(t, err)
}

func TestEveryLoadShape(t *testing.T) {
	server := serve(t, nil)
	mooncake := filepath.Join(t.TempDir(), "m.jsonl")
	require.NoError(t, os.WriteFile(mooncake, []byte(`{"timestamp":100,"input_length":8,"output_length":2}`+"\n"+`{"timestamp":140,"input_length":9,"output_length":2}`+"\n"), 0o600))
	agents := filepath.Join(t.TempDir(), "d.jsonl")
	require.NoError(t, os.WriteFile(agents, []byte(`{"session_id":"r","turns":[{"messages":[{"role":"user","content":"a"}],"spawns":["c"]},{"messages":[{"role":"user","content":"b"}],"forks":["f"]}]}
{"session_id":"c","turns":[{"messages":[{"role":"user","content":"child"}]}]}
{"session_id":"f","turns":[{"messages":[{"role":"user","content":"fork"}]}]}
`), 0o600))
	for name, c := range map[string]struct {
		args []string
		want int
	}{
		"rate":     {[]string{"-r", "200", "--arrival-pattern", "gamma", "--arrival-smoothness", "2", "-n", "20"}, 20},
		"burst":    {[]string{"--arrival-pattern", "burst", "-n", "20"}, 20},
		"users":    {[]string{"--user-centric-rate", "100", "--num-users", "5", "-n", "20", "--session-turns-mean", "3"}, 20},
		"schedule": {[]string{"--fixed-schedule", "-f", mooncake, "--fixed-schedule-speedup", "2"}, 2},
		"dataset":  {[]string{"-f", mooncake, "-n", "5"}, 5},
		"agents":   {[]string{"-f", agents}, 4},
		"default":  {[]string{"-c", "7"}, 14},
		"cancel":   {[]string{"-n", "4", "--request-cancellation-rate", "50", "--prefill-concurrency", "1"}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			server := server
			if name == "cancel" { // what is hung up on may come when the command is long over
				server = serve(t, nil)
			}
			server.Forget()
			_, err := call(t.Context(), append([]string{"-u", server.URL, "-m", "m"}, c.args...)...)
			require.NoError(t, err)
			if name == "cancel" { // or not at all
				require.LessOrEqual(t, len(server.Recordings()), c.want)
				require.NotEmpty(t, server.Recordings())
				return
			}
			require.Equal(t, c.want, len(server.Recordings())) //nolint:testifylint // a recording is long
			if name != "agents" {
				return
			}
			last := server.Recordings()[3]
			require.Contains(t, last.PromptText(), "fork", "the fork starts with its parent's history")
			require.True(t, strings.HasPrefix(last.PromptText(), "atok "), last.PromptText())
		})
	}
}

func TestFlagsAreCheckedAllAtOnce(t *testing.T) {
	_, err := call(t.Context(), "--fixed-schedule", "-r", "3", "--num-profile-runs", "11", "--sweep", "users=1", "--search", "rate=5:1", "--ui", "loud",
		"--use-server-token-count=false", "--endpoint-type", "x", "--goodput", "time_to_first_tokn:1 y", "--traffic-scenario", "Q(1)")
	var status interface{ ExitStatus() int }
	require.ErrorAs(t, err, &status)
	require.Equal(t, 2, status.ExitStatus())
	for _, says := range []string{"needs --tokenizer", "--endpoint-type", "there are time_to_first_token and others", `"y": want`, "--traffic-scenario", "exclude each other", "needs --input-file", "between 1 and 10", "--sweep", "wrong order", "--ui"} {
		require.ErrorContains(t, err, says)
	}
	for _, args := range [][]string{{"-f", "/nowhere"}, {"--traffic-scenario", "Q(1)"}, {"--endpoint-type", "x"}, {"--goodput", "x:1"}, {"--api-key-env", "NO_SUCH_KEY"}, {"--extra-inputs", "x"}, {"--sweep", "concurrency=1.5"}} {
		_, err := call(t.Context(), args...)
		require.Error(t, err, args)
	}
}

func TestFlagsAreCompleted(t *testing.T) {
	for flag, want := range map[string]string{"--endpoint-type": "rerank", "--goodput": "inter_token_latency:", "--custom-dataset-type": "weka_trace", "--cache-bust": "system_prefix", "--ui": "plain",
		"--dataset-sample": "stratified", "--arrival-pattern": "gamma", "--connection-reuse-strategy": "never"} {
		out, err := call(t.Context(), cobra.ShellCompRequestCmd, flag, "")
		require.NoError(t, err)
		require.Contains(t, out, want, flag)
	}
	out, err := call(t.Context(), cobra.ShellCompRequestCmd, "compare", "")
	require.NoError(t, err)
	require.Contains(t, out, "json")
}

func TestDryRunAsJSON(t *testing.T) {
	out, err := call(t.Context(), "--dry-run", "-m", "m", "--traffic-scenario", "D(6,4)", "--json", "-", "--dry-run-requests", "2")
	require.NoError(t, err)
	var d struct {
		Config   map[string]any `json:"input_config"`
		TokensBy string         `json:"tokens_counted_by"`
		Requests []struct {
			Body map[string]any `json:"body"`
		} `json:"requests"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &d))
	require.Equal(t, "chat", d.Config["endpoint_type"])
	require.NotEmpty(t, d.TokensBy)
	require.Len(t, d.Requests, 2)
	require.InDelta(t, 4, d.Requests[1].Body["max_tokens"], 0)
}

func TestDryRunSendsNothing(t *testing.T) {
	server := serve(t, nil)
	out, err := call(t.Context(), "--dry-run", "-m", "m", "--traffic-scenario", "D(6,4)", "-c", "3", "--warmup-request-count", "2")
	require.NoError(t, err)
	golden := filepath.Join("testdata", "dryrun.txt")
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(out), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), out)
	out, err = call(t.Context(), "--dry-run", "-u", server.URL, "-f", "../load/input/testdata/trace_0026.json.gz")
	require.NoError(t, err)
	require.Contains(t, out, "Conversations: 1, requests: 3, trees: 1")
	require.Empty(t, server.Recordings())
}

func TestViewWritesNowAndThen(t *testing.T) {
	var b bytes.Buffer
	v := newView("auto", &b)
	for i := range 25 {
		v.show(load.Progress{Phase: metrics.Profiling, Elapsed: time.Duration(i+1) * time.Second, Live: metrics.Live{Done: 10 * i, TTFTp50: math.NaN()}})
	}
	require.Equal(t, 2, strings.Count(b.String(), "\n"))
	require.Contains(t, b.String(), "10.0 req/s")
	require.NotContains(t, b.String(), "TTFT", "what does not stream has no first token")
	require.NotContains(t, b.String(), "\x1b")
}

// On a terminal the picture replaces itself, whatever the width, and colours
// are there where they are wanted.
func TestViewOnATerminal(t *testing.T) {
	for _, width := range []int{20, 40, 80, 200} {
		for _, colour := range []bool{false, true} {
			var b bytes.Buffer
			v := newView("live", &b)
			v.screen = func() terminal.Screen { return terminal.Screen{Writer: &b, Width: width, Live: true, Colour: colour} }
			for i := range 3 {
				v.show(load.Progress{Phase: metrics.Profiling, Elapsed: time.Duration(i+5) * time.Second, In: time.Duration(i+4) * time.Second, Of: 1000,
					Live: metrics.Live{Done: 100 * (i + 1), Failed: 7, TTFTp50: 50, TTFTp99: 133, LatencyP50: 242, LatencyP99: 295, LagP99: 0.2,
						Errors: []metrics.ErrorCount{{Class: metrics.ErrRateLimited, Code: 429, Message: "slow\x1b[2Jdown", Count: 7}}}})
			}
			v.close()
			pictures := strings.Split(strings.ReplaceAll(b.String(), "\x1b[K", ""), "\r")
			require.Len(t, pictures, 4)
			require.Empty(t, pictures[0])
			rows := 0
			for i, p := range pictures[1:] {
				if i < 2 {
					var up bool
					p, up = strings.CutSuffix(p, fmt.Sprintf("\x1b[%dA", strings.Count(p, "\n")))
					require.True(t, up, "the next picture starts where this one did")
				}
				rows = strings.Count(p, "\n")
				for _, line := range strings.Split(p, "\n") {
					require.LessOrEqual(t, terminal.Width(unpainted.Replace(line)), width)
				}
				require.NotContains(t, p, "\x1b[2J", "what a server says does not steer")
				require.Equal(t, colour && width >= 80, strings.Contains(p, "\x1b[31m"), "%d", width)
			}
			require.Equal(t, 6, rows)
		}
	}
}

// Both files of requests are written where both are asked for.
func TestRequestsGoToEveryFile(t *testing.T) {
	server := serve(t, nil)
	dir := t.TempDir()
	_, err := call(t.Context(), "-u", server.URL, "-n", "3", "--traffic-scenario", "D(8,4)", "--aiperf-dir", filepath.Join(dir, "aiperf"), "--requests", filepath.Join(dir, "r.jsonl"))
	require.NoError(t, err)
	for _, path := range []string{"r.jsonl", "aiperf/profile_export.jsonl"} {
		raw, err := os.ReadFile(filepath.Join(dir, path))
		require.NoError(t, err)
		require.Equal(t, 3, strings.Count(string(raw), "\n"), path)
	}
}
