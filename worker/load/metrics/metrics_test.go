package metrics

import (
	"math"
	"sort"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const msec = int64(1e6)

func record() *Record {
	return &Record{
		Issued: 90 * msec, Scheduled: 80 * msec, Start: 100 * msec, End: 400 * msec,
		Chunks:      []Chunk{{150 * msec, Reasoning}, {200 * msec, Content}, {250 * msec, Content}, {350 * msec, Content}},
		InputTokens: 1000, ContentTokens: 4, ReasoningTokens: 1, WantedTokens: 10, PlannedTokens: 800,
		Usage: Usage{Prompt: 1000, Completion: 5, Total: 1005, Reasoning: 1, CacheRead: 250, CacheWrite: -1, CacheMiss: -1},
		HTTP:  NoHTTP(), Streamed: true,
	}
}

// Every figure of one request, by hand.
func TestFiguresOfOneRequest(t *testing.T) {
	c := NewCollector(Options{SLOs: []SLO{{TagTTFT, 50}, {TagOSL, 5}}})
	c.Add(record())
	s := c.Summary()
	for tag, want := range map[string]float64{
		TagTTFT: 50, "time_to_second_token": 50, "time_to_first_output_token": 100,
		TagLatency: 250, TagITL: 200.0 / 4, TagICL: 200.0 / 3,
		"output_token_throughput_per_user": 20, "e2e_output_token_throughput": 20,
		"prefill_throughput_per_user": 20000, "output_token_count": 4, "reasoning_token_count": 1,
		TagOSL: 5, TagISL: 1000, TagRequestCount: 1, TagErrorCount: 0, TagErrorRate: 0,
		TagDuration: 0.25, TagRequestThroughput: 4, TagOutputThroughput: 20, TagTotalThroughput: 4020,
		"total_isl": 1000, "total_osl": 5, "total_output_tokens": 4, "total_reasoning_tokens": 1,
		TagGoodCount: 1, TagGoodput: 4, "usage_prompt_tokens": 1000, "usage_completion_tokens": 5,
		"usage_total_tokens": 1005, "usage_reasoning_tokens": 1, "usage_prompt_cache_read_tokens": 250,
		"overall_usage_prompt_cache_read_pct": 25, "usage_prompt_tokens_diff_pct": 25, "usage_discrepancy_count": 1,
		"osl_mismatch_diff_pct": -50, "osl_mismatch_count": 1,
		TagEffectiveLatency: 270, TagSendLag: 20,
	} {
		m, ok := s.Get(tag)
		require.True(t, ok, tag)
		require.InDelta(t, want, m.Stats.Avg, 1e-9, tag)
	}
	_, ok := s.Get("usage_prompt_cache_write_tokens")
	require.False(t, ok, "a count that was not reported has no figure")
}

func TestOnlyValidRequestsEnter(t *testing.T) {
	c := NewCollector(Options{SLOs: []SLO{{TagTTFT, 1000}}})
	bad := record()
	bad.Err = &Error{Class: ErrOverflow, Code: 400, Message: "too long"}
	empty := record()
	empty.Chunks = nil
	for _, r := range []*Record{record(), bad, empty} {
		c.Add(r)
	}
	s := c.Summary()
	require.EqualValues(t, 1, s.Value(TagRequestCount))
	require.EqualValues(t, 2, s.Value(TagErrorCount))
	require.InDelta(t, 2.0/3, s.Value(TagErrorRate), 1e-9)
	require.EqualValues(t, 1, s.Value("context_overflow_count"))
	require.EqualValues(t, 1, s.Value(TagGoodCount))
	require.Equal(t, []ErrorCount{{ErrOverflow, 400, "too long", 1}}, s.Errors)
}

// What was out when the run was stopped has not failed.
func TestStoppedRequestsAreNotFailures(t *testing.T) {
	c := NewCollector(Options{})
	stopped := record()
	stopped.Err = &Error{Class: ErrStopped}
	c.Add(record())
	c.Add(stopped)
	s := c.Summary()
	require.Zero(t, s.Value(TagErrorCount))
	require.Zero(t, s.Value(TagErrorRate))
	require.Empty(t, s.Errors)
	require.EqualValues(t, 1, s.Value("unfinished_request_count"))
	require.Zero(t, c.Live().Failed)
}

func TestMissingFigureBreaksItsSLO(t *testing.T) {
	slos, err := ParseSLOs("time_to_first_token:60 inter_token_latency:10")
	require.NoError(t, err)
	r := record()
	r.ContentTokens, r.ReasoningTokens = 1, 0 // one token has no gap
	require.False(t, good(r, slos))
	require.True(t, good(r, slos[:1]))
	for _, bad := range []string{"ttft", "nothing:1", "request_latency:x"} {
		_, err := ParseSLOs(bad)
		require.Error(t, err)
	}
}

func TestCurves(t *testing.T) {
	// One request: 1 s prefill of 100 tokens, 1 s decode of 50; then 2 s of none.
	s := int64(nsPerS)
	got := curves([]point{{start: s, first: 2 * s, end: 3 * s, input: 100, output: 50}}, s, 5*s)
	require.InDelta(t, 0.5, got["effective_concurrency"].Avg, 1e-9)
	require.InDelta(t, 1, got["active_concurrency"].Avg, 1e-9)
	require.InDelta(t, 0.25, got["effective_prefill_concurrency"].Avg, 1e-9)
	require.InDelta(t, 25, got["effective_prefill_throughput"].Avg, 1e-9)
	require.InDelta(t, 12.5, got["effective_decode_throughput"].Avg, 1e-9)
	require.InDelta(t, 50, got["effective_decode_throughput_per_user"].Avg, 1e-9)
	require.InDelta(t, (100.0+150)/4, got["tokens_in_flight"].Avg, 1e-9)
	require.Equal(t, 150.0, got["tokens_in_flight"].Max)
}

// Percentiles against the textbook, and a sketch against the samples.
func TestDistributions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		xs := rapid.SliceOfN(rapid.Float64Range(0.001, 1e5), 1, 300).Draw(t, "samples")
		var exact Distribution
		first, second := Distribution{limit: 10}, Distribution{limit: 10}
		cut := rapid.IntRange(0, len(xs)).Draw(t, "cut")
		for i, x := range xs {
			exact.Add(x)
			if i < cut {
				first.Add(x)
			} else {
				second.Add(x)
			}
		}
		first.Merge(&second)
		got, want := first.Stats(), exact.Stats()
		require.Equal(t, want.Count, got.Count)
		require.Equal(t, want.Min, got.Min)
		require.Equal(t, want.Max, got.Max)
		require.InEpsilon(t, want.Avg, got.Avg, 1e-9)
		require.InDelta(t, want.Std, got.Std, 1e-6*want.Max)
		sort.Float64s(xs)
		for _, p := range []float64{1, 25, 50, 90, 99} {
			at := p / 100 * float64(len(xs)-1)
			low, high := xs[int(math.Floor(at))], xs[int(math.Ceil(at))]
			require.GreaterOrEqual(t, exact.Percentile(p), low)
			require.LessOrEqual(t, exact.Percentile(p), high)
			if !first.Exact() { // a sketch names a sample within one rank
				rank := int(math.Ceil(p / 100 * float64(len(xs))))
				low, high := xs[max(rank-2, 0)], xs[min(rank, len(xs)-1)]
				require.GreaterOrEqual(t, first.Percentile(p), low*(1-SketchError))
				require.LessOrEqual(t, first.Percentile(p), high*(1+SketchError))
			}
		}
	})
}

func TestSlicesBelongToTheStart(t *testing.T) {
	c := NewCollector(Options{Slice: 100 * msec})
	c.Add(record())
	late := record()
	late.Start = 199 * msec
	late.Chunks = []Chunk{{At: 300 * msec}}
	c.Add(late)
	third := record()
	third.Start = 200 * msec
	third.Chunks = []Chunk{{At: 300 * msec}}
	c.Add(third)
	s := c.Summary()
	require.Len(t, s.Slices, 2)
	require.EqualValues(t, 1, s.Slices[0].Index)
	require.EqualValues(t, 2, s.Slices[1].Index)
}

func TestEveryTagIsNamedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range Definitions() {
		require.False(t, seen[d.Tag], d.Tag)
		require.NotEmpty(t, d.Header)
		require.NotEmpty(t, d.Unit)
		seen[d.Tag] = true
	}
	require.LessOrEqual(t, len(perRequest), len(tally{}.dists))
}
