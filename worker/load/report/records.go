package report

import (
	"math"
	"sync"
	"time"

	"github.com/fleetune/fleetune/worker/load/metrics"
)

// A Value is one figure of one request.
type Value struct {
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

// A Line is one request in the file of requests. Instants are wall-clock
// nanoseconds, derived from the run's start and its monotonic clock.
type Line struct {
	Metadata Metadata         `json:"metadata"`
	Metrics  map[string]Value `json:"metrics"`
	Error    *metrics.Error   `json:"error"`
}

// Metadata places a request in its run.
type Metadata struct {
	SessionNum   int64   `json:"session_num"`
	Request      string  `json:"x_request_id"`
	Correlation  string  `json:"x_correlation_id"`
	Conversation string  `json:"conversation_id"`
	Turn         int     `json:"turn_index"`
	Scheduled    int64   `json:"scheduled_ns,omitempty"`
	Issued       int64   `json:"credit_issued_ns"`
	Start        int64   `json:"request_start_ns"`
	Ack          int64   `json:"request_ack_ns,omitempty"`
	End          int64   `json:"request_end_ns"`
	Worker       string  `json:"worker_id"`
	Processor    string  `json:"record_processor_id"`
	Phase        string  `json:"benchmark_phase"`
	Cancelled    bool    `json:"was_cancelled"`
	CancelledAt  int64   `json:"cancellation_time_ns,omitempty"`
	Depth        int     `json:"agent_depth"`
	Parent       *string `json:"parent_correlation_id"`
	Root         string  `json:"root_correlation_id"`
	URL          string  `json:"url,omitempty"`
	Finish       string  `json:"finish_reason,omitempty"`
}

// A Recorder writes a line for every request. It is safe for concurrent use;
// the first error is kept for Close.
type Recorder struct {
	lines
	mu    sync.Mutex
	epoch time.Time
	defs  []metrics.Definition
}

// CreateRecorder opens a file of requests. Records count from epoch; it may be
// set later, before the first record.
func CreateRecorder(path string) (*Recorder, error) {
	r := &Recorder{defs: metrics.Definitions()}
	return r, r.create(path, "the file of requests")
}

// Start sets what the records' instants count from.
func (r *Recorder) Start(epoch time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epoch = epoch
}

func (r *Recorder) start() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epoch
}

// Add writes a record.
func (r *Recorder) Add(rec *metrics.Record) { r.put(NewLine(rec, r.start(), r.defs)) }

// NewLine makes the line of a record.
func NewLine(rec *metrics.Record, epoch time.Time, defs []metrics.Definition) Line {
	wall := func(ns int64) int64 { return wallClock(epoch, ns) }
	l := Line{Error: rec.Err, Metrics: map[string]Value{}, Metadata: Metadata{
		SessionNum: rec.Number, Request: rec.Request, Correlation: rec.Session, Conversation: rec.Conversation,
		Turn: rec.Turn, Scheduled: wall(rec.Scheduled), Issued: wall(rec.Issued), Start: wall(rec.Start),
		Ack: wall(rec.Headers), End: wall(rec.End), Worker: rec.Worker, Processor: rec.Worker, Phase: string(rec.Phase),
		Cancelled: rec.Cancelled > 0, CancelledAt: wall(rec.Cancelled), Depth: rec.Depth, Root: rec.Root,
		URL: rec.URL, Finish: rec.Finish,
	}}
	if rec.Parent != "" {
		l.Metadata.Parent = &rec.Parent
	}
	if !rec.Valid() {
		return l
	}
	for _, d := range defs {
		if d.Of == nil {
			continue
		}
		if x := d.Of(rec); !math.IsNaN(x) && !math.IsInf(x, 0) {
			l.Metrics[d.Tag] = Value{x, d.Unit}
		}
	}
	return l
}

// wallClock is an instant of a record as ns since 1970; 0 stays 0.
func wallClock(epoch time.Time, ns int64) int64 {
	if ns <= 0 {
		return 0
	}
	return epoch.UnixNano() + ns
}
