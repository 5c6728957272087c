package settings

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/engine"
	"github.com/fleetune/fleetune/shared/hardware"
	"github.com/fleetune/fleetune/worker/simulate/batching"
	"github.com/fleetune/fleetune/worker/simulate/model"
)

func read(t require.TestingT, name, gpu, command string) (*Settings, error) {
	g, err := hardware.Lookup(gpu)
	require.NoError(t, err)
	return Read(Input{Engine: name, GPU: g, Arguments: strings.Fields(command),
		Architecture: func(name string) (task.Architecture, error) { return model.Find(name, nil) }})
}

const eight = "serve meta-llama/Llama-3.1-8B-Instruct "

func TestTheEnginesWaysToBeStartedAreUnderstood(t *testing.T) {
	for name, command := range map[string]string{
		"serve":  "serve meta-llama/Llama-3.1-8B-Instruct --port 8123 --tensor-parallel-size 2",
		"module": "-m vllm.entrypoints.openai.api_server --model meta-llama/Llama-3.1-8B-Instruct --port=8123 --tensor_parallel_size=2",
		"short":  "--model meta-llama/Llama-3.1-8B-Instruct -tp 2 --port 8123",
	} {
		s, err := read(t, "vllm", "h100", command)
		require.NoError(t, err, name)
		require.Equal(t, "meta-llama/Llama-3.1-8B-Instruct", s.Model)
		require.Equal(t, 8123, s.Port)
	}
	s, err := read(t, "sglang", "h100", "--model-path meta-llama/Llama-3.1-8B-Instruct --served-model-name m")
	require.NoError(t, err)
	require.Equal(t, "m", s.Served)
	require.Equal(t, 30000, s.Port)
}

func TestArgumentsThatTheEngineDoesNotKnowAreNamed(t *testing.T) {
	for command, want := range map[string]string{
		eight + "--max-nmu-seqs 4 --other": "unrecognized arguments: --max-nmu-seqs 4 --other",
		eight + "--max-num-seqs many":      "argument --max-num-seqs: invalid integer value: 'many'",
		eight + "--max-num-seqs":           "argument --max-num-seqs: expected one argument",
		eight + "--scheduling-policy lpm":  "argument --scheduling-policy: invalid choice: 'lpm'",
		eight + "--enforce-eager=yes":      "argument --enforce-eager: ignored explicit argument",
		"--port 80":                        "required: model",
	} {
		_, err := read(t, "vllm", "h100", command)
		require.ErrorIs(t, err, ErrUsage, command)
		require.ErrorContains(t, err, want)
	}
	_, err := read(t, "llama.cpp", "h100", "--model meta-llama/Llama-3.1-8B-Instruct")
	require.ErrorIs(t, err, ErrInvalid)
}

func TestWhatHasNoEffectIsNamed(t *testing.T) {
	s, err := read(t, "vllm", "h100", eight+"--disable-custom-all-reduce --max-num-seqs 8")
	require.NoError(t, err)
	require.Equal(t, []string{"--disable-custom-all-reduce"}, s.Ignored)
}

// The engine dies while it loads where a real one does, with words that its
// log would have: those that a diagnosis looks for.
func TestWhatDoesNotFitDiesOfMemoryAsItLoads(t *testing.T) {
	for _, c := range []struct{ engine, gpu, command string }{
		{"vllm", "l4", "serve meta-llama/Llama-3.1-70B-Instruct"},
		{"vllm", "h100", "serve meta-llama/Llama-3.1-70B-Instruct --tensor-parallel-size 2 --gpu-memory-utilization 0.85"},
		{"vllm", "h100", eight + "--gpu-memory-utilization 0.999"},
		{"vllm", "rtx-4090", eight},
		{"vllm", "h100", eight + "--gpu-memory-utilization 0.15"},
		{"sglang", "a100-40", "--model-path meta-llama/Llama-3.1-70B-Instruct"},
		{"sglang", "h100", "--model-path meta-llama/Llama-3.1-8B-Instruct --mem-fraction-static 0.1"},
		{"sglang", "h100", "--model-path meta-llama/Llama-3.1-8B-Instruct --mem-fraction-static 0.999"},
	} {
		_, err := read(t, c.engine, c.gpu, c.command)
		require.ErrorIs(t, err, ErrMemory, c.command)
		e, lookupErr := engine.Lookup(c.engine)
		require.NoError(t, lookupErr)
		code := 1
		d := e.Diagnose("INFO simulated: loading\nfleetune-worker: simulated "+c.engine+": "+err.Error()+"\n", engine.Ended{Phase: engine.PhaseLoad, ExitCode: &code})
		require.Equal(t, engine.CauseOOMAtLoad, d.Cause, "%s: %v", c.command, err)
	}
	for _, c := range []struct{ engine, gpu, command string }{
		{"vllm", "h100", "serve meta-llama/Llama-3.1-70B-Instruct --tensor-parallel-size 4"},
		{"vllm", "rtx-4090", eight + "--max-model-len 8192"},
		{"vllm", "h100", "serve meta-llama/Llama-3.1-70B-Instruct --quantization fp8 --max-model-len 4096 --max-num-seqs 64 --max-num-batched-tokens 2048 --gpu-memory-utilization 0.97"},
		{"sglang", "h100", "--model-path meta-llama/Llama-3.1-70B-Instruct --tp-size 4"},
	} {
		_, err := read(t, c.engine, c.gpu, c.command)
		require.NoError(t, err, c.command)
	}
}

func TestInvalidConfigurationsAreRefused(t *testing.T) {
	for command, want := range map[string]string{
		eight + "--max-num-batched-tokens 64 --max-num-seqs 128": "max_num_batched_tokens (64)",
		eight + "--no-enable-chunked-prefill":                    "chunked prefill",
		eight + "--max-model-len 200000":                         "131072 positions",
		eight + "--gpu-memory-utilization 1.5":                   "must be in (0, 1]",
		eight + "--tensor-parallel-size 3":                       "32 attention heads",
		eight + "--quantization awq":                             "not quantised",
		"serve org/unheard-of":                                   "unknown",
	} {
		_, err := read(t, "vllm", "h100", command)
		require.ErrorContains(t, err, want, command)
		require.NotErrorIs(t, err, ErrUsage)
	}
}

func TestPoliciesFollowTheFlags(t *testing.T) {
	s, err := read(t, "vllm", "h100", eight)
	require.NoError(t, err)
	require.Equal(t, 1024, s.Policy.MaxSequences)
	require.Equal(t, 8192, s.Policy.MaxTokens)
	require.True(t, s.Policy.Keep)
	require.Equal(t, 131072, s.MaxLength)
	s, err = read(t, "vllm", "a100", eight)
	require.NoError(t, err)
	require.Equal(t, 256, s.Policy.MaxSequences)
	require.Equal(t, 2048, s.Policy.MaxTokens)
	s, err = read(t, "vllm", "h100", eight+"--max-num-seqs 8 --max-num-batched-tokens 1k --no-enable-prefix-caching --scheduling-policy priority --block-size 32 --long-prefill-token-threshold 256")
	require.NoError(t, err)
	require.Equal(t, batching.Policy{Style: batching.Mixed, Order: batching.ByPriority, MaxSequences: 8, MaxTokens: 1000, Chunk: 256, Block: 32, Blocks: s.Policy.Blocks}, s.Policy)
	s, err = read(t, "sglang", "h100", "--model-path meta-llama/Llama-3.1-8B-Instruct --schedule-policy lpm --enable-mixed-chunk --chunked-prefill-size 4096 --max-running-requests 32 --num-continuous-decode-steps 2 --disable-radix-cache --mem-fraction-static 0.8")
	require.NoError(t, err)
	require.Equal(t, batching.LongestPrefix, s.Policy.Order)
	require.True(t, s.Policy.Mix)
	require.False(t, s.Policy.Keep)
	require.Equal(t, 4096, s.Policy.Chunk)
	require.Equal(t, 32, s.Policy.MaxSequences)
	require.Greater(t, s.Policy.SafeTokens, 4096)
}

func TestTooLittleRoomForActivationsIsDangerousUnderLoad(t *testing.T) {
	s, err := read(t, "sglang", "h100", "--model-path meta-llama/Llama-3.1-8B-Instruct --mem-fraction-static 0.985")
	require.NoError(t, err)
	require.Less(t, s.Policy.SafeTokens, s.Policy.Chunk)
}

// More memory for the engine, narrower values or more ranks never mean a
// smaller cache.
func TestTheCacheGrowsWithWhatItGets(t *testing.T) {
	tokens := func(t require.TestingT, command string) int {
		s, err := read(t, "vllm", "h200", "serve meta-llama/Llama-3.1-8B-Instruct --max-model-len 2048 "+command)
		require.NoError(t, err)
		return s.Policy.Blocks * s.Policy.Block
	}
	rapid.Check(t, func(t *rapid.T) {
		u := rapid.IntRange(30, 90).Draw(t, "utilization in percent")
		at := func(percent int, more string) int {
			return tokens(t, "--gpu-memory-utilization 0."+strconv.Itoa(percent)+" "+more)
		}
		plain := at(u, "")
		require.GreaterOrEqual(t, at(u+5, ""), plain)
		require.GreaterOrEqual(t, at(u, "--kv-cache-dtype fp8"), 2*plain-32)
		require.Greater(t, at(u, "--quantization fp8"), plain)
		require.Greater(t, at(u, "--tensor-parallel-size 2"), 2*plain)
		require.Greater(t, at(u, "--max-num-batched-tokens 2048 --max-num-seqs 128"), plain)
	})
}

// Whatever the words, they are read or refused.
func FuzzRead(f *testing.F) {
	f.Add("serve meta-llama/Llama-3.1-8B-Instruct --max-num-seqs 8", "vllm")
	f.Add("--model-path x --tp-size -1 --mem-fraction-static 0.5", "sglang")
	f.Add("serve meta-llama/Llama-3.1-8B-Instruct --block-size 0 --max-num-seqs -3 --compilation-config {", "vllm")
	f.Fuzz(func(t *testing.T, command, name string) {
		s, err := read(t, name, "h100", command)
		if err == nil {
			require.Positive(t, s.Policy.Blocks)
			_, err = batching.NewRank(s.Policy, s.Costs).Add(batching.Request{Prompt: []uint32{1}, Output: 1})
			require.True(t, err == nil || s.Policy.Blocks < 2)
		}
	})
}
