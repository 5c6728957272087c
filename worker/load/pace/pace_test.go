package pace

import (
	"context"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCallsComeInOrderOfTheirInstants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewTimers()
		defer p.Stop()
		begin := time.Now()
		var mu sync.Mutex
		var got []int
		var when []time.Duration
		for _, at := range []int{5, 1, 3, 3, 0, 9} {
			p.At(begin.Add(time.Duration(at)*time.Second), func() {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, at)
				when = append(when, time.Since(begin))
			})
		}
		cancel := p.At(begin.Add(4*time.Second), func() { t.Error("a call taken back was made") })
		require.True(t, cancel())
		require.False(t, cancel())
		require.NoError(t, p.SleepUntil(t.Context(), begin.Add(10*time.Second)))
		require.Equal(t, []int{0, 1, 3, 3, 5, 9}, got)
		for i := range got {
			require.Equal(t, time.Duration(got[i])*time.Second, when[i])
		}
	})
}

func TestThreadWakesForAnEarlierDeadline(t *testing.T) {
	p := NewThread()
	defer p.Stop()
	cancel := p.At(time.Now().Add(time.Hour), func() { t.Error("an hour has passed") })
	fired := make(chan struct{})
	p.At(time.Now().Add(time.Millisecond), func() { close(fired) })
	<-fired
	require.True(t, cancel())
}

func TestStopEndsSleepers(t *testing.T) {
	p := NewThread()
	errs := make(chan error, 1)
	go func() { errs <- p.SleepUntil(context.Background(), time.Now().Add(time.Hour)) }()
	p.Stop()
	require.ErrorIs(t, <-errs, context.Canceled)
}

func TestSleepEndsWithItsContext(t *testing.T) {
	p := NewThread()
	defer p.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 1)
	go func() { errs <- p.SleepUntil(ctx, time.Now().Add(time.Hour)) }()
	cancel()
	require.ErrorIs(t, <-errs, context.Canceled)
}

func TestGapsHaveTheirLaw(t *testing.T) {
	const n, rate = 20000, 50.0
	for _, c := range []struct {
		law    Arrival
		shape  float64
		spread float64 // coefficient of variation
	}{{Constant, 0, 0}, {Poisson, 0, 1}, {Gamma, 1, 1}, {Gamma, 4, 0.5}, {Gamma, 0.25, 2}} {
		g, err := NewGaps(c.law, c.shape, 7)
		require.NoError(t, err)
		var sum, squares float64
		for range n {
			x := g.Next(rate).Seconds()
			sum += x
			squares += x * x
		}
		mean := sum / n
		cv := math.Sqrt(max(0, squares/n-mean*mean)) / mean
		require.InDelta(t, 1/rate, mean, 0.06/rate, "%v", c)
		require.InDelta(t, c.spread, cv, 0.08*max(1, c.spread), "%v", c)
	}
	g, err := NewGaps(Burst, 0, 7)
	require.NoError(t, err)
	require.Zero(t, g.Next(rate))
	_, err = NewGaps(Gamma, 0, 7)
	require.ErrorContains(t, err, "smoothness")
	_, err = NewGaps("zipf", 0, 7)
	require.ErrorContains(t, err, "unknown arrival law")
}

// However late the caller is, the plan loses time only in steps beyond the
// catch-up window, and what it lost plus what it planned is what passed.
func TestPlanAccountsForAllTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		begin := time.Unix(0, 0)
		p := NewPlan(begin)
		now := begin
		var planned time.Duration
		for range rapid.IntRange(1, 50).Draw(t, "ticks") {
			if now.Before(p.Target()) {
				now = p.Target()
			}
			now = now.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "late")) * time.Millisecond)
			gap := time.Duration(rapid.IntRange(0, 20).Draw(t, "gap")) * time.Millisecond
			p.Advance(now, gap)
			planned += gap
		}
		require.Equal(t, planned+p.Lost, p.Target().Sub(begin))
	})
}

func TestPlanCatchesUpWithinItsWindow(t *testing.T) {
	begin := time.Unix(0, 0)
	p := NewPlan(begin)
	p.Advance(begin.Add(CatchUp), time.Millisecond)
	require.Zero(t, p.Resets)
	require.Equal(t, begin.Add(time.Millisecond), p.Target())
	p.Advance(begin.Add(time.Second), time.Millisecond)
	require.Equal(t, 1, p.Resets)
	require.Equal(t, 999*time.Millisecond, p.Lost)
	require.Equal(t, begin.Add(time.Second+time.Millisecond), p.Target())
}
