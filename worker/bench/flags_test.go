package bench

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/worker/load/drive"
	"github.com/fleetune/fleetune/worker/load/pace"
)

// Whoever comes from another load generator finds its names, and its bare
// numbers of seconds.
func TestNamesAndNumbersOfOthers(t *testing.T) {
	o := parsed(t, "--num-conversations", "7", "--benchmark-duration", "90", "--warmup-duration", "1.5", "--fixed-schedule-start-offset", "2500",
		"--request-timeout-seconds", "60", "--synthetic-input-tokens-mean", "550", "-d", "2m")
	require.Equal(t, 7, o.Sessions)
	require.Equal(t, 2*time.Minute, o.Duration)
	require.Equal(t, 1500*time.Millisecond, o.WarmDuration)
	require.Equal(t, 2500*time.Millisecond, o.From)
	require.Equal(t, time.Minute, o.Timeout)
	require.InDelta(t, 550, o.ISL, 0)
	_, err := call(t.Context(), "--benchmark-duration", "long")
	require.ErrorContains(t, err, "90s")
	set := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	o.flags(set)
	for theirs, ours := range aliases {
		require.NotNil(t, set.Lookup(ours), "%s stands for %s", theirs, ours)
	}
}

// theirs are the flags that AIPerf's profile has, by the specification of the
// load generator, with those that are families of flags written out.
const theirs = `model url endpoint-type endpoint streaming api-key header extra-inputs request-timeout-seconds use-server-token-count
use-legacy-max-tokens connection-reuse-strategy session-header
input-file custom-dataset-type public-dataset dataset-sampling-strategy random-seed isl isl-stddev osl osl-stddev seq-dist isl-block-size
num-dataset-entries num-conversations session-turns-mean session-turns-stddev session-turn-delay-mean session-turn-delay-stddev
session-turn-delay-ratio shared-system-prompt-length user-context-prompt-length num-prefix-prompts synthesis-speedup-ratio
synthesis-prefix-len-multiplier synthesis-prefix-root-multiplier synthesis-prompt-len-multiplier synthesis-output-len-multiplier
synthesis-max-isl synthesis-max-osl max-context-length fixed-schedule fixed-schedule-auto-offset fixed-schedule-start-offset fixed-schedule-end-offset
concurrency prefill-concurrency request-rate arrival-pattern arrival-smoothness user-centric-rate num-users request-count benchmark-duration
benchmark-grace-period concurrency-ramp-duration prefill-concurrency-ramp-duration request-rate-ramp-duration warmup-request-count warmup-duration
num-warmup-sessions warmup-concurrency warmup-prefill-concurrency warmup-request-rate warmup-arrival-pattern warmup-grace-period
warmup-concurrency-ramp-duration warmup-prefill-concurrency-ramp-duration warmup-request-rate-ramp-duration request-cancellation-rate
request-cancellation-delay goodput
scenario unsafe-override trajectory-start-min-ratio trajectory-start-max-ratio cache-bust trace-idle-gap-cap-seconds system-idle-gap-cap-seconds
inter-turn-delay-cap-seconds ignore-trace-delays use-think-time-only burst-phase-starts allow-dataset-wrap agentic-cache-warmup-duration
warmup-requests-per-lane failed-request-threshold
artifact-dir profile-export-prefix export-level slice-duration num-profile-runs confidence-level workers-max ui`

// Each of them is there, or the manual says why not.
func TestFlagsOfAIPerf(t *testing.T) {
	set := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	(&options{}).flags(set)
	manual, err := os.ReadFile("../../shared/docs/bench.md")
	require.NoError(t, err)
	_, absent, found := strings.Cut(string(manual), "## What is not there")
	require.True(t, found)
	for _, name := range strings.Fields(theirs) {
		if f := set.Lookup(name); f == nil || f.Hidden {
			require.Contains(t, absent, "`--"+name+"`")
		}
	}
}

// With workers, the key's name is that of a secret of theirs.
func TestAKeyOfTheWorkers(t *testing.T) {
	for workers, fails := range map[string]bool{"0": true, "2": false} {
		err := parsed(t, "--api-key-env", "NO_SUCH_KEY", "--workers", workers).validate()
		require.Equal(t, fails, err != nil, err)
	}
}

// Flags that would be passed over in silence are refused.
func TestFlagsThatSayNothingAreRefused(t *testing.T) {
	agents, rows := "../load/input/testdata/trace_0026.json.gz", write(t, "a.jsonl", `{"text":"a"}`)
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--arrival-pattern", "poisson"}, "--arrival-pattern needs --request-rate"},
		{[]string{"--request-rate-ramp-duration", "5"}, "needs --request-rate"},
		{[]string{"--fixed-schedule-speedup", "5"}, "needs --fixed-schedule"},
		{[]string{"--num-users", "5"}, "needs --user-centric-rate"},
		{[]string{"--warmup-request-rate", "5"}, "a warm-up needs an end"},
		{[]string{"--isl", "5", "--traffic-scenario", "D(1,1)"}, "exclude each other"},
		{[]string{"--osl", "5"}, "need --isl"},
		{[]string{"--num-prefix-prompts", "5"}, "need each other"},
		{[]string{"--session-turn-delay-ratio", "0"}, "above 0"},
		{[]string{"--custom-dataset-type", "moncake_trace", "-f", rows}, "did you mean mooncake_trace?"},
		{[]string{"--seq-dist", "5,5:90"}, "not to 100"},
		{[]string{"-f", agents, "-r", "5"}, "--request-rate needs conversations"},
		{[]string{"-f", agents, "--sweep", "rate=5"}, "--request-rate needs conversations"},
		{[]string{"-f", agents, "--warmup-request-count", "5"}, "--agentic-warmup"},
		{[]string{"--warmup-seamless"}, "a warm-up needs an end"},
		{[]string{"-f", agents, "--warmup-seamless", "--warmup-request-count", "5"}, "--warmup-seamless needs conversations"},
		{[]string{"-f", agents, "--isl-block-size", "8"}, "agentic traces say theirs"},
		{[]string{"-f", rows, "--dag-fail-fast"}, "--dag-fail-fast needs agentic traces"},
		{[]string{"--synthesis-prompt-len-multiplier", "2"}, "need --input-file"},
		{[]string{"-f", rows, "--synthesis-prefix-root-multiplier", "0", "--synthesis-output-len-multiplier", "-1"}, "at least 1\n--synthesis: the output-len multiplier -1"},
		{[]string{"-f", agents, "--synthesis-prompt-len-multiplier", "2"}, "needs prompts of recorded lengths"},
	} {
		_, err := call(t.Context(), append(c.args, "--dry-run")...)
		require.ErrorContains(t, err, c.says, c.args)
	}
}

func TestWarmupsOfTheirOwnKind(t *testing.T) {
	for _, c := range []struct {
		args []string
		want drive.Phase
	}{
		{[]string{"-c", "8", "--warmup-request-count", "5"}, drive.Phase{Requests: 5, Shape: drive.Shape{Kind: drive.Closed, Concurrency: 8}}},
		{[]string{"-c", "8", "--num-warmup-sessions", "3", "--warmup-concurrency", "2", "--warmup-grace-period", "4"},
			drive.Phase{Sessions: 3, Grace: 4 * time.Second, Shape: drive.Shape{Kind: drive.Closed, Concurrency: 2}}},
		{[]string{"-c", "8", "--warmup-duration", "3", "--warmup-request-rate", "7", "--warmup-arrival-pattern", "constant", "--warmup-request-rate-ramp-duration", "2"},
			drive.Phase{Duration: 3 * time.Second, Shape: drive.Shape{Kind: drive.Open, Rate: 7, Concurrency: 8, Arrival: pace.Constant, RateRamp: 2 * time.Second}}},
		{[]string{"--user-centric-rate", "3", "--num-users", "4", "--warmup-request-count", "5"}, drive.Phase{Requests: 5, Shape: drive.Shape{Kind: drive.Closed, Concurrency: 4}}},
	} {
		o := parsed(t, c.args...)
		got := o.warmup(o.shape())
		want := c.want
		want.Name = "warmup"
		if want.Grace == 0 {
			want.Grace = -1
		}
		want.Shape.Smoothness, want.Shape.SpeedUp, want.Shape.AutoOffset = got.Shape.Smoothness, got.Shape.SpeedUp, got.Shape.AutoOffset
		require.Equal(t, &want, got, c.args)
	}
	require.Nil(t, parsed(t).warmup(drive.Shape{}))
}

// A pool of synthetic prompts is played again and again.
func TestAPoolOfSyntheticPrompts(t *testing.T) {
	server := serve(t, nil)
	out, err := call(t.Context(), "-u", server.URL, "-m", "m", "--isl", "9", "--osl", "2", "--num-dataset-entries", "3", "-n", "12")
	require.NoError(t, err)
	require.Contains(t, out, "ISL 9 · OSL 2")
	require.NotContains(t, out, usualScenario)
	seen := map[string]int{}
	for _, r := range server.Recordings() {
		seen[r.PromptText()]++
	}
	require.Len(t, seen, 3)
	for _, n := range seen {
		require.Equal(t, 4, n, "each once a pass")
	}
}

// A trace of other lengths is what is shown, and what is sent.
func TestASynthesizedTraceIsShownAndSent(t *testing.T) {
	trace := write(t, "trace.jsonl", `{"input_length":40,"output_length":9,"hash_ids":[1,2]}
{"input_length":30,"output_length":2,"hash_ids":[1,3]}
`)
	args := []string{"--isl-block-size", "20", "--synthesis-prefix-len-multiplier", "2", "--synthesis-prompt-len-multiplier", "0.5", "--synthesis-max-osl", "5"}
	out, err := call(t.Context(), append([]string{"analyze-trace", trace}, args...)...)
	require.NoError(t, err)
	require.Contains(t, out, "Note: prompts are not as recorded: shared prefixes 2 times as long, what each has of its own 0.5 times as long; the 2 of them have 95 tokens, recorded were 70.")
	server := serve(t, nil)
	args = append(args, "-u", server.URL, "-m", "m", "-f", trace, "-n", "2")
	out, err = call(t.Context(), append(args, "--dry-run")...)
	require.NoError(t, err)
	require.Contains(t, out, "have 95 tokens")
	out, err = call(t.Context(), args...)
	require.NoError(t, err)
	require.Contains(t, out, "have 95 tokens")
	var sent []string
	for _, r := range server.Recordings() {
		sent = append(sent, r.PromptText())
		require.LessOrEqual(t, r.Limit(), 5)
	}
	require.Len(t, sent, 2)
	require.ElementsMatch(t, []int{50 * 4, 45 * 4}, []int{len(sent[0]), len(sent[1])}, "four bytes to a token")
	require.Equal(t, sent[0][:160], sent[1][:160])
}

// A published dataset is loaded by its name, here from a mirror.
func TestAPublicDataset(t *testing.T) {
	data, err := os.ReadFile("../load/input/testdata/azure.csv")
	require.NoError(t, err)
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "/raw.githubusercontent.com/Azure/AzurePublicDataset/master/data/AzureLLMInferenceTrace_code.csv", r.URL.Path)
		_, _ = w.Write(data)
	}))
	t.Cleanup(mirror.Close)
	t.Setenv("FLEETUNE_DATASET_MIRROR", mirror.URL)
	cache := "--dataset-cache=" + t.TempDir()
	out, err := call(t.Context(), "analyze-trace", "--public-dataset", "azure_code_2023", cache)
	require.NoError(t, err)
	require.Contains(t, out, "Format: azure_csv")
	out, err = call(t.Context(), "-m", "m", "--public-dataset", "azure_code_2023", cache, "--fixed-schedule", "--dry-run")
	require.NoError(t, err)
	require.Contains(t, out, "Load: schedule")
	_, err = call(t.Context(), "--public-dataset", "azure_code")
	require.ErrorContains(t, err, "did you mean azure_co")
	_, err = call(t.Context(), "--public-dataset", "sharegpt", "-f", "x")
	require.ErrorContains(t, err, "exclude each other")
	_, err = call(t.Context(), "analyze-trace")
	require.ErrorContains(t, err, "name a file")
	o := parsed(t, "--public-dataset", "azure_code_2023", "--workers", "2", "-c", "2")
	require.NoError(t, o.find())
	order, err := o.order(0)
	require.NoError(t, err)
	require.NotContains(t, strings.Join(order.Load.Arguments, " "), "public-dataset")
	require.Contains(t, strings.Join(order.Load.Arguments, " "), "--input-file="+mirror.URL)
}

func write(t *testing.T, name, text string) string {
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}
