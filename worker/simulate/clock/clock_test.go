package clock

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/hardware"
	"github.com/fleetune/fleetune/worker/simulate/batching"
	"github.com/fleetune/fleetune/worker/simulate/roofline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func rankOf(t *testing.T, change func(*batching.Policy)) *batching.Rank {
	g, err := hardware.Lookup("h100-sxm")
	require.NoError(t, err)
	m, err := roofline.New(roofline.Config{GPU: g, WeightBits: 16, CacheBits: 16, GraphTokens: 512, StepTime: 0.5e-3,
		Model: task.Architecture{Layers: 32, Hidden: 4096, Intermediate: 14336, Heads: 32, KVHeads: 8, Vocabulary: 128256}})
	require.NoError(t, err)
	p := batching.Policy{Style: batching.Mixed, Order: batching.Arrival, MaxSequences: 64, MaxTokens: 2048, Chunk: 2048, Block: 16, Blocks: 1000, Keep: true}
	if change != nil {
		change(&p)
	}
	return batching.NewRank(p, m)
}

// started runs a loop; the returned function ends it and tells its error.
func started(t *testing.T, l *Loop) (end func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

// take reads a reply to its end.
func take(r *Reply) (tokens []uint32) {
	for {
		<-r.Ready
		tokens, _, over := r.Read(0)
		if over {
			return tokens
		}
	}
}

func request(n, output int) batching.Request {
	return batching.Request{Prompt: make([]uint32, n), Output: output}
}

func TestStepsTakeTheirTimeByTheClock(t *testing.T) {
	took := func(speed float64) (span time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			l := New([]*batching.Rank{rankOf(t, nil)}, speed, 1)
			end := started(t, l)
			begin := time.Now()
			reply, drop, err := l.Ask(request(100, 50))
			require.NoError(t, err)
			require.Len(t, take(reply), 50)
			span = time.Since(begin)
			drop()
			st, err := l.State()
			require.NoError(t, err)
			require.InEpsilon(t, st.Busy/speed, span.Seconds(), 0.02, "the jitter is small and evens out")
			require.Zero(t, st.Behind)
			require.NoError(t, end())
		})
		return span
	}
	require.InEpsilon(t, 4, float64(took(1))/float64(took(4)), 0.001, "the same seed has the same jitter")
}

func TestRanksShareTheRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ranks := []*batching.Rank{rankOf(t, nil), rankOf(t, nil)}
		l := New(ranks, 1, 1)
		end := started(t, l)
		var replies []*Reply
		for range 6 {
			reply, _, err := l.Ask(request(10, 20))
			require.NoError(t, err)
			replies = append(replies, reply)
		}
		for _, r := range replies {
			require.Len(t, take(r), 20)
		}
		require.NoError(t, end())
		for _, r := range ranks {
			require.EqualValues(t, 60, r.Statistics().OutputTokens)
		}
	})
}

func TestADroppedRequestLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New([]*batching.Rank{rankOf(t, nil)}, 1, 1)
		end := started(t, l)
		reply, drop, err := l.Ask(request(100, 5000))
		require.NoError(t, err)
		<-reply.Ready
		all, err := l.Flush()
		require.NoError(t, err)
		require.False(t, all, "its blocks are in use")
		drop()
		st, err := l.State()
		require.NoError(t, err)
		require.Zero(t, st.Running+st.Waiting)
		all, err = l.Flush()
		require.NoError(t, err)
		require.True(t, all)
		require.NoError(t, end())
	})
}

func TestNobodyWaitsForAnEndedLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New([]*batching.Rank{rankOf(t, func(p *batching.Policy) { p.SafeTokens = 50 })}, 1, 1)
		done := make(chan error, 1)
		go func() { done <- l.Run(t.Context()) }()
		_, drop, err := l.Ask(request(100, 5))
		require.NoError(t, err)
		require.ErrorIs(t, <-done, batching.ErrOutOfMemory)
		<-l.Ended()
		drop()
		_, _, err = l.Ask(request(1, 1))
		require.ErrorIs(t, err, ErrStopped)
		_, err = l.Flush()
		require.ErrorIs(t, err, ErrStopped)
	})
}
