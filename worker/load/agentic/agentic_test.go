package agentic

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/pace"
	"github.com/fleetune/fleetune/worker/load/play"
	"github.com/fleetune/fleetune/worker/load/tree"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func secs(x ...float64) []time.Duration {
	var out []time.Duration
	for _, s := range x {
		out = append(out, time.Duration(s*float64(time.Second)))
	}
	return out
}

// grow makes a timed tree: streams as lists of starts, then branches.
func grow(id string, streams [][]time.Duration, branches ...tree.Branch) *tree.Tree {
	t := &tree.Tree{ID: id, Timed: true, Branches: branches}
	for i, starts := range streams {
		c := &conversation.Conversation{ID: fmt.Sprintf("%s::%d", id, i), Mode: conversation.Whole}
		for k := range starts {
			turn := conversation.Turn{}
			if k > 0 {
				turn.Delay = starts[k] - starts[k-1]
			}
			c.Turns = append(c.Turns, turn)
		}
		t.Streams = append(t.Streams, tree.Stream{Conv: c, Parent: -1, Branch: -1, Starts: starts})
	}
	for b := range branches {
		for n, c := range branches[b].Children {
			s := &t.Streams[c]
			s.Parent, s.Branch, s.Depth = branches[b].Parent, b, t.Streams[branches[b].Parent].Depth+1
			if n == 0 || s.Starts[0] < t.Branches[b].Start {
				t.Branches[b].Start = s.Starts[0]
			}
		}
	}
	if err := t.Validate(); err != nil {
		panic(err)
	}
	return t
}

// stage is the world of a test: it notes every send, and answers as told.
type stage struct {
	mu      sync.Mutex
	begin   time.Time
	sends   []sent
	service time.Duration
	ended   time.Duration // of profiling
	// hooks, all optional
	park   func(s Send)
	answer func(s Send) Outcome
	refuse func(s Send) bool
}

type sent struct {
	tree   *live
	conv   string
	lane   int
	turn   int
	at     time.Duration
	warm   bool
	marker string
}

func (w *stage) Ready(s Send, _ time.Time) (func(context.Context) (Outcome, error), error) {
	if w.refuse != nil && w.refuse(s) {
		return nil, errors.New("refused")
	}
	return func(ctx context.Context) (Outcome, error) {
		w.mu.Lock()
		w.sends = append(w.sends, sent{s.tree, s.Stream().Conv.ID, s.Lane(), s.Turn, time.Since(w.begin), s.Warm, s.Marker()})
		w.mu.Unlock()
		if w.park != nil {
			w.park(s)
		}
		timer := time.NewTimer(w.service)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return Failed, context.Cause(ctx)
		}
		if w.answer == nil {
			return OK, nil
		}
		how := w.answer(s)
		if how == OK {
			return OK, nil
		}
		return how, errAnswered
	}, nil
}

func (w *stage) Returned(Send) {}

var errAnswered = errors.New("the stage said no")

// replay runs a machine on the stage in virtual time. A replay that hangs
// blocks the whole bubble, which fails the test.
func replay(t *testing.T, cfg Config, w *stage, duration time.Duration, warm bool) *Machine {
	var m *Machine
	synctest.Test(t, func(t *testing.T) {
		var err error
		m, err = New(cfg)
		require.NoError(t, err)
		pacer := pace.NewTimers()
		defer pacer.Stop()
		r := &Runner{Machine: m, Player: w, Pacer: pacer, Duration: duration, Grace: -1}
		if warm {
			w.begin = time.Now()
			require.NoError(t, r.Warmup(t.Context()))
		}
		w.begin = time.Now()
		require.NoError(t, r.Profile(t.Context()))
		w.ended = time.Since(w.begin)
	})
	return m
}

func (w *stage) profiled() []sent {
	var out []sent
	for _, s := range w.sends {
		if !s.warm {
			out = append(out, s)
		}
	}
	return out
}

func single(id string, turns int) *tree.Tree {
	var starts []time.Duration
	for i := range turns {
		starts = append(starts, time.Duration(i)*10*time.Second)
	}
	return grow(id, [][]time.Duration{starts})
}

// Bug 1: lanes started one after another, each waiting for the one before.
func TestLanesStartTogether(t *testing.T) {
	const lanes = 32
	for _, where := range []float64{0, 1} { // at the beginning; at the last turn, so roots are about to end
		var trees []*tree.Tree
		for i := range lanes {
			trees = append(trees, single(fmt.Sprint("t", i), 2))
		}
		w := &stage{service: time.Second}
		parked := map[*live]int{}
		open := make(chan struct{})
		w.park = func(s Send) {
			w.mu.Lock()
			parked[s.tree]++
			if len(parked) == lanes {
				select {
				case <-open:
				default:
					close(open)
				}
			}
			w.mu.Unlock()
			<-open // a lane that waits for another's acceptance never gets here: the bubble blocks
		}
		m := (*Machine)(nil)
		synctest.Test(t, func(t *testing.T) {
			open = make(chan struct{})
			var err error
			m, err = New(Config{Trees: trees, Lanes: lanes, StartMin: where, StartMax: where, MaxTrees: lanes, Burst: true})
			require.NoError(t, err)
			pacer := pace.NewTimers()
			defer pacer.Stop()
			w.begin = time.Now()
			require.NoError(t, (&Runner{Machine: m, Player: w, Pacer: pacer, Grace: -1}).Profile(t.Context()))
		})
		require.Len(t, parked, lanes)
		first := map[int]int{}
		for _, s := range w.sends {
			if s.at == 0 {
				first[s.lane]++
			}
		}
		require.Len(t, first, lanes, "every lane sends at time 0")
		for lane, n := range first {
			require.Equal(t, 1, n, "lane %d sends once", lane)
		}
	}
}

// A lane that cannot send does not take the others with it.
func TestOneLanesFailureIsItsOwn(t *testing.T) {
	var trees []*tree.Tree
	for i := range 6 {
		trees = append(trees, single(fmt.Sprint("t", i), 2))
	}
	w := &stage{service: time.Second, refuse: func(s Send) bool { return s.Lane() == 3 }}
	m := replay(t, Config{Trees: trees, Lanes: 6, MaxTrees: 6}, w, 0, false)
	require.Len(t, w.sends, 10)
	require.Equal(t, 6, m.Counters.TreesDone)
}

// Bug 2: two lanes played the same conversation at once.
func TestATraceIsLiveOnceUnlessLanesStartedOnItMoreOften(t *testing.T) {
	// Lane 0 ends at once and recycles while lane 1's first request is parked.
	trees := []*tree.Tree{single("A", 1), single("B", 1), single("C", 1)}
	cfg := Config{Trees: trees, Lanes: 2, Seed: 1, MaxTrees: 6}
	m, err := New(cfg)
	require.NoError(t, err)
	one, two := m.lanes[0].tree, m.lanes[1].tree
	m.Start(0)
	sends := m.Advance(0)
	require.Len(t, sends, 2)
	m.Returned(sends[0].Ref, 0, OK)
	require.NotEqual(t, two, m.lanes[0].tree, "lane 1's trace is claimed though it has sent nothing back")
	require.NotNil(t, one)
	rapid.Check(t, func(t *rapid.T) { checkPool(t) })
}

// checkPool plays random lanes over random trees in random order and holds the
// bounds after every event.
func checkPool(t *rapid.T) {
	var trees []*tree.Tree
	for i := range rapid.IntRange(1, 5).Draw(t, "traces") {
		trees = append(trees, randomTree(t, fmt.Sprint("t", i)))
	}
	cfg := Config{Trees: trees, Lanes: rapid.IntRange(1, 7).Draw(t, "lanes"), AllowWrap: true, StartMax: 1,
		Seed: rapid.Int64().Draw(t, "seed"), MaxRequests: rapid.IntRange(0, 60).Draw(t, "requests"),
		MaxTrees: rapid.IntRange(1, 20).Draw(t, "trees"), Benchmark: "b"}
	cfg.LaneCap = time.Duration(rapid.IntRange(0, 20).Draw(t, "cap")) * time.Second
	cfg.IdleCap = time.Duration(rapid.IntRange(0, 20).Draw(t, "idle")) * time.Second
	cfg.TreeIdleCap = time.Duration(rapid.IntRange(0, 20).Draw(t, "tree idle")) * time.Second
	play := newGame(t, cfg)
	m := play.m
	initial := map[*tree.Tree]int{}
	for _, p := range m.plans {
		initial[p.tree]++
	}
	for play.step() {
		count := map[*tree.Tree]int{}
		for _, l := range m.lanes {
			if l != nil {
				count[l.tree]++
			}
		}
		for tr, n := range count {
			require.LessOrEqual(t, n, max(1, initial[tr]), "trace %s", tr.ID)
		}
		for _, l := range m.lanes {
			checkIdle(t, l, cfg.TreeIdleCap)
		}
		require.Len(t, m.pool.order, len(trees), "the pool keeps every trace")
		require.True(t, maps.Equal(count, nonzero(m.pool.live)), "claims and lanes agree")
	}
	play.finish()
}

// checkIdle holds a tree's idle time within its cap.
func checkIdle(t *rapid.T, l *live, limit time.Duration) {
	if l == nil || limit == 0 || l.inFlight > 0 {
		return
	}
	next, found := time.Duration(0), false
	for _, s := range l.sessions {
		if s != nil && s.timer != nil && (!found || s.timer.at < next) {
			next, found = s.timer.at, true
		}
	}
	require.True(t, !found || next <= l.idleSince+limit, "idle since %v, next at %v", l.idleSince, next)
}

func nonzero(in map[*tree.Tree]int) map[*tree.Tree]int {
	out := map[*tree.Tree]int{}
	for k, v := range in {
		if v != 0 {
			out[k] = v
		}
	}
	return out
}

// game plays a machine with random ends in random order, and is the oracle of
// what must have been sent.
type game struct {
	t       *rapid.T
	m       *Machine
	now     time.Duration
	out     []Send
	sent    map[*live]map[string]int
	markers map[string]*live
	failed  bool
}

func newGame(t *rapid.T, cfg Config) *game {
	m, err := New(cfg)
	require.NoError(t, err)
	m.Start(0)
	return &game{t: t, m: m, sent: map[*live]map[string]int{}, markers: map[string]*live{}}
}

func (g *game) step() bool {
	for _, s := range g.m.Advance(g.now) {
		g.note(s)
	}
	if g.m.Done() && len(g.out) == 0 {
		return false
	}
	if next, ok := g.m.Next(); ok && (len(g.out) == 0 || rapid.Bool().Draw(g.t, "wait")) {
		g.now = max(g.now, next)
		return true
	}
	require.NotEmpty(g.t, g.out, "lanes are unfinished, but nothing is out and nothing is due")
	i := rapid.IntRange(0, len(g.out)-1).Draw(g.t, "which")
	s := g.out[i]
	g.out = slices.Delete(g.out, i, i+1)
	switch rapid.IntRange(0, 9).Draw(g.t, "how") {
	case 0:
		g.failed = true
		g.m.Refused(s.Ref, g.now)
	case 1:
		g.failed = true
		g.m.Returned(s.Ref, g.now, Overflow)
	case 2:
		g.m.Returned(s.Ref, g.now, Failed)
	default:
		g.m.Returned(s.Ref, g.now, OK)
	}
	return true
}

// note checks a send against what has been sent of its tree.
func (g *game) note(s Send) {
	require.False(g.t, s.Drained(), "a tree gave its slot back before its last request")
	if g.sent[s.tree] == nil {
		g.sent[s.tree] = map[string]int{}
	}
	if other, ok := g.markers[s.Marker()]; ok {
		require.Same(g.t, other, s.tree, "two trees share a marker")
	}
	g.markers[s.Marker()] = s.tree
	key := fmt.Sprint(s.stream, ".", s.Turn)
	g.sent[s.tree][key]++
	require.Equal(g.t, 1, g.sent[s.tree][key], "%s is sent twice", key)
	// No child of a branch that joins here may still be live.
	for _, b := range s.Tree().Branches {
		if b.Parent != s.stream || b.Join != s.Turn {
			continue
		}
		for _, c := range b.Children {
			if child := s.tree.sessions[c]; child != nil {
				require.Equal(g.t, over, child.state, "turn %d went before child %d ended", s.Turn, c)
			}
		}
	}
	g.out = append(g.out, s)
}

// finish checks that nothing is left, and that trees in which nothing failed
// were sent whole from where they began.
func (g *game) finish() {
	require.Zero(g.t, g.m.inFlight)
	for _, l := range g.m.lanes {
		require.Nil(g.t, l, "a lane is left with a live tree")
	}
	c := g.m.Counters
	require.Equal(g.t, c.TreesStarted, c.TreesDone)
	if g.failed || g.m.cfg.MaxRequests > 0 {
		return
	}
	for l, sent := range g.sent {
		for i, s := range l.sessions {
			if s == nil {
				continue
			}
			for turn := s.skipped; turn < len(l.tree.Streams[i].Conv.Turns); turn++ {
				require.Equal(g.t, 1, sent[fmt.Sprint(i, ".", turn)], "stream %d turn %d of %s", i, turn, l.tree.ID)
			}
		}
	}
}

// randomTree grows a tree of up to three levels with random branches.
func randomTree(t *rapid.T, id string) *tree.Tree {
	streams := [][]time.Duration{randomStarts(t, 0)}
	var branches []tree.Branch
	depth := []int{0}
	for range rapid.IntRange(0, 4).Draw(t, "branches") {
		parent := rapid.IntRange(0, len(streams)-1).Draw(t, "parent")
		if depth[parent] > 1 {
			continue
		}
		turns := len(streams[parent])
		b := tree.Branch{Parent: parent, Spawn: rapid.IntRange(0, turns-1).Draw(t, "spawn"), Join: tree.NoJoin}
		if b.Spawn+1 < turns && rapid.IntRange(0, 3).Draw(t, "joins") > 0 {
			b.Join = rapid.IntRange(b.Spawn+1, turns-1).Draw(t, "join")
		}
		for range rapid.IntRange(1, 3).Draw(t, "children") {
			b.Children = append(b.Children, len(streams))
			streams = append(streams, randomStarts(t, streams[parent][b.Spawn]))
			depth = append(depth, depth[parent]+1)
		}
		branches = append(branches, b)
	}
	return grow(id, streams, branches...)
}

func randomStarts(t *rapid.T, from time.Duration) []time.Duration {
	var out []time.Duration
	for range rapid.IntRange(1, 5).Draw(t, "turns") {
		out = append(out, from)
		from += time.Duration(rapid.IntRange(0, 30).Draw(t, "gap")) * time.Second
	}
	return out
}

// Bug 3: a tree's marker changed between the phases, or was used again.
func TestAMarkerBelongsToItsTree(t *testing.T) {
	// One trace on two lanes; on one of them the root waits for its child.
	shared := grow("T", [][]time.Duration{secs(0, 10, 50), secs(12, 45)}, tree.Branch{Parent: 0, Spawn: 1, Join: 2, Children: []int{1}})
	w := &stage{service: time.Second}
	m := replay(t, Config{Trees: []*tree.Tree{shared}, Lanes: 2, Marker: play.FirstTurnPrefix, StartMax: 1, Seed: 4, MaxTrees: 5, Benchmark: "b"}, w, 0, true)
	require.Equal(t, 5, m.Counters.TreesStarted)
	of := map[*live]map[string]bool{}
	lane := map[string]*live{}
	for _, s := range w.sends {
		if of[s.tree] == nil {
			of[s.tree] = map[string]bool{}
		}
		of[s.tree][s.marker] = true
		if other := lane[s.marker]; other != nil {
			require.Same(t, other, s.tree, "two trees share %s", s.marker)
		}
		lane[s.marker] = s.tree
	}
	require.Len(t, of, 5)
	for _, markers := range of {
		require.Len(t, markers, 1, "warm-up, profiling and children carry one marker")
	}
}

func TestMarkersDoNotDependOnTheOrderOfLookups(t *testing.T) {
	one := single("T", 2)
	a, b := &live{lane: 0, tree: one}, &live{lane: 1, tree: one}
	l := newLedger("run")
	first, second := l.marker(a), l.marker(b)
	require.NotEqual(t, first, second)
	for range 10 {
		require.Equal(t, second, l.marker(b))
		require.Equal(t, first, l.marker(a))
	}
	l.forget(a)
	again := &live{lane: 0, tree: one}
	require.NotContains(t, []string{first, second}, l.marker(again), "a later pass has a marker of its own")
	require.Regexp(t, `^\[rid:[0-9a-f]{12}\]$`, first)
}

// Bug 4: a gate waited for children that were over before the lane began, or
// opened before one of its branches had spawned.
func TestGatesAtASnapshot(t *testing.T) {
	// A spawns at turn 0 and ends at 5 s, B spawns at turn 1 and ends at 10 s;
	// both join at turn 3.
	fan := grow("F", [][]time.Duration{secs(0, 3, 6, 20), secs(1, 5), secs(3.5, 10)},
		tree.Branch{Parent: 0, Spawn: 0, Join: 3, Children: []int{1}},
		tree.Branch{Parent: 0, Spawn: 1, Join: 3, Children: []int{2}})
	for _, c := range []struct {
		at    float64
		sends []string // stream.turn in order
	}{
		{4, []string{"1.1", "0.2", "2.1", "0.3"}},
		{7, []string{"2.1", "0.3"}},
		{12, []string{"0.3"}},
		{2, []string{"0.1", "2.0", "1.1", "0.2", "2.1", "0.3"}}, // B is yet to spawn
		{5.5, []string{"0.2", "2.1", "0.3"}},                    // A is over
	} {
		t.Run(fmt.Sprint(c.at), func(t *testing.T) {
			w := &stage{service: 100 * time.Millisecond}
			share := c.at / 20
			m := replay(t, Config{Trees: []*tree.Tree{fan}, Lanes: 1, StartMin: share, StartMax: share, MaxTrees: 1}, w, 0, false)
			var got []string
			for _, s := range w.sends {
				got = append(got, fmt.Sprintf("%s.%d", s.conv[len("F::"):], s.turn))
			}
			require.Equal(t, c.sends, got)
			require.Equal(t, 1, m.Counters.TreesDone)
		})
	}
}

func TestAGateCountsBranchesThatHaveNotSpawned(t *testing.T) {
	g := gate{branches: map[int]*prerequisite{0: {registered: true, expected: 1, completed: 1}, 1: {}}}
	require.False(t, g.open())
	g.branches[1].registered = true
	require.True(t, g.open())
}

// A background child outlives its root; the lane waits for it.
func TestATreeKeepsItsLaneUntilItsLastDescendant(t *testing.T) {
	trees := []*tree.Tree{
		grow("A", [][]time.Duration{secs(0, 1), secs(0.5, 60)}, tree.Branch{Parent: 0, Spawn: 0, Join: tree.NoJoin, Children: []int{1}}),
	}
	w := &stage{service: time.Second}
	m := replay(t, Config{Trees: trees, Lanes: 1, MaxTrees: 2}, w, 0, false)
	require.Equal(t, 2, m.Counters.TreesDone)
	require.Len(t, w.sends, 8)
	require.Greater(t, w.sends[4].at, time.Minute)
}

func TestAGateStaysShutUntilItsBranchesSpawn(t *testing.T) {
	// A is over at once; B spawns at turn 2, and both join at turn 3.
	fan := grow("F", [][]time.Duration{secs(0, 1, 2, 3), secs(0.1), secs(2.1, 60)},
		tree.Branch{Parent: 0, Spawn: 0, Join: 3, Children: []int{1}},
		tree.Branch{Parent: 0, Spawn: 2, Join: 3, Children: []int{2}})
	w := &stage{service: 10 * time.Millisecond}
	replay(t, Config{Trees: []*tree.Tree{fan}, Lanes: 1, MaxTrees: 1}, w, 0, false)
	last := w.sends[len(w.sends)-1]
	require.Equal(t, 3, last.turn)
	require.Equal(t, "F::0", last.conv)
	require.Greater(t, last.at, time.Minute-3*time.Second)
}

// Bug 5: when every child failed to start, both the spawner and the gatekeeper
// sent the parent's next turn.
func TestAParentGoesOnOnceWhateverItsChildrenDo(t *testing.T) {
	family := func() *tree.Tree {
		return grow("P", [][]time.Duration{secs(0, 10, 40), secs(0.5, 8), secs(3, 9)},
			tree.Branch{Parent: 0, Spawn: 0, Join: 1, Children: []int{1, 2}})
	}
	for name, c := range map[string]struct {
		w         *stage
		truncated int
		errored   int
		suspended int
	}{
		"both are refused":             {&stage{refuse: func(s Send) bool { return s.stream > 0 }}, 2, 0, 1},
		"one is refused after a sleep": {&stage{refuse: func(s Send) bool { return s.stream == 2 }}, 1, 0, 1},
		"both fail":                    {&stage{answer: func(s Send) Outcome { return map[bool]Outcome{true: Failed}[s.stream > 0] }}, 0, 2, 1},
		"one overflows":                {&stage{answer: func(s Send) Outcome { return map[bool]Outcome{true: Overflow}[s.stream == 1] }}, 0, 1, 1},
		"all is well":                  {&stage{}, 0, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			c.w.service = 10 * time.Millisecond
			m := replay(t, Config{Trees: []*tree.Tree{family()}, Lanes: 1, MaxTrees: 1}, c.w, 0, false)
			var root []int
			for _, s := range c.w.sends {
				if s.conv == "P::0" {
					root = append(root, s.turn)
				}
			}
			require.Equal(t, []int{0, 1, 2}, root)
			require.Equal(t, c.truncated, m.Counters.Truncated)
			require.Equal(t, c.errored, m.Counters.Errored)
			require.Equal(t, c.suspended, m.Counters.Suspended)
			require.Equal(t, 1, m.Counters.TreesDone)
		})
	}
}

// Whatever else goes wrong, no turn is sent twice: that would be a fault of the
// machine, which stops at it.
func TestNoTurnIsSentTwice(t *testing.T) {
	m, err := New(Config{Trees: []*tree.Tree{single("A", 2)}, Lanes: 1, MaxTrees: 1})
	require.NoError(t, err)
	m.Start(0)
	sends := m.Advance(0)
	require.Len(t, sends, 1)
	again := sends[0].Ref
	require.Panics(t, func() { m.send(again, 0, 0) }, "it is out")
	m.lanes[0].sessions[0].state = pending
	require.Panics(t, func() { m.send(again, 0, 0) }, "it was sent")
}

func TestChildrenBeyondTheRequestCapAreTruncated(t *testing.T) {
	family := grow("P", [][]time.Duration{secs(0, 10, 40), secs(0.5, 8), secs(3, 9)},
		tree.Branch{Parent: 0, Spawn: 0, Join: 1, Children: []int{1, 2}})
	w := &stage{service: 10 * time.Millisecond}
	m := replay(t, Config{Trees: []*tree.Tree{family}, Lanes: 1, MaxRequests: 1}, w, 0, false)
	require.Len(t, w.sends, 1)
	require.Equal(t, 2, m.Counters.Truncated)
}

// Random trees, instants, ends and orders: each reachable turn is sent once,
// in the order of its gates, and everything is given back.
func TestRandomReplays(t *testing.T) { rapid.Check(t, checkPool) }

func TestWarmupSendsTheTurnBefore(t *testing.T) {
	tr := grow("W", [][]time.Duration{secs(0, 10, 40), secs(12, 20, 30)}, tree.Branch{Parent: 0, Spawn: 1, Join: 2, Children: []int{1}})
	w := &stage{service: 10 * time.Millisecond}
	replay(t, Config{Trees: []*tree.Tree{tr}, Lanes: 1, StartMin: 0.6, StartMax: 0.6, MaxTrees: 1}, w, 0, true) // at 24 s
	var warm []string
	for _, s := range w.sends {
		if s.warm {
			warm = append(warm, fmt.Sprintf("%s.%d@%v", s.conv, s.turn, s.at))
		}
	}
	// The child's turn at 20 s leads by 4 s, the waiting root's at 10 s by 14.
	require.ElementsMatch(t, []string{"W::0.1@0s", "W::1.1@10s"}, warm)
	require.Equal(t, "W::1", w.profiled()[0].conv)
	require.Equal(t, 6*time.Second, w.profiled()[0].at)
}

func TestAFailedRootEndsTheWarmup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := New(Config{Trees: []*tree.Tree{single("A", 3)}, Lanes: 1, StartMin: 1, StartMax: 1})
		require.NoError(t, err)
		pacer := pace.NewTimers()
		defer pacer.Stop()
		w := &stage{answer: func(Send) Outcome { return Failed }}
		err = (&Runner{Machine: m, Player: w, Pacer: pacer}).Warmup(t.Context())
		require.ErrorIs(t, err, ErrColdRoot)
		require.ErrorIs(t, err, errAnswered)
		require.ErrorContains(t, err, "turn 1 of A")
		require.NoError(t, (&Runner{Machine: m, Player: w, Pacer: pacer, Tolerant: true}).Warmup(t.Context()))
	})
}

// The warm-up takes no longer than its cap, and is told beforehand.
func TestTheWarmupIsCapped(t *testing.T) {
	tr := func(id string, start float64) *tree.Tree {
		return grow(id, [][]time.Duration{secs(start, 10_000, 10_001)})
	}
	begun := func(cfg Config) (last, first time.Duration) {
		cfg.Trees, cfg.Lanes, cfg.StartMin, cfg.StartMax, cfg.MaxTrees = []*tree.Tree{tr("A", 0), tr("B", 4000)}, 2, 0.5, 0.5, 2
		w := &stage{}
		synctest.Test(t, func(t *testing.T) {
			m, err := New(cfg)
			require.NoError(t, err)
			pacer := pace.NewTimers()
			defer pacer.Stop()
			w.begin = time.Now()
			told := 0
			r := &Runner{Machine: m, Player: w, Pacer: pacer, Grace: -1, OnWarmup: func(n int, at time.Time) { told, last = n, at.Sub(w.begin) }}
			require.NoError(t, r.Warmup(t.Context()))
			require.Equal(t, 2, told)
			require.Equal(t, last, time.Since(w.begin))
			w.begin = time.Now()
			require.NoError(t, r.Profile(t.Context()))
		})
		return last, w.profiled()[0].at
	}
	last, first := begun(Config{})
	require.Equal(t, 2*time.Second*1000, last.Round(time.Second), "the leads are 5,000 and 3,000 s")
	require.NotZero(t, first)
	last, _ = begun(Config{WarmCap: time.Minute})
	require.Zero(t, last, "both leads are cut to the cap")
	last, first = begun(Config{NoDelays: true})
	require.Zero(t, last)
	require.Zero(t, first, "without delays the first requests are due at once")
}

func TestIdleTimeIsSkippedTogether(t *testing.T) {
	trees := []*tree.Tree{grow("A", [][]time.Duration{secs(0, 1000)}), grow("B", [][]time.Duration{secs(0, 1003)})}
	w := &stage{service: time.Second}
	m := replay(t, Config{Trees: trees, Lanes: 2, IdleCap: 10 * time.Second, MaxTrees: 2}, w, 0, false)
	var at []time.Duration
	for _, s := range w.sends {
		at = append(at, s.at)
	}
	require.Equal(t, secs(0, 0, 11, 14), at)
	require.Equal(t, 1, m.Counters.IdleJumps)
}

func TestLaneCapShiftsALaneAsAWhole(t *testing.T) {
	tr := grow("A", [][]time.Duration{secs(0, 1, 100), secs(2, 103)}, tree.Branch{Parent: 0, Spawn: 1, Join: tree.NoJoin, Children: []int{1}})
	w := &stage{}
	replay(t, Config{Trees: []*tree.Tree{tr}, Lanes: 1, StartMin: 0.5, StartMax: 0.5, LaneCap: 5 * time.Second, MaxTrees: 1}, w, 0, false)
	require.Equal(t, 5*time.Second, w.sends[0].at)
	require.Equal(t, 8*time.Second, w.sends[1].at)
}

func TestDurationAndCallerEndAReplay(t *testing.T) {
	w := &stage{service: time.Minute}
	m := replay(t, Config{Trees: []*tree.Tree{single("A", 500)}, Lanes: 1}, w, 10*time.Second, false)
	require.Len(t, w.sends, 1)
	require.True(t, m.Done())
	synctest.Test(t, func(t *testing.T) {
		m, err := New(Config{Trees: []*tree.Tree{single("A", 500)}, Lanes: 1})
		require.NoError(t, err)
		pacer := pace.NewTimers()
		defer pacer.Stop()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, cancel)
		w := &stage{service: time.Hour}
		begin := time.Now()
		require.NoError(t, (&Runner{Machine: m, Player: w, Pacer: pacer, Grace: -1}).Profile(ctx))
		require.Equal(t, 5*time.Second, time.Since(begin))
	})
}

func TestTrajectories(t *testing.T) {
	var trees []*tree.Tree
	for i := range 4 {
		trees = append(trees, single(fmt.Sprint("t", i), 10))
	}
	_, err := New(Config{Trees: trees, Lanes: 5})
	require.ErrorIs(t, err, ErrTooFewTraces)
	cfg := Config{Trees: trees, Lanes: 9, AllowWrap: true, StartMin: 0.25, StartMax: 0.75, Seed: 3}
	a, err := cfg.trajectories()
	require.NoError(t, err)
	b, err := cfg.trajectories()
	require.NoError(t, err)
	require.Equal(t, a, b)
	at := map[time.Duration]bool{}
	for _, tr := range a {
		from, to := tr.tree.Span()
		share := float64(tr.at-from) / float64(to-from)
		require.GreaterOrEqual(t, share, 0.25)
		require.LessOrEqual(t, share, 0.75)
		at[tr.at] = true
	}
	require.Len(t, at, 9, "lanes that share a trace start at instants of their own")
	for order, want := range map[conversation.Order]bool{"": true, conversation.Sequential: true, conversation.Shuffle: false} {
		cfg.Order, cfg.Lanes = order, len(trees)
		lanes, err := cfg.trajectories()
		require.NoError(t, err)
		var got []*tree.Tree
		for _, l := range lanes {
			got = append(got, l.tree)
		}
		require.ElementsMatch(t, trees, got, "each once")
		require.Equal(t, want, slices.Equal(trees, got), "%q", order)
	}
	for _, bad := range []Config{{Lanes: 1}, {Trees: trees}, {Trees: trees, Lanes: 1, StartMin: 0.5, StartMax: 0.1}} {
		_, err := New(bad)
		require.Error(t, err)
	}
	untimed := single("u", 10)
	untimed.Timed = false
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		c := Config{StartMin: 0, StartMax: 1, Seed: rng.Int64()}
		require.LessOrEqual(t, c.draw(0, untimed, fmt.Sprint(rng.Int64())).turn, 8)
	}
}
