package roofline

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/hardware"
)

func llama8B() task.Architecture {
	return task.Architecture{Name: "Llama-3.1-8B", Layers: 32, Hidden: 4096, Intermediate: 14336, Heads: 32, KVHeads: 8, HeadDim: 128, Vocabulary: 128256}
}

func llama7B() task.Architecture {
	return task.Architecture{Name: "LLaMA-7B", Layers: 32, Hidden: 4096, Intermediate: 11008, Heads: 32, KVHeads: 32, HeadDim: 128, Vocabulary: 32000}
}

func deepSeekV3() task.Architecture {
	return task.Architecture{Name: "DeepSeek-V3", Layers: 61, Hidden: 7168, Intermediate: 18432, Heads: 128, KVHeads: 128, HeadDim: 128, Vocabulary: 129280,
		Experts: 256, ExpertsPerToken: 8, SharedExperts: 1, MoEIntermediate: 2048, DenseLayers: 3, KVLoraRank: 512, RopeHeadDim: 64, QLoraRank: 1536, VHeadDim: 128}
}

func mixtral() task.Architecture {
	return task.Architecture{Name: "Mixtral-8x7B", Layers: 32, Hidden: 4096, Intermediate: 14336, Heads: 32, KVHeads: 8, HeadDim: 128, Vocabulary: 32000, Experts: 8, ExpertsPerToken: 2}
}

// on places a model on a GPU with the settings of an engine at its defaults.
func on(t require.TestingT, gpu string, a task.Architecture, change func(*Config)) *Model {
	g, err := hardware.Lookup(gpu)
	require.NoError(t, err)
	cfg := Config{GPU: g, Model: a, TP: 1, PP: 1, WeightBits: 16, CacheBits: 16, ComputeBits: 16, GraphTokens: 512, StepTime: 0.5e-3, SequenceTime: 4e-6}
	if change != nil {
		change(&cfg)
	}
	m, err := New(cfg)
	require.NoError(t, err)
	return m
}

func fp8(c *Config) { c.WeightBits, c.CacheBits, c.ComputeBits = 8, 8, 8 }

// The numbers of parameters are those that the makers publish.
func TestParametersAreCounted(t *testing.T) {
	for _, c := range []struct {
		model         task.Architecture
		total, active float64
	}{
		{llama8B(), 8.03e9, 8.03e9},
		{llama7B(), 6.74e9, 6.74e9},
		{mixtral(), 46.7e9, 12.9e9},
		{deepSeekV3(), 671e9, 37e9},
	} {
		s, err := newShape(c.model)
		require.NoError(t, err)
		require.InEpsilon(t, c.total, s.all()+s.head+s.embedding, 0.01, c.model.Name)
		// Published counts of active parameters include head and embedding.
		require.InEpsilon(t, c.active, s.active()+s.head+s.embedding, 0.03, c.model.Name)
	}
}

// decode is the time of a step in which n sequences decode after so many tokens.
func decode(m *Model, n, context int) float64 {
	b := Batch{Sequences: n}
	for range n {
		b.AddDecode(context)
	}
	return m.Step(b)
}

func prefill(m *Model, tokens int) float64 {
	b := Batch{Sequences: 1}
	b.AddChunk(0, tokens)
	return m.Step(b)
}

// Published measurements of real engines are met within the stated margin;
// shared/docs/simulated-engine.md names the sources.
func TestPublishedMeasurementsAreMet(t *testing.T) {
	// Llama-3.1-8B in 16 bits under vLLM, one request at a time.
	h100, a100 := decode(on(t, "h100-sxm", llama8B(), nil), 1, 128), decode(on(t, "a100-40", llama8B(), nil), 1, 1088)
	t.Logf("Llama-3.1-8B, one request: H100 %.2f ms a token, A100 %.1f tokens/s", 1e3*h100, 1/a100)
	require.InEpsilon(t, 6.48e-3, h100, 0.1)
	require.InEpsilon(t, 75, 1/a100, 0.1)
	// LLaMA-7B in FP8 on an H100 under TensorRT-LLM, 64 sequences at once with
	// prompt and reply of these lengths: output tokens/s.
	m := on(t, "h100-sxm", llama7B(), fp8)
	for _, c := range []struct {
		in, out int
		want    float64
	}{{128, 128, 9193}, {128, 2048, 5367}, {2048, 128, 2058}} {
		time := 0.0
		for range 64 {
			time += prefill(m, c.in)
		}
		for i := range c.out {
			time += decode(m, 64, c.in+i)
		}
		t.Logf("LLaMA-7B in FP8, 64 at once, %d in, %d out: %.0f tokens/s", c.in, c.out, 64*float64(c.out)/time)
		require.InEpsilon(t, c.want, 64*float64(c.out)/time, 0.2, "%d in, %d out", c.in, c.out)
	}
}

func TestBiggerBatchesServeMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := on(t, rapid.SampledFrom(hardware.Names()).Draw(t, "gpu"), llama8B(), nil)
		n := rapid.IntRange(1, 500).Draw(t, "sequences")
		context := rapid.IntRange(1, 4000).Draw(t, "context")
		one, two := decode(m, n, context), decode(m, n+1, context)
		require.Greater(t, two, one, "each token takes longer")
		if n+1 > 512 || n == 512 {
			return // past the last graph the host launches kernels: a step down
		}
		require.GreaterOrEqual(t, float64(n+1)/two, float64(n)/one*(1-1e-9), "but there are more of them")
	})
}

func TestFasterPartsAreFaster(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 256).Draw(t, "sequences")
		context := rapid.IntRange(64, 8000).Draw(t, "context")
		plain := decode(on(t, "h100-sxm", llama8B(), nil), n, context)
		for name, faster := range map[string]*Model{
			"tensor parallel": on(t, "h100-sxm", llama8B(), func(c *Config) { c.TP = 2 }),
			"8-bit weights":   on(t, "h100-sxm", llama8B(), func(c *Config) { c.WeightBits = 8 }),
			"8-bit cache":     on(t, "h100-sxm", llama8B(), func(c *Config) { c.CacheBits = 8 }),
			"more bandwidth":  on(t, "h200-sxm", llama8B(), nil),
		} {
			require.LessOrEqual(t, decode(faster, n, context), plain, name)
			if n <= 128 {
				require.Less(t, decode(faster, n, context), plain, "%s: so few are bound by reading", name)
			}
		}
		eager := on(t, "h100-sxm", llama8B(), func(c *Config) { c.GraphTokens = 0 })
		require.GreaterOrEqual(t, decode(eager, n, context), plain, "graphs do not slow down")
	})
}

func TestPrefillGainsFromEightBitsOnlyWhereTheGPUHasThem(t *testing.T) {
	for gpu, gains := range map[string]bool{"h100-sxm": true, "l40s": true, "a100-80": false} {
		weights := func(c *Config) { c.WeightBits = 8 }
		compute := func(c *Config) {
			c.WeightBits = 8
			if c.GPU.FP8 > 0 {
				c.ComputeBits = 8
			}
		}
		require.Equal(t, gains, prefill(on(t, gpu, llama8B(), compute), 4096) < 0.8*prefill(on(t, gpu, llama8B(), weights), 4096), gpu)
	}
}

func TestLinksDecideWhatTensorParallelismCosts(t *testing.T) {
	two := func(c *Config) { c.TP = 2 }
	gain := func(gpu string) float64 {
		return decode(on(t, gpu, llama8B(), nil), 8, 512) / decode(on(t, gpu, llama8B(), two), 8, 512)
	}
	require.Greater(t, gain("a100-80"), gain("a100-80-pcie"))
	hosted := on(t, "a100-80", llama8B(), func(c *Config) { c.TP, c.GPU.Switched = 2, false })
	require.Greater(t, decode(hosted, 1, 512), decode(on(t, "a100-80", llama8B(), two), 1, 512), "the way over the host takes longer, whatever its width")
}

func TestALatentCacheIsSmallAndNotDividedByRanks(t *testing.T) {
	one := on(t, "h200-sxm", deepSeekV3(), func(c *Config) { c.TP, c.WeightBits = 8, 8 })
	// 61 layers × (512 + 64) values × 2 bytes: DeepSeek-V3 technical report.
	require.InDelta(t, 61*576*2, one.Memory(8192, 256, 0).CachePerToken, 1)
	split := on(t, "h200-sxm", deepSeekV3(), func(c *Config) { c.TP, c.WeightBits, c.AttentionDP = 8, 8, 8 })
	require.InDelta(t, 61*576*2/8, split.Memory(8192, 256, 0).CachePerToken, 1)
	dense := on(t, "h100-sxm", llama8B(), func(c *Config) { c.TP = 16 })
	// 8 KV heads on 16 ranks: each keeps one.
	require.InDelta(t, 32*2*128*2, dense.Memory(8192, 256, 0).CachePerToken, 1)
}

func TestFewTokensReadFewExperts(t *testing.T) {
	m := on(t, "h100-sxm", mixtral(), func(c *Config) { c.TP = 2 })
	require.Less(t, decode(m, 1, 128), 0.6*decode(m, 32, 128))
	require.InDelta(t, 2, m.shape.touched(1), 1e-9)
	require.InDelta(t, 8, m.shape.touched(1000), 1e-6)
}

func TestMemoryShrinksWithRanksAndBits(t *testing.T) {
	one := on(t, "h100-sxm", llama8B(), nil).Memory(8192, 256, 67)
	two := on(t, "h100-sxm", llama8B(), func(c *Config) { c.TP = 2 }).Memory(8192, 256, 67)
	staged := on(t, "h100-sxm", llama8B(), func(c *Config) { c.PP = 2 }).Memory(8192, 256, 67)
	small := on(t, "h100-sxm", llama8B(), func(c *Config) { c.WeightBits, c.CacheBits = 8, 8 }).Memory(8192, 256, 67)
	require.InEpsilon(t, 2, float64(one.Weights)/float64(two.Weights), 0.001)
	require.InEpsilon(t, 2, one.CachePerToken/two.CachePerToken, 0.001)
	require.InEpsilon(t, 2, one.CachePerToken/staged.CachePerToken, 0.001)
	require.InEpsilon(t, 2, one.CachePerToken/small.CachePerToken, 0.001)
	require.Less(t, small.Weights, one.Weights)
	require.InEpsilon(t, 16.06e9, float64(one.Weights), 0.01)
	require.InDelta(t, 131072, one.CachePerToken, 1)
	bigger := on(t, "h100-sxm", llama8B(), nil).Memory(16384, 256, 67)
	require.Greater(t, bigger.Fixed(), one.Fixed())
}

func TestImpossiblePlacementsAreRefused(t *testing.T) {
	g, err := hardware.Lookup("h100-sxm")
	require.NoError(t, err)
	_, err = New(Config{GPU: g, Model: llama8B(), TP: 3})
	require.ErrorContains(t, err, "32 attention heads")
	_, err = New(Config{GPU: g, Model: llama8B(), PP: 33})
	require.ErrorContains(t, err, "33 pipeline stages")
	_, err = New(Config{GPU: g, Model: task.Architecture{Name: "x"}})
	require.ErrorContains(t, err, "lacks layers")
}
