package agentic

import "time"

// Counters tell how the branches of a replay went.
type Counters struct {
	TreesStarted    int           `json:"trees_started"`
	TreesDone       int           `json:"trees_completed"`
	Spawned         int           `json:"children_spawned"`
	Completed       int           `json:"children_completed"`
	Errored         int           `json:"children_errored"`
	Truncated       int           `json:"children_truncated"`
	Suspended       int           `json:"parents_suspended"`
	Resumed         int           `json:"parents_resumed"`
	Background      int           `json:"joins_suppressed"`
	Rejected        int           `json:"snapshots_rejected"`
	Overflows       int           `json:"context_overflows"`
	IdleJumps       int           `json:"idle_jumps"`
	IdleSkipped     time.Duration `json:"idle_skipped_ns"`
	TreeIdleJumps   int           `json:"tree_idle_jumps"`
	TreeIdleSkipped time.Duration `json:"tree_idle_skipped_ns"`
	StarvedDraws    int           `json:"lanes_without_a_trace"`
	RequestsIssued  int           `json:"requests_issued"`
}

// Add takes in how another process's lanes went.
func (c *Counters) Add(o *Counters) {
	c.TreesStarted += o.TreesStarted
	c.TreesDone += o.TreesDone
	c.Spawned += o.Spawned
	c.Completed += o.Completed
	c.Errored += o.Errored
	c.Truncated += o.Truncated
	c.Suspended += o.Suspended
	c.Resumed += o.Resumed
	c.Background += o.Background
	c.Rejected += o.Rejected
	c.Overflows += o.Overflows
	c.IdleJumps += o.IdleJumps
	c.IdleSkipped += o.IdleSkipped
	c.TreeIdleJumps += o.TreeIdleJumps
	c.TreeIdleSkipped += o.TreeIdleSkipped
	c.StarvedDraws += o.StarvedDraws
	c.RequestsIssued += o.RequestsIssued
}
