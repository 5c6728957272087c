package agentic

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/worker/load/pace"
	"github.com/fleetune/fleetune/worker/load/tree"
)

// ended gives every turn of a tree a recorded end.
func ended(t *tree.Tree, ends ...[]time.Duration) *tree.Tree {
	for i := range t.Streams {
		t.Streams[i].Ends = ends[i]
	}
	if err := t.Validate(); err != nil {
		panic(err)
	}
	return t
}

// Two streams overlap; the root's turn at 10 s was sent when the child's first
// request, which nothing joins, had ended.
func overlapping() *tree.Tree {
	return ended(grow("B", [][]time.Duration{secs(0, 2, 10), secs(1, 12)}, tree.Branch{Parent: 0, Spawn: 0, Join: tree.NoJoin, Children: []int{1}}),
		secs(0.5, 4, 11), secs(6, 13))
}

func TestBarriersKeepTheRecordedOrder(t *testing.T) {
	require.Equal(t, tree.Barriers{
		{nil, nil, {{Stream: 1, Turn: 0}}}, // ended at 6, before 10
		{nil, {{Stream: 0, Turn: 2}}},      // ended at 11, before 12; turn 1 is implied
	}, overlapping().Barriers())
	at := func(barriers bool) map[string]time.Duration {
		// The child's first request takes a minute this time.
		w := &stage{service: time.Second, park: func(s Send) {
			if s.stream == 1 && s.Turn == 0 {
				<-time.After(time.Minute) // of virtual time
			}
		}}
		replay(t, Config{Trees: []*tree.Tree{overlapping()}, Lanes: 1, MaxTrees: 1, Barriers: barriers}, w, 0, false)
		out := map[string]time.Duration{}
		for _, s := range w.sends {
			out[fmt.Sprint(s.conv, ".", s.turn)] = s.at
		}
		require.Len(t, out, 5)
		return out
	}
	free, kept := at(false), at(true)
	require.Less(t, free["B::0.2"], 20*time.Second)
	require.Greater(t, kept["B::0.2"], time.Minute, "it was recorded after the child's request had ended")
	require.Greater(t, kept["B::1.1"], kept["B::0.2"])
}

// A snapshot behind a request does not wait for it.
func TestBarriersKnowWhatIsOverAtASnapshot(t *testing.T) {
	w := &stage{service: time.Second}
	m := replay(t, Config{Trees: []*tree.Tree{overlapping()}, Lanes: 1, MaxTrees: 1, Barriers: true, StartMin: 0.8, StartMax: 0.8}, w, 0, false) // at 9.6 s
	require.Equal(t, 1, m.Counters.TreesDone)
	require.Len(t, w.sends, 2)
	require.Equal(t, "B::0", w.sends[0].conv)
	require.Equal(t, secs(0.4)[0], w.sends[0].at)
}

// However trees look and replays go, barriers leave no lane behind and let
// nothing go before what it waits for.
func TestRandomReplaysWithBarriers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var trees []*tree.Tree
		for i := range rapid.IntRange(1, 3).Draw(t, "traces") {
			tr := randomTree(t, fmt.Sprint("t", i))
			for i := range tr.Streams {
				s := &tr.Streams[i]
				for _, at := range s.Starts {
					s.Ends = append(s.Ends, at+time.Duration(rapid.IntRange(0, 30).Draw(t, "took"))*time.Second)
				}
			}
			for b := range tr.Branches {
				tr.Branches[b].FromSend = rapid.Bool().Draw(t, "from send")
			}
			trees = append(trees, tr)
		}
		g := newGame(t, Config{Trees: trees, Lanes: rapid.IntRange(1, len(trees)).Draw(t, "lanes"), StartMax: 1, Barriers: true,
			Seed: rapid.Int64().Draw(t, "seed"), MaxTrees: rapid.IntRange(1, 8).Draw(t, "trees")})
		for g.step() {
			for _, s := range g.out {
				for _, p := range g.m.barriers[s.Tree()][s.stream][s.Turn] {
					require.False(t, g.m.ahead(s.tree, p.Stream, p.Turn), "%d.%d went before %v", s.stream, s.Turn, p)
				}
			}
		}
		g.finish()
	})
}

// A branch that began while the request that spawned it was in flight starts
// from its send.
func TestBranchesThatBeganInFlightStartFromTheSend(t *testing.T) {
	tr := grow("F", [][]time.Duration{secs(0, 60), secs(3)}, tree.Branch{Parent: 0, Spawn: 0, Join: 1, Children: []int{1}, FromSend: true})
	w := &stage{service: 30 * time.Second}
	replay(t, Config{Trees: []*tree.Tree{tr}, Lanes: 1, MaxTrees: 1}, w, 0, false)
	require.Len(t, w.sends, 3)
	require.Equal(t, "F::1", w.sends[1].conv)
	require.Equal(t, 3*time.Second, w.sends[1].at, "3 s after the send, not after the return")
	require.Equal(t, 90*time.Second, w.sends[2].at, "the join waits for both")
}

// The pressure stage plays on without delays up to its quota, and profiling
// takes every stream up where it stands.
func TestPressurePlaysOnWithoutDelays(t *testing.T) {
	tr := grow("P", [][]time.Duration{secs(0, 10, 20, 30, 45), secs(11, 21, 31)}, tree.Branch{Parent: 0, Spawn: 0, Join: tree.NoJoin, Children: []int{1}})
	w := &stage{service: time.Second}
	synctest.Test(t, func(t *testing.T) {
		m, err := New(Config{Trees: []*tree.Tree{tr}, Lanes: 1, MaxTrees: 1, MaxRequests: 3})
		require.NoError(t, err)
		pacer := pace.NewTimers()
		defer pacer.Stop()
		r := &Runner{Machine: m, Player: w, Pacer: pacer, Grace: -1}
		w.begin = time.Now()
		require.NoError(t, r.Pressure(t.Context(), 0, 5))
		require.Len(t, w.sends, 5)
		require.Equal(t, 3*time.Second, time.Since(w.begin), "root, then root and child at once, twice")
		require.Zero(t, m.Counters.RequestsIssued, "profiling has not begun")
		w.begin = time.Now()
		require.NoError(t, r.Profile(t.Context()))
		require.Len(t, w.sends, 8)
		require.Equal(t, []string{"P::0.3@0s", "P::1.2@1s", "P::0.4@16s"}, labels(w.sends[5:]), "each at its recorded distance")
		require.Equal(t, 3, m.Counters.RequestsIssued)
	})
}

func labels(in []sent) []string {
	var out []string
	for _, s := range in {
		out = append(out, fmt.Sprintf("%s.%d@%v", s.conv, s.turn, s.at))
	}
	return out
}

// Its time ends it as well; what is in flight then returns before profiling.
func TestPressureEndsByTime(t *testing.T) {
	w := &stage{service: 4 * time.Second}
	synctest.Test(t, func(t *testing.T) {
		m, err := New(Config{Trees: []*tree.Tree{single("A", 100), single("C", 1)}, Lanes: 2, MaxTrees: 4})
		require.NoError(t, err)
		pacer := pace.NewTimers()
		defer pacer.Stop()
		r := &Runner{Machine: m, Player: w, Pacer: pacer, Grace: -1, Duration: 12 * time.Second}
		begin := time.Now()
		w.begin = begin
		require.NoError(t, r.Pressure(t.Context(), 10*time.Second, 0))
		require.Equal(t, 12*time.Second, time.Since(begin))
		require.NoError(t, r.Profile(t.Context()))
		require.Zero(t, m.inFlight)
	})
}

func TestAFailedChildMayEndAReplay(t *testing.T) {
	tr := grow("A", [][]time.Duration{secs(0, 100), secs(2, 4)}, tree.Branch{Parent: 0, Spawn: 0, Join: 1, Children: []int{1}})
	for fast, want := range map[bool]int{false: 4, true: 2} {
		w := &stage{service: time.Second, answer: func(s Send) Outcome {
			if s.stream == 1 {
				return Failed
			}
			return OK
		}}
		m := replay(t, Config{Trees: []*tree.Tree{tr}, Lanes: 1, MaxTrees: 1, FailFast: fast}, w, 0, false)
		require.Len(t, w.sends, want)
		require.Equal(t, fast, m.ChildFailed)
	}
}
