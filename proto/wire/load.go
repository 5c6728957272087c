package wire

import "time"

// The steps of a share of a load, in their order.
const (
	// LoadWaiting shares are ready to start.
	LoadWaiting = "waiting"
	// LoadRunning shares put load on the server.
	LoadRunning = "running"
	// LoadSending shares hand their result over, part by part.
	LoadSending = "sending"
	// LoadFailed shares have none.
	LoadFailed = "failed"
)

// A LoadCall is how a share of a load stands. It is a request to whoever
// gathers the shares; a repeated call has the same answer. A lost one is
// called again, and a share that nobody answers stops by itself.
type LoadCall struct {
	Version int    `json:"v"`
	Worker  string `json:"worker"`
	// Session tells one attempt of a share from another.
	Session string `json:"session"`
	Share   int    `json:"share"`
	// Step is LoadWaiting, LoadRunning, LoadSending or LoadFailed.
	Step     string       `json:"step"`
	Clock    LoadClock    `json:"clock"`
	Progress LoadProgress `json:"progress"`
	Part     *LoadPart    `json:"part,omitempty"`
	Reason   string       `json:"reason,omitempty"` // of a failure
}

// A LoadClock is what a share knows of the gatherer's clock, by the fastest of
// its calls so far.
type LoadClock struct {
	// Offset is what the gatherer's clock is ahead of the worker's. It is off
	// by no more than Error, half the fastest call's time.
	Offset time.Duration `json:"offset_ns"`
	Error  time.Duration `json:"error_ns"`
	Probes int           `json:"probes"`
	// Late is how long after the common start this share started; Drift how
	// far the offset moved from the start to the end.
	Late  time.Duration `json:"late_ns,omitempty"`
	Drift time.Duration `json:"drift_ns,omitempty"`
}

// LoadProgress is where a share stands.
type LoadProgress struct {
	Elapsed  time.Duration `json:"elapsed_ns,omitempty"` // since the share began, its warm-up included
	Done     int           `json:"done,omitempty"`
	Failed   int           `json:"failed,omitempty"`
	InFlight int64         `json:"in_flight,omitempty"`
	Tokens   int           `json:"tokens,omitempty"`
}

// A LoadPart is a piece of a share's result.
type LoadPart struct {
	Offset int64  `json:"offset"`
	Size   int64  `json:"size"` // of the whole result, in bytes
	Data   []byte `json:"data"`
}

// A LoadReply answers a share.
type LoadReply struct {
	Version int `json:"v"`
	// Now is the gatherer's clock, in ns since 1970.
	Now int64 `json:"now_ns"`
	// Start is when all shares start, on that clock; 0 while some are missing.
	Start int64 `json:"start_ns,omitempty"`
	// Over says why the share must not go on.
	Over string `json:"over,omitempty"`
}
