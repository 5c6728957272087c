package drive

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/pace"
	"github.com/fleetune/fleetune/worker/load/play"
	"github.com/fleetune/fleetune/worker/load/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench runs a phase in virtual time against a server that takes a set time.
type bench struct {
	mu        sync.Mutex
	service   time.Duration
	first     time.Duration // to the first content
	opened    int
	closed    int
	live      int
	most      int
	waiting   int // before the first content
	mostFirst int
	sent      []sent
	begin     time.Time
}

type sent struct {
	conv      string
	turn      int
	at        time.Duration
	scheduled time.Duration
	number    int64
	cancelled bool
	phase     metrics.Phase
	beside    int // requests that are out besides
}

type fake struct {
	b    *bench
	conv *conversation.Conversation
}

func (f *fake) Prepare(int) {}
func (f *fake) Close()      { f.b.mu.Lock(); f.b.closed++; f.b.mu.Unlock() }

func (f *fake) Turn(ctx context.Context, turn int, t play.Ticket) *metrics.Record {
	b := f.b
	b.mu.Lock()
	s := sent{conv: f.conv.ID, turn: turn, at: time.Since(b.begin), number: t.Number, cancelled: t.CancelAfter != nil, phase: t.Phase}
	if !t.Scheduled.IsZero() {
		s.scheduled = t.Scheduled.Sub(b.begin)
	}
	s.beside = b.live
	b.sent = append(b.sent, s)
	b.live++
	b.most = max(b.most, b.live)
	b.waiting++
	b.mostFirst = max(b.mostFirst, b.waiting)
	b.mu.Unlock()
	rec := &metrics.Record{Start: 1, End: 2, Number: t.Number, Phase: t.Phase}
	firstOver := func() {
		b.mu.Lock()
		b.waiting--
		b.mu.Unlock()
		if t.OnFirst != nil {
			t.OnFirst()
		}
	}
	timer := time.NewTimer(b.first)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	firstOver()
	rest := time.NewTimer(b.service - b.first)
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-ctx.Done():
		rec.Err = &metrics.Error{Class: metrics.ErrRunEnded, Message: context.Cause(ctx).Error()}
	}
	b.mu.Lock()
	b.live--
	b.mu.Unlock()
	return rec
}

// conversations of n turns each.
func talk(count, turns int, delay time.Duration) *conversation.Dataset {
	var all []*conversation.Conversation
	for i := range count {
		c := &conversation.Conversation{ID: fmt.Sprint("c", i)}
		for range turns {
			c.Turns = append(c.Turns, conversation.Turn{Delay: delay})
		}
		all = append(all, c)
	}
	d, err := conversation.NewDataset(all, conversation.Sequential, 1)
	if err != nil {
		panic(err)
	}
	return d
}

// run runs a phase in a bubble and checks what must hold for all of them.
func run(t *testing.T, b *bench, p Phase, d *conversation.Dataset, ctx func(context.Context) context.Context) (report *Report, records []*metrics.Record) {
	synctest.Test(t, func(t *testing.T) {
		b.begin = time.Now()
		pacer := pace.NewTimers()
		defer pacer.Stop()
		var mu sync.Mutex
		r := &Runner{Pacer: pacer,
			Open: func(_ metrics.Phase, c *conversation.Conversation) (Session, error) {
				b.mu.Lock()
				b.opened++
				b.mu.Unlock()
				return &fake{b, c}, nil
			},
			Sink: func(rec *metrics.Record) { mu.Lock(); records = append(records, rec); mu.Unlock() },
		}
		c := t.Context()
		if ctx != nil {
			c = ctx(c)
		}
		if p.Name == "" {
			p.Name = metrics.Profiling
		}
		var err error
		report, err = r.Run(c, p, d, d.All())
		require.NoError(t, err)
		require.Zero(t, r.InFlight.Load())
	})
	require.Equal(t, b.opened, b.closed, "every session is closed")
	require.Len(t, records, int(report.Issued))
	require.Len(t, b.sent, int(report.Issued), "each permission is used once")
	seen := map[int64]bool{}
	for _, s := range b.sent {
		require.False(t, seen[s.number])
		seen[s.number] = true
	}
	return report, records
}

func TestClosedLoopKeepsItsConcurrency(t *testing.T) {
	b := &bench{service: time.Second}
	report, _ := run(t, b, Phase{Shape: Shape{Kind: Closed, Concurrency: 4}, Requests: 40, Grace: -1}, talk(3, 2, 0), nil)
	require.EqualValues(t, 40, report.Issued)
	require.Equal(t, 4, b.most)
	require.Equal(t, 10*time.Second, report.Elapsed)
}

func TestSessionsStartedMayFinish(t *testing.T) {
	b := &bench{service: time.Second}
	report, _ := run(t, b, Phase{Shape: Shape{Kind: Closed, Concurrency: 2}, Sessions: 3}, talk(3, 4, 500*time.Millisecond), nil)
	require.EqualValues(t, 3, report.Sessions)
	require.EqualValues(t, 12, report.Issued)
}

func TestOpenLoopDoesNotWaitForTheServer(t *testing.T) {
	b := &bench{service: time.Minute}
	report, records := run(t, b, Phase{Shape: Shape{Kind: Open, Rate: 10, Arrival: pace.Constant}, Duration: 9950 * time.Millisecond, Grace: time.Second}, talk(1, 1, 0), nil)
	require.EqualValues(t, 100, report.Issued)
	for i, s := range b.sent {
		require.Equal(t, time.Duration(i)*100*time.Millisecond, s.at)
		require.Equal(t, s.at, s.scheduled)
	}
	require.Equal(t, 100, b.most)
	// The grace is over long before the server: all are cut off, and say so.
	require.Equal(t, 9950*time.Millisecond+time.Second, report.Elapsed)
	for _, r := range records {
		require.Equal(t, transport.ErrRunEnded.Error(), r.Err.Message)
	}
}

func TestOpenLoopCountsTicksWithoutASlot(t *testing.T) {
	b := &bench{service: time.Second}
	report, _ := run(t, b, Phase{Shape: Shape{Kind: Open, Rate: 10, Arrival: pace.Constant, Concurrency: 2}, Duration: 9950 * time.Millisecond, Grace: -1}, talk(1, 1, 0), nil)
	require.EqualValues(t, 100, report.Issued+report.Skipped)
	require.Equal(t, 2, b.most)
	require.Positive(t, report.Skipped)
}

func TestTicksGoToWaitingTurnsFirst(t *testing.T) {
	b := &bench{service: 50 * time.Millisecond}
	report, _ := run(t, b, Phase{Shape: Shape{Kind: Open, Rate: 10, Arrival: pace.Constant}, Sessions: 5, Grace: -1}, talk(5, 4, 0), nil)
	require.EqualValues(t, 20, report.Issued, "every turn of every started session is sent")
	for i, s := range b.sent {
		require.Equal(t, i%4, s.turn, "a session whose turn waits goes before a new one")
		require.Equal(t, time.Duration(i)*100*time.Millisecond, s.at)
	}
}

func TestBurst(t *testing.T) {
	b := &bench{service: time.Second}
	run(t, b, Phase{Shape: Shape{Kind: Open, Arrival: pace.Burst}, Requests: 50}, talk(1, 1, 0), nil)
	require.Equal(t, 50, b.most)
}

func TestRampsGrowInUnitSteps(t *testing.T) {
	b := &bench{service: time.Hour}
	report, _ := run(t, b, Phase{Shape: Shape{Kind: Closed, Concurrency: 5, ConcurrencyRamp: 8 * time.Second}, Duration: time.Minute}, talk(1, 1, 0), nil)
	require.EqualValues(t, 5, report.Issued)
	for i, s := range b.sent {
		require.Equal(t, time.Duration(i)*2*time.Second, s.at)
	}
}

func TestRateRamp(t *testing.T) {
	r := &phase{Phase: Phase{Shape: Shape{Rate: 100, RateRamp: time.Second}}}
	require.InDelta(t, 10, r.rate(0), 1e-9)
	require.InDelta(t, 60, r.rate(550*time.Millisecond), 1e-9)
	require.InDelta(t, 100, r.rate(time.Second), 1e-9)
}

// A ramp sends what the area under its rate is: half of what the full rate does.
func TestARampSendsTheAreaUnderIt(t *testing.T) {
	for _, law := range []pace.Arrival{pace.Constant, pace.Poisson} {
		rate := map[pace.Arrival]float64{pace.Constant: 12, pace.Poisson: 2000}[law]
		b := &bench{service: time.Millisecond}
		report, _ := run(t, b, Phase{Shape: Shape{Kind: Open, Arrival: law, Rate: rate, RateRamp: 4 * time.Second}, Duration: 6 * time.Second}, talk(1, 1, 0), nil)
		require.InEpsilon(t, 4*rate, float64(report.Issued), 0.05, law)
	}
}

func TestPrefillSlotsAreFreedAtTheFirstContent(t *testing.T) {
	b := &bench{service: 10 * time.Second, first: time.Second}
	report, _ := run(t, b, Phase{Shape: Shape{Kind: Closed, Concurrency: 20, Prefill: 2}, Requests: 20, Grace: -1}, talk(1, 1, 0), nil)
	require.Equal(t, 2, b.mostFirst)
	require.Greater(t, b.most, 10)
	require.Equal(t, 19*time.Second, report.Elapsed, "ten pairs a second apart, then the last reply")
}

func TestScheduleKeepsItsInstants(t *testing.T) {
	at := func(s float64) *time.Duration { d := time.Duration(s * float64(time.Second)); return &d }
	d, err := conversation.NewDataset([]*conversation.Conversation{
		{ID: "late", Turns: []conversation.Turn{{At: at(12)}, {Delay: 3 * time.Second}, {At: at(13)}}},
		{ID: "early", Turns: []conversation.Turn{{At: at(10)}, {At: at(20)}, {At: at(31)}, {}}},
		{ID: "before", Turns: []conversation.Turn{{At: at(1)}, {Delay: time.Second}}},
		{ID: "midway", Turns: []conversation.Turn{{At: at(1)}, {At: at(14)}, {Delay: time.Second}}},
		{ID: "after", Turns: []conversation.Turn{{At: at(99)}}},
		{ID: "edge", Turns: []conversation.Turn{{At: at(30)}}},
	}, conversation.Sequential, 1)
	require.NoError(t, err)
	b := &bench{service: time.Second}
	report, _ := run(t, b, Phase{Shape: Shape{Kind: Schedule, From: 5 * time.Second, To: 30 * time.Second, AutoOffset: true, SpeedUp: 2}, Grace: -1}, d, nil)
	got := map[string]time.Duration{}
	for _, s := range b.sent {
		got[fmt.Sprint(s.conv, s.turn)] = s.at
	}
	require.Equal(t, map[string]time.Duration{
		"early0": 0, "early1": 5 * time.Second, "edge0": 10 * time.Second,
		"midway0": 2 * time.Second, "midway1": 3500 * time.Millisecond,
		"late0": time.Second, "late1": 3500 * time.Millisecond, "late2": 4500 * time.Millisecond,
	}, got)
	require.EqualValues(t, 1, report.Midway)
}

// A conversation that is taken up in the middle says what was said before,
// unless each of its turns says all of it.
func TestAWindowKeepsWhatWasSaidBefore(t *testing.T) {
	at := func(s int) *time.Duration { d := time.Duration(s) * time.Second; return &d }
	c := &conversation.Conversation{ID: "c", Turns: []conversation.Turn{
		{At: at(0), Messages: []conversation.Message{conversation.Text("user", "a")}},
		{Messages: []conversation.Message{conversation.Text("user", "b")}},
		{At: at(9), Messages: []conversation.Message{conversation.Text("user", "c")}},
	}}
	s := Shape{From: time.Second}
	part, midway := s.window(c)
	require.True(t, midway)
	require.Len(t, part.Turns, 1)
	require.Len(t, part.Turns[0].Messages, 3)
	c.Mode = conversation.Whole
	part, midway = s.window(c)
	require.False(t, midway)
	require.Equal(t, c.Turns[2:], part.Turns)
	same, _ := (&Shape{To: 9 * time.Second}).window(c)
	require.Same(t, c, same)
}

func TestScheduleNeedsInstants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pacer := pace.NewTimers()
		defer pacer.Stop()
		r := &Runner{Pacer: pacer}
		d := talk(2, 1, 0)
		_, err := r.Run(t.Context(), Phase{Name: metrics.Profiling, Shape: Shape{Kind: Schedule}}, d, d.All())
		require.ErrorIs(t, err, ErrNoSchedule)
		some := []*conversation.Conversation{{ID: "x", Turns: []conversation.Turn{{At: new(time.Duration)}}}, d.All()[1]}
		_, err = r.Run(t.Context(), Phase{Name: metrics.Profiling, Shape: Shape{Kind: Schedule}}, d, some)
		require.ErrorIs(t, err, ErrUntimed)
		require.ErrorContains(t, err, "1 of 2 conversations, such as c1")
	})
}

func TestUsersHaveASteadyGap(t *testing.T) {
	b := &bench{service: 100 * time.Millisecond}
	run(t, b, Phase{Shape: Shape{Kind: Users, Users: 10, Rate: 5}, Duration: time.Minute, Grace: -1}, talk(4, 6, 0), nil)
	// 5 a second for a minute, give or take the first and last gaps.
	require.InDelta(t, 300, len(b.sent), 15)
	perSecond := map[int]int{}
	for _, s := range b.sent {
		perSecond[int(s.at/time.Second)]++
	}
	for second := 3; second < 58; second++ {
		require.InDelta(t, 5, perSecond[second], 1, "second %d", second)
	}
}

// The first users are spread by what sessions have on average, and take
// nothing out of the workload to find that out.
func TestUsersAreSpreadByTheAverage(t *testing.T) {
	list := append(talk(1, 1, 0).All(), talk(1, 7, 0).All()...)
	require.Equal(t, 4, (&Shape{}).meanTurns(list))
	require.Equal(t, 3, (&Shape{Turns: 2.6}).meanTurns(list))
	b := &bench{}
	run(t, b, Phase{Shape: Shape{Kind: Users, Users: 1, Rate: 1}, Requests: 3, Grace: -1}, talk(3, 1, 0), nil)
	require.Equal(t, "c0", b.sent[0].conv)
}

func TestFirstUsersCoverEverySlotOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, turns := rapid.IntRange(1, 40).Draw(t, "users"), rapid.IntRange(1, 20).Draw(t, "turns")
		seen := map[int]bool{}
		for _, u := range firstUsers(n, turns) {
			require.Positive(t, u.turns)
			require.Less(t, u.turns, max(2, turns))
			require.GreaterOrEqual(t, u.slot, 0)
			require.Less(t, u.slot, n)
			require.False(t, seen[u.slot], "slot %d twice", u.slot)
			seen[u.slot] = true
		}
	})
}

func TestCancellationsAreDrawnInProfilingOnly(t *testing.T) {
	for phase, want := range map[metrics.Phase]bool{metrics.Warmup: false, metrics.Profiling: true} {
		b := &bench{service: time.Second}
		run(t, b, Phase{Name: phase, Shape: Shape{Kind: Closed, Concurrency: 10}, Requests: 400, CancelPercent: 25, Seed: 3}, talk(1, 1, 0), nil)
		n := 0
		for _, s := range b.sent {
			if s.cancelled {
				n++
			}
		}
		if !want {
			require.Zero(t, n)
			continue
		}
		require.InDelta(t, 100, n, 30)
	}
}

func TestTheCallerMayStopAtAnyTime(t *testing.T) {
	for _, shape := range []Shape{{Kind: Closed, Concurrency: 3}, {Kind: Open, Rate: 2}, {Kind: Users, Users: 3, Rate: 1}} {
		b := &bench{service: time.Hour}
		report, records := run(t, b, Phase{Shape: shape, Duration: 10 * time.Hour, Grace: -1}, talk(2, 3, time.Second), func(ctx context.Context) context.Context {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(5*time.Second, cancel)
			return ctx
		})
		require.True(t, report.Stopped)
		for _, r := range records {
			require.Equal(t, transport.ErrStopped.Error(), r.Err.Message)
		}
		require.Equal(t, 5*time.Second, report.Elapsed, "a stop gives no grace")
	}
}

// A session that looked before the last request was given out asks after it.
func TestNoMoreRequestsThanAskedFor(t *testing.T) {
	p := newPhase(t.Context(), &Runner{}, Phase{Requests: 20})
	defer p.endFlight(nil)
	p.issued.Store(20)
	require.NoError(t, p.issue.Err())
	_, ok := p.take()
	require.False(t, ok)
	require.EqualValues(t, 20, p.issued.Load())
	require.Error(t, p.issue.Err())
}

func TestPhasesAreCheckedWhole(t *testing.T) {
	err := (&Phase{Name: metrics.Profiling, Shape: Shape{Kind: Closed}, CancelPercent: 200}).Validate()
	require.ErrorContains(t, err, "concurrency")
	require.ErrorContains(t, err, "needs an end")
	require.ErrorContains(t, err, "cancellation")
	require.Error(t, (&Phase{Shape: Shape{Kind: "wave"}, Requests: 1}).Validate())
	require.Error(t, (&Phase{Shape: Shape{Kind: Open, Arrival: pace.Burst}, Duration: 1}).Validate())
}

// Slots never admit more than the limit of the moment, and no slot is lost.
func TestSlots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 5).Draw(t, "limit")
		s := newSlots(limit)
		held := 0
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				if got := s.try(); got {
					held++
					require.LessOrEqual(t, held, limit)
				} else {
					require.GreaterOrEqual(t, held, limit)
				}
			case 1:
				if held > 0 {
					s.release()
					held--
				}
			case 2:
				limit = rapid.IntRange(1, 5).Draw(t, "new limit")
				s.setLimit(limit)
			case 3:
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				require.Error(t, s.acquire(ctx))
			}
			require.Equal(t, held, s.held)
		}
	})
}

func TestAWaiterIsAdmittedByAReleaseOrALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1)
		require.True(t, s.try())
		var order []int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				if s.acquire(t.Context()) == nil {
					mu.Lock()
					order = append(order, i)
					mu.Unlock()
				}
			})
			synctest.Wait()
		}
		require.False(t, s.try(), "nobody overtakes those who wait")
		s.release()
		synctest.Wait()
		s.setLimit(2)
		synctest.Wait()
		s.setLimit(3)
		wg.Wait()
		require.Equal(t, []int{0, 1, 2}, order)
	})
}
