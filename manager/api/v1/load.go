package v1

import (
	"time"

	"github.com/fleetune/fleetune/proto/task"
)

// A LoadOrder asks for a load that several workers put on a server together.
type LoadOrder struct {
	Name string    `json:"name" minLength:"1" maxLength:"63" doc:"name of the load's task" example:"bench-7f3a"`
	Load task.Load `json:"load"`
	// Seconds that every share may take, its warm-up included.
	Seconds     float64           `json:"timeout_s" exclusiveMinimum:"0" doc:"how long the load may take"`
	Pool        string            `json:"pool,omitempty" maxLength:"48" doc:"pool of the workers; default where empty"`
	Accelerator string            `json:"accelerator,omitempty" maxLength:"100" doc:"what devices the workers lease for it: cpu, gpu, a vendor or part of a model's name; any where empty"`
	Labels      map[string]string `json:"labels,omitempty" doc:"labels that the workers must carry"`
	Bundle      []byte            `json:"bundle,omitempty" doc:"tar archive of the load's files, base64"`
}

// The states of a share.
const (
	ShareMissing = "missing" // no worker has it yet
	ShareWaiting = "waiting" // ready to start
	ShareRunning = "running"
	ShareSending = "sending" // hands its result over
	ShareDone    = "done"
	ShareFailed  = "failed"
	ShareLost    = "lost" // nothing was heard of it for too long
)

// A LoadShare is where one share of a load stands.
type LoadShare struct {
	Share      int           `json:"share"`
	Worker     string        `json:"worker" doc:"empty while no worker has it"`
	State      string        `json:"state" enum:"missing,waiting,running,sending,done,failed,lost"`
	Reason     string        `json:"reason,omitempty"`
	Offset     time.Duration `json:"clock_offset_ns" doc:"what the manager's clock is ahead of the worker's"`
	ClockError time.Duration `json:"clock_error_ns" doc:"the most that the offset is off by"`
	Drift      time.Duration `json:"clock_drift_ns" doc:"how far the offset moved until the end"`
	Late       time.Duration `json:"start_late_ns" doc:"how long after the common start the share began"`
	Elapsed    time.Duration `json:"elapsed_ns"`
	Done       int           `json:"requests_done"`
	Failed     int           `json:"requests_failed"`
	InFlight   int64         `json:"requests_in_flight"`
	Tokens     int           `json:"output_tokens"`
}

// Ended says that nothing more is to be heard of the share.
func (s *LoadShare) Ended() bool {
	return s.State == ShareDone || s.State == ShareFailed || s.State == ShareLost
}

// A LoadState is where a load stands.
type LoadState struct {
	Start  *time.Time  `json:"start" doc:"when all shares start, or started; null while some are missing"`
	Shares []LoadShare `json:"shares" nullable:"false"`
}

// A LoadPart is a piece of a share's result.
type LoadPart struct {
	Share  int    `json:"share"`
	Offset int64  `json:"offset"`
	Size   int64  `json:"size"`
	Data   []byte `json:"data"`
}
