package batching

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/hardware"
	"github.com/fleetune/fleetune/worker/simulate/roofline"
)

func costs(t require.TestingT) *roofline.Model {
	g, err := hardware.Lookup("h100-sxm")
	require.NoError(t, err)
	m, err := roofline.New(roofline.Config{GPU: g, TP: 1, PP: 1, WeightBits: 16, CacheBits: 16, GraphTokens: 512, StepTime: 0.5e-3, SequenceTime: 4e-6,
		Model: task.Architecture{Layers: 32, Hidden: 4096, Intermediate: 14336, Heads: 32, KVHeads: 8, HeadDim: 128, Vocabulary: 128256}})
	require.NoError(t, err)
	return m
}

// vllm is a policy like vLLM's, with room for so many tokens.
func vllm(tokens int) Policy {
	return Policy{Style: Mixed, Order: Arrival, MaxSequences: 256, MaxTokens: 2048, Chunk: 2048, Block: 16, Blocks: tokens / 16, Keep: true}
}

// sglang is a policy like SGLang's.
func sglang(tokens int) Policy {
	return Policy{Style: PrefillFirst, Order: LongestPrefix, MaxSequences: 256, MaxTokens: 16384, Chunk: 2048, Reserve: 0.7, Block: 16, Blocks: tokens / 16, Keep: true}
}

// prompt of n tokens of which the first shared ones are everybody's.
func prompt(number, n, shared int) []uint32 {
	tokens := make([]uint32, n)
	for i := range tokens {
		tokens[i] = uint32(i)
		if i >= shared {
			tokens[i] += uint32(number+1) << 16
		}
	}
	return tokens
}

// finish steps until nothing is left, and returns the time it took.
func finish(t require.TestingT, r *Rank) float64 {
	total := 0.0
	for range 1_000_000 {
		time, err := r.Begin()
		require.NoError(t, err)
		if time == 0 {
			require.Zero(t, r.Waiting(), "somebody waits and nothing is done")
			require.Zero(t, r.Running(), "somebody runs and nothing is done")
			return total
		}
		total += time
		r.End()
	}
	require.Fail(t, "no end")
	return 0
}

// Whatever the policy and the requests, everybody gets the reply asked for, no
// step exceeds its bounds, and the cache is empty afterwards.
func TestEverybodyIsServed(t *testing.T) {
	model := costs(t)
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{
			Style: rapid.SampledFrom([]Style{Mixed, PrefillFirst}).Draw(t, "style"),
			Order: rapid.SampledFrom([]Order{Arrival, ByPriority, LongestPrefix, LongestOutput}).Draw(t, "order"),
			Mix:   rapid.Bool().Draw(t, "mix"), Keep: rapid.Bool().Draw(t, "keep"),
			MaxSequences: rapid.IntRange(1, 8).Draw(t, "sequences"), MaxTokens: rapid.IntRange(1, 200).Draw(t, "tokens"),
			Chunk: rapid.IntRange(0, 100).Draw(t, "chunk"), Reserve: rapid.Float64Range(0, 1).Draw(t, "reserve"),
			Continuous: rapid.IntRange(1, 4).Draw(t, "continuous"),
			Block:      rapid.IntRange(1, 16).Draw(t, "block"), Blocks: rapid.IntRange(1, 60).Draw(t, "blocks"),
		}
		r := NewRank(p, model)
		var all []*Sequence
		for i := range rapid.IntRange(1, 12).Draw(t, "requests") {
			n := rapid.IntRange(1, 120).Draw(t, "prompt")
			s, err := r.Add(Request{Prompt: prompt(i, n, rapid.IntRange(0, n).Draw(t, "shared")),
				Output: rapid.IntRange(1, 40).Draw(t, "output"), Priority: rapid.IntRange(0, 2).Draw(t, "priority")})
			if err != nil {
				require.ErrorIs(t, err, ErrTooLong)
				continue
			}
			all = append(all, s)
			for range rapid.IntRange(0, 3).Draw(t, "steps") {
				_, err := r.Begin()
				require.NoError(t, err)
				require.LessOrEqual(t, r.Running(), p.MaxSequences)
				if p.Style == Mixed {
					require.LessOrEqual(t, r.batch.Tokens(), p.MaxTokens)
				}
				r.End()
			}
			if rapid.IntRange(0, 9).Draw(t, "abort") == 0 {
				r.Abort(s)
				all = all[:len(all)-1]
			}
		}
		finish(t, r)
		for _, s := range all {
			require.Len(t, s.Reply(), s.Output)
		}
		require.Zero(t, r.pool.Used())
		require.True(t, r.Flush())
	})
}

// load serves n equal requests that arrive at once and returns tokens/s.
func load(t require.TestingT, p Policy, n, in, out, shared int) (rate float64, r *Rank) {
	r = NewRank(p, costs(t))
	for i := range n {
		_, err := r.Add(Request{Prompt: prompt(i, in, shared), Output: out})
		require.NoError(t, err)
	}
	return float64(n*out) / finish(t, r), r
}

func TestMoreSequencesAtOnceServeMoreUntilTheCacheIsFull(t *testing.T) {
	for name, policy := range map[string]func(int) Policy{"vllm": vllm, "sglang": sglang} {
		before := 0.0
		for _, n := range []int{1, 4, 16, 64} {
			p := policy(400_000)
			p.MaxSequences = n
			rate, r := load(t, p, 64, 256, 128, 0)
			require.Greater(t, rate, before, "%s: %d at once", name, n)
			require.Zero(t, r.Statistics().Preemptions)
			before = rate
		}
		small := policy(4096) // ten of them fit
		rate, r := load(t, small, 64, 256, 128, 0)
		require.Less(t, rate, before, name)
		if name == "vllm" {
			require.Positive(t, r.Statistics().Preemptions, "admission there does not reserve")
		}
	}
}

func TestASharedBeginningIsComputedOnce(t *testing.T) {
	for name, policy := range map[string]func(int) Policy{"vllm": vllm, "sglang": sglang} {
		p := policy(400_000)
		p.MaxSequences = 4
		kept, r := load(t, p, 32, 2048, 16, 1984)
		queried, hit := r.CacheQueries()
		require.Greater(t, float64(hit), 0.7*float64(queried), name)
		require.Positive(t, r.Statistics().CachedTokens)
		p.Keep = false
		plain, r := load(t, p, 32, 2048, 16, 1984)
		require.Greater(t, kept, 2*plain, name)
		require.Zero(t, r.Statistics().CachedTokens)
	}
}

// first is when a sequence gets its first token, second the longest time
// between two tokens of another that is decoding meanwhile.
func interference(t *testing.T, p Policy) (first, stall float64) {
	r := NewRank(p, costs(t))
	speaker, err := r.Add(Request{Prompt: prompt(0, 16, 0), Output: 400})
	require.NoError(t, err)
	for range 20 {
		_, err := r.Begin()
		require.NoError(t, err)
		r.End()
	}
	long, err := r.Add(Request{Prompt: prompt(1, 8000, 0), Output: 4})
	require.NoError(t, err)
	now, last := 0.0, 0.0
	for !long.Done() {
		time, err := r.Begin()
		require.NoError(t, err)
		now += time
		for _, s := range r.End() {
			if s == speaker {
				stall = max(stall, now-last)
				last = now
			}
			if s == long && first == 0 {
				first = now
			}
		}
	}
	return first, stall
}

func TestSmallChunksKeepOthersSpeaking(t *testing.T) {
	small, large := vllm(400_000), vllm(400_000)
	small.MaxTokens, small.Chunk = 512, 512
	large.MaxTokens, large.Chunk = 8192, 8192
	firstSmall, stallSmall := interference(t, small)
	firstLarge, stallLarge := interference(t, large)
	require.Less(t, stallSmall, 0.2*stallLarge)
	require.Greater(t, firstSmall, firstLarge, "which the long prompt pays for")
}

func TestPromptsGoFirstUnlessMixed(t *testing.T) {
	_, alone := interference(t, sglang(400_000))
	mixed := sglang(400_000)
	mixed.Mix = true
	_, together := interference(t, mixed)
	require.Less(t, together, 0.5*alone)
}

func TestPriorityOvertakesAndArrivalDoesNot(t *testing.T) {
	for order, want := range map[Order]int{ByPriority: 2, Arrival: 0} {
		p := vllm(400_000)
		p.Order, p.MaxSequences = order, 1
		r := NewRank(p, costs(t))
		var all []*Sequence
		for i := range 3 {
			s, err := r.Add(Request{Prompt: prompt(i, 16, 0), Output: 1, Priority: 2 - i})
			require.NoError(t, err)
			all = append(all, s)
		}
		_, err := r.Begin()
		require.NoError(t, err)
		require.Equal(t, []*Sequence{all[want]}, r.End())
	}
}

func TestAPromptBeyondTheMemoryLeftKillsTheEngine(t *testing.T) {
	p := sglang(400_000)
	p.SafeTokens = 1024
	r := NewRank(p, costs(t))
	_, err := r.Add(Request{Prompt: prompt(0, 1000, 0), Output: 1})
	require.NoError(t, err)
	finish(t, r)
	_, err = r.Add(Request{Prompt: prompt(0, 4000, 0), Output: 1})
	require.NoError(t, err)
	_, err = r.Begin()
	require.ErrorIs(t, err, ErrOutOfMemory)
}

func TestWhatCannotFitIsRefused(t *testing.T) {
	p := vllm(160)
	r := NewRank(p, costs(t))
	_, err := r.Add(Request{Prompt: prompt(0, 150, 0), Output: 11})
	require.ErrorIs(t, err, ErrTooLong)
	_, err = r.Add(Request{Prompt: prompt(0, 150, 0), Output: 10})
	require.NoError(t, err)
	finish(t, r)
}

func TestContinuedStepsCostTheHostLess(t *testing.T) {
	often, seldom := sglang(400_000), sglang(400_000)
	seldom.Continuous = 4
	a, _ := load(t, often, 4, 64, 400, 0)
	b, _ := load(t, seldom, 4, 64, 400, 0)
	require.Greater(t, b, a)
}
