package metrics

import (
	"encoding/json"
	"math"
	"slices"
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
		InputTokens: 1000, ContentTokens: 4, ReasoningTokens: 1, WantedTokens: 10, PlannedTokens: 800, CountedTokens: 4,
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
		"overall_usage_prompt_cache_read_pct": 25, "usage_prompt_tokens_diff_pct": 25, "usage_completion_tokens_diff_pct": 25, "usage_discrepancy_count": 1,
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
	short, err := ParseSLOs("ttft:60 tpot:10")
	require.NoError(t, err)
	require.Equal(t, slos, short)
	_, err = ParseSLOs("ttft nothing:1 request_latency:x time_to_first_tokn:3 goodput:1")
	for _, says := range []string{`"ttft": want`, `no request has a metric "nothing"`, `"x" is not a number`, "there are time_to_first_token and others", `metric "goodput"`} {
		require.ErrorContains(t, err, says)
	}
}

func TestCurves(t *testing.T) {
	// One request: 1 s prefill of 100 tokens, 1 s decode of 50; then 2 s of none.
	s := int64(nsPerS)
	got := map[string]Stats{}
	for _, m := range curves([]point{{start: s, first: 2 * s, end: 3 * s, input: 100, output: 50, streamed: true}}, s, 5*s) {
		got[m.Tag] = m.Stats
	}
	for tag, want := range map[string]float64{
		"effective_concurrency": 0.5, "effective_prefill_concurrency": 0.25, "effective_decode_concurrency": 0.25,
		"effective_prefill_throughput": 25, "effective_decode_throughput": 12.5, "effective_total_throughput": 37.5,
		"effective_prefill_throughput_per_user": 25, "effective_decode_throughput_per_user": 12.5, "effective_total_throughput_per_user": 37.5,
		"tokens_in_flight":   (100.0 + 150) / 4,
		"active_concurrency": 1, "active_prefill_concurrency": 1, "active_decode_concurrency": 1,
		"active_prefill_throughput": 100, "active_decode_throughput": 50, "active_total_throughput": 75,
		"active_prefill_throughput_per_user": 100, "active_decode_throughput_per_user": 50, "active_total_throughput_per_user": 75,
		"active_tokens_in_flight": 125,
	} {
		require.InDelta(t, want, got[tag].Avg, 1e-9, tag)
		delete(got, tag)
	}
	require.Empty(t, got, "every figure over time has its oracle here")
}

// The same request over time, in samples of a tenth of a second.
func TestSeries(t *testing.T) {
	s := int64(nsPerS)
	got := series([]point{
		{start: 0, first: s / 2, end: s, input: 100, output: 50, streamed: true},
		{start: s / 2, end: s, input: 10, failed: true},
	}, 0, s)
	require.InDelta(t, 0.1, got.Interval, 1e-12)
	require.Len(t, got.Requests, 11)
	require.InDelta(t, 10, got.Requests[10], 1e-9, "one in a tenth of a second")
	require.InDelta(t, 10, got.Failures[10], 1e-9)
	require.InDelta(t, 100, got.Tokens[7], 1e-9)
	require.Zero(t, got.Tokens[3])
	require.InDelta(t, 1, got.Concurrency[2], 1e-9)
	require.InDelta(t, 2, got.Concurrency[7], 1e-9)
	require.InDelta(t, 1, got.Prefill[7], 1e-9, "a request without a first token waits to its end")
	require.InDelta(t, 160, got.InFlight[7], 1e-9)
	require.InDelta(t, 500, got.TTFTp50[0], 1e-9)
	require.InDelta(t, 1000, got.LatencyP99[0], 1e-9)
	require.True(t, math.IsNaN(got.LatencyP99[5]), "failures have no latency")
	raw, err := json.Marshal(got)
	require.NoError(t, err)
	var back Series
	require.NoError(t, json.Unmarshal(raw, &back))
	require.Equal(t, got.Requests, back.Requests)
	require.True(t, math.IsNaN(back.LatencyP99[5]))
	require.EqualValues(t, nsPerS/10, interval(20*s, 1e6))
	require.Equal(t, 2*s, interval(20*s, 3), "few requests need few samples")
	require.Equal(t, 20*s, interval(60*60*s, 1e6), "an hour")
}

// Percentiles against the textbook, and a sketch against the samples.
func TestDistributions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		xs := rapid.SliceOfN(rapid.OneOf(rapid.Float64Range(0.001, 1e5), rapid.Float64Range(-100, -0.001)), 1, 300).Draw(t, "samples")
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
		size := math.Max(math.Abs(want.Min), math.Abs(want.Max))
		require.InDelta(t, want.Avg, got.Avg, 1e-9*size)
		require.InDelta(t, want.Std, got.Std, 1e-6*size)
		sort.Float64s(xs)
		for _, p := range []float64{1, 25, 50, 90, 99} {
			at := p / 100 * float64(len(xs)-1)
			low, high := xs[int(math.Floor(at))], xs[int(math.Ceil(at))]
			require.GreaterOrEqual(t, exact.Percentile(p), low)
			require.LessOrEqual(t, exact.Percentile(p), high)
			if !first.Exact() { // a sketch names a sample within one rank
				rank := int(math.Ceil(p / 100 * float64(len(xs))))
				low, high := xs[max(rank-2, 0)], xs[min(rank, len(xs)-1)]
				require.GreaterOrEqual(t, first.Percentile(p), low-math.Abs(low)*SketchError)
				require.LessOrEqual(t, first.Percentile(p), high+math.Abs(high)*SketchError)
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
	for _, d := range slices.Concat(Definitions(), ofRun, ofTime) {
		require.False(t, seen[d.Tag], d.Tag)
		require.NotEmpty(t, d.Header)
		require.NotEmpty(t, d.Unit)
		seen[d.Tag] = true
	}
	require.LessOrEqual(t, len(perRequest), len(tally{}.dists))
}
