package drive

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/pace"
)

// flow runs a warm-up that goes over into profiling without a gap, and returns
// when profiling began.
func flow(t *testing.T, b *bench, warm, profile Phase, d conversation.Source) (began time.Duration, records map[metrics.Phase][]*metrics.Record) {
	warm.Name, profile.Name = metrics.Warmup, metrics.Profiling
	records = map[metrics.Phase][]*metrics.Record{}
	synctest.Test(t, func(t *testing.T) {
		b.begin = time.Now()
		pacer := pace.NewTimers()
		defer pacer.Stop()
		var mu sync.Mutex
		r := &Runner{Pacer: pacer,
			Open: func(_ metrics.Phase, c *conversation.Conversation) (Session, error) { return &fake{b, c}, nil },
			Sink: func(rec *metrics.Record) {
				mu.Lock()
				defer mu.Unlock()
				records[rec.Phase] = append(records[rec.Phase], rec)
			},
		}
		first, err := r.Send(t.Context(), warm, d, nil, nil)
		require.NoError(t, err)
		var over sync.WaitGroup
		defer over.Wait()
		over.Go(func() {
			_, err := first.Wait(t.Context())
			assert.NoError(t, err)
		})
		began = time.Since(b.begin)
		second, err := r.Send(t.Context(), profile, d, nil, first)
		require.NoError(t, err)
		_, err = second.Wait(t.Context())
		require.NoError(t, err)
	})
	return began, records
}

func closed(n int) Shape { return Shape{Kind: Closed, Concurrency: n} }

// of are the sends of a phase.
func (b *bench) of(phase metrics.Phase) (out []sent) {
	for _, s := range b.sent {
		if s.phase == phase {
			out = append(out, s)
		}
	}
	return out
}

// As the warm-up's requests end, profiling's take their places.
func TestTheLoadDoesNotFallBetweenPhases(t *testing.T) {
	b := &bench{service: time.Second}
	began, records := flow(t, b, Phase{Shape: closed(4), Requests: 6, Grace: -1}, Phase{Shape: closed(4), Requests: 10, Grace: -1}, talk(1, 1, 0))
	require.Equal(t, time.Second, began, "with the last send, not with the last reply")
	require.Equal(t, 4, b.most)
	require.Len(t, records[metrics.Warmup], 6)
	require.Len(t, records[metrics.Profiling], 10)
	require.Equal(t, time.Second, b.of(metrics.Profiling)[0].at)
	for i, s := range b.sent {
		require.Equal(t, time.Duration(i/4)*time.Second, s.at, "all four slots are busy all the time")
	}
}

// Sessions that were started have sent all when each has sent its last turn.
func TestSessionsGoOverAtTheirLastTurn(t *testing.T) {
	b := &bench{service: time.Second}
	began, _ := flow(t, b, Phase{Shape: closed(2), Sessions: 4, Grace: -1}, Phase{Shape: closed(3), Requests: 9, Grace: -1}, talk(1, 3, 0))
	require.Equal(t, 5*time.Second, began)
	require.Len(t, b.of(metrics.Warmup), 12)
	require.Equal(t, []time.Duration{5 * time.Second, 6 * time.Second, 6 * time.Second},
		[]time.Duration{b.of(metrics.Profiling)[0].at, b.of(metrics.Profiling)[1].at, b.of(metrics.Profiling)[2].at}, "the third slot at once, the others as they come free")
}

// A lower concurrency is kept as soon as the warm-up's requests have ended.
func TestFewerSlotsAfterTheWarmup(t *testing.T) {
	b := &bench{service: time.Second}
	began, _ := flow(t, b, Phase{Shape: closed(5), Requests: 5, Grace: -1}, Phase{Shape: closed(2), Requests: 6, Grace: -1}, talk(1, 1, 0))
	require.Zero(t, began)
	for _, s := range b.of(metrics.Profiling) {
		require.Less(t, s.beside, 2)
		require.GreaterOrEqual(t, s.at, time.Second)
	}
}

// The warm-up's grace runs while profiling does, and its ramp is over.
func TestTheWarmupEndsByItself(t *testing.T) {
	b := &bench{service: 5 * time.Second}
	ramped := closed(3)
	ramped.ConcurrencyRamp = time.Minute
	began, records := flow(t, b, Phase{Shape: ramped, Duration: 31 * time.Second, Grace: time.Second}, Phase{Shape: closed(1), Requests: 9, Grace: -1}, talk(1, 1, 0))
	require.Equal(t, 31*time.Second, began)
	failed := 0
	for _, r := range records[metrics.Warmup] {
		if r.Err != nil {
			failed++
		}
	}
	require.Equal(t, 2, failed, "what the warm-up had out a second later")
	last := b.of(metrics.Profiling)[8]
	require.Equal(t, 32*time.Second+8*5*time.Second, last.at, "one after another: the warm-up's ramp adds no third slot at 60 s")
}

// Whatever the two phases are, both send what they were asked for, and their
// load together is never above the larger of the two.
func TestRandomPhasesFlow(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		phase := func(name string) Phase {
			p := Phase{Shape: closed(rapid.IntRange(1, 6).Draw(rt, name+" slots")), Grace: -1}
			n := rapid.IntRange(1, 20).Draw(rt, name+" size")
			if rapid.Bool().Draw(rt, name+" ends by sessions") {
				p.Sessions = n
			} else {
				p.Requests = n
			}
			if rapid.Bool().Draw(rt, name+" is open") {
				p.Shape.Kind, p.Shape.Rate, p.Shape.Arrival = Open, 2, pace.Constant
			}
			return p
		}
		turns := rapid.IntRange(1, 3).Draw(rt, "turns")
		warm, profile := phase("warm-up"), phase("profiling")
		b := &bench{service: time.Duration(rapid.IntRange(1, 40).Draw(rt, "service")) * 100 * time.Millisecond}
		began, records := flow(t, b, warm, profile, talk(1, turns, 0))
		for name, p := range map[metrics.Phase]Phase{metrics.Warmup: warm, metrics.Profiling: profile} {
			want := p.Requests + p.Sessions*turns
			require.Len(rt, records[name], want)
			require.Len(rt, b.of(name), want)
		}
		require.LessOrEqual(rt, b.most, max(warm.Shape.Concurrency, profile.Shape.Concurrency))
		last := b.of(metrics.Warmup)[len(b.of(metrics.Warmup))-1]
		require.Equal(rt, last.at, began)
		require.Zero(rt, b.live)
	})
}
