package drive

import "time"

// Report is how a phase went, beyond its records.
type Report struct {
	Issued   int64 `json:"requests_issued"`
	Sessions int64 `json:"sessions_started"`
	// Skipped counts ticks of an open loop that found no free slot.
	Skipped int64 `json:"ticks_skipped"`
	// Lost is schedule time given up because the generator was late, in
	// Resets steps.
	Lost   time.Duration `json:"schedule_time_lost_ns"`
	Resets int           `json:"schedule_resets"`
	// Midway counts conversations that a schedule's window takes up in the
	// middle, without the replies before.
	Midway int64 `json:"conversations_taken_up_midway,omitempty"`
	// Stuck counts requests that did not end even after they were cancelled.
	Stuck   int64         `json:"requests_stuck"`
	Stopped bool          `json:"stopped_early"`
	Elapsed time.Duration `json:"elapsed_ns"`
}

// Add takes in how another process's part of the same phase went.
func (r *Report) Add(o *Report) {
	r.Issued += o.Issued
	r.Sessions += o.Sessions
	r.Skipped += o.Skipped
	r.Lost += o.Lost
	r.Resets += o.Resets
	r.Midway += o.Midway
	r.Stuck += o.Stuck
	r.Stopped = r.Stopped || o.Stopped
	r.Elapsed = max(r.Elapsed, o.Elapsed)
}
