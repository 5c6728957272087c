package agentic

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/worker/load/tree"
)

// Each tree is kept from idling by itself, whatever the others do.
func TestIdleTreesAreKeptGoing(t *testing.T) {
	busy := grow("C", [][]time.Duration{secs(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)})
	trees := []*tree.Tree{grow("A", [][]time.Duration{secs(0, 1000)}), grow("B", [][]time.Duration{secs(0, 4, 1003)}), busy}
	w := &stage{service: time.Second}
	m := replay(t, Config{Trees: trees, Lanes: 3, TreeIdleCap: 10 * time.Second, MaxTrees: 3}, w, 0, false)
	require.Subset(t, labels(w.sends), []string{"A::0.1@11s", "B::0.1@5s", "B::0.2@16s"}, "what is within the cap stays")
	require.Equal(t, 2, m.Counters.TreeIdleJumps)
	require.Equal(t, 990*time.Second+989*time.Second, m.Counters.TreeIdleSkipped)
	require.Zero(t, m.Counters.IdleJumps)
}

// All that a tree waits for moves together: the distances within it stay, and
// so does a parent's behind the children that it waits for.
func TestAnIdleTreeMovesAsAWhole(t *testing.T) {
	tr := grow("A", [][]time.Duration{secs(0, 120), secs(100), secs(103)}, tree.Branch{Parent: 0, Spawn: 0, Join: 1, Children: []int{1, 2}})
	tr.Branches[0].Start = 0
	w := &stage{service: time.Second}
	m := replay(t, Config{Trees: []*tree.Tree{tr}, Lanes: 1, TreeIdleCap: 5 * time.Second, MaxTrees: 1}, w, 0, false)
	// The children were due at 101 and 104 s, the parent, 120 s after the return
	// at 1 s, at 121. All move by 95 s; then 16 s of silence are 5.
	require.Equal(t, []string{"A::0.0@0s", "A::1.0@6s", "A::2.0@9s", "A::0.1@15s"}, labels(w.sends))
	require.Equal(t, 2, m.Counters.TreeIdleJumps)
	require.Equal(t, 106*time.Second, m.Counters.TreeIdleSkipped)
}

// A lane that takes its trace up in a pause has its first request within the
// cap, and so has the trace after it.
func TestALaneDoesNotBeginIdle(t *testing.T) {
	tr := grow("A", [][]time.Duration{secs(0, 100), secs(3)}, tree.Branch{Parent: 0, Spawn: -1, Join: tree.NoJoin, Children: []int{1}})
	w := &stage{service: time.Second}
	replay(t, Config{Trees: []*tree.Tree{tr}, Lanes: 1, StartMin: 0.5, StartMax: 0.5, TreeIdleCap: 5 * time.Second, MaxTrees: 2}, w, 0, false)
	require.Equal(t, []string{"A::0.1@5s", "A::0.0@6s", "A::1.0@9s", "A::0.1@15s"}, labels(w.sends))
}

// What will never be sent is not waited for.
func TestTheRequestCapEndsAReplayAtOnce(t *testing.T) {
	for name, cfg := range map[string]Config{
		"alone":       {Trees: []*tree.Tree{single("A", 9)}, Lanes: 1, MaxRequests: 2},
		"among lanes": {Trees: []*tree.Tree{single("A", 9), grow("B", [][]time.Duration{secs(0, 5000)})}, Lanes: 2, MaxRequests: 3},
	} {
		t.Run(name, func(t *testing.T) {
			w := &stage{service: time.Second}
			var over time.Duration
			m := replay(t, cfg, w, 0, false)
			for _, s := range w.sends {
				over = max(over, s.at)
			}
			require.Len(t, w.sends, cfg.MaxRequests)
			require.Equal(t, over+time.Second, w.ended, "the last reply ends it")
			require.True(t, m.Done())
		})
	}
}
