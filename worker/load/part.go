package load

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fleetune/fleetune/worker/load/agentic"
	"github.com/fleetune/fleetune/worker/load/drive"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/telemetry"
)

// A Part is the result of one share of a load, in the form that travels and
// merges with the others'.
type Part struct {
	// Start and End are on the clock that all parts share; Zero is when
	// profiling began, in ns since Start.
	Start     time.Time         `json:"start"`
	End       time.Time         `json:"end"`
	Zero      int64             `json:"zero_ns"`
	Profile   metrics.Snapshot  `json:"profile"`
	Warmup    *metrics.Snapshot `json:"warmup,omitempty"`
	Figures   []metrics.Metric  `json:"figures,omitempty"` // of the server and its devices
	Drive     *drive.Report     `json:"drive,omitempty"`
	Branches  *agentic.Counters `json:"branches,omitempty"`
	GPUs      []telemetry.GPU   `json:"gpus,omitempty"`
	GPUNote   string            `json:"gpu_note,omitempty"`
	Cancelled bool              `json:"cancelled,omitempty"`
	Tokens    string            `json:"tokens_counted_by,omitempty"`
	Simulated string            `json:"simulated,omitempty"`
	Proxy     string            `json:"proxy,omitempty"`
	// Requests are lines as files of requests have them, with instants on the
	// clock of the machine that sent them, which Ahead is to be added to.
	// RequestsLeft are those that were too many to hand over.
	Requests     []json.RawMessage `json:"requests,omitempty"`
	RequestsLeft int               `json:"requests_left,omitempty"`
	Ahead        time.Duration     `json:"ahead_ns,omitempty"`
}

// A Share is how one share of a load went that several workers took part in.
type Share struct {
	Share  int    `json:"share"`
	Worker string `json:"worker,omitempty"`
	// State is where it stands, Reason why it has no result.
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	// Done is set once its result is here.
	Done bool `json:"done"`
	// ClockError is the most that its instants are off by on the shared clock,
	// Drift how far its clock moved during the load, Late how long after the
	// common start it began.
	ClockError time.Duration `json:"clock_error_ns"`
	Drift      time.Duration `json:"clock_drift_ns"`
	Late       time.Duration `json:"start_late_ns"`
	// Requests, failures and tokens as it last told.
	Requests int   `json:"requests"`
	Failed   int   `json:"requests_failed"`
	InFlight int64 `json:"-"`
	Tokens   int   `json:"output_tokens"`
}

func (s *Share) String() string {
	out := fmt.Sprintf("share %d", s.Share)
	if s.Worker != "" {
		out += " on worker " + s.Worker
	}
	out += " is " + s.State
	if s.Reason != "" {
		out += ": " + s.Reason
	}
	return out
}

// maxPart bounds a part that was unpacked, in bytes.
const maxPart = 1 << 30

// ErrPart says that bytes are no part of a load.
var ErrPart = errors.New("not a part of a load")

// Part returns what a run measured. The offset is what the shared clock is
// ahead of this machine's.
func (r *Result) Part(offset time.Duration) Part {
	p := Part{Ahead: offset, Start: r.Start.Add(offset).Round(0), End: r.End.Add(offset).Round(0), Zero: r.zero, Profile: r.profile.Snapshot(),
		Figures: r.figures, GPUs: r.GPUs, GPUNote: r.GPUNote, Drive: r.Drive, Branches: r.Branches, Cancelled: r.Cancelled, Tokens: r.Tokens, Simulated: r.Simulated, Proxy: r.Proxy}
	if r.Warmup != nil {
		warm := r.warm.Snapshot()
		p.Warmup = &warm
	}
	return p
}

// Encode packs a part.
func (p *Part) Encode() ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	err := json.NewEncoder(z).Encode(p)
	if err = errors.Join(err, z.Close()); err != nil {
		return nil, fmt.Errorf("packing a part of a load: %w", err)
	}
	return b.Bytes(), nil
}

// DecodePart unpacks a part. What it does not understand is ErrPart.
func DecodePart(data []byte) (*Part, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPart, err)
	}
	in := &io.LimitedReader{R: z, N: maxPart}
	var p Part
	if err := json.NewDecoder(in).Decode(&p); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPart, err)
	}
	return &p, nil
}

// Merge makes one result of the parts of a load. SLOs and slices are those of
// the plan that was shared out.
func Merge(parts []*Part, slos []metrics.SLO, slice time.Duration) (*Result, error) {
	if len(parts) == 0 {
		return nil, errors.New("no share of the load has told its result")
	}
	first := parts[0]
	res := &Result{Start: first.Start, End: first.End, Tokens: first.Tokens}
	for _, p := range parts {
		if p.Start.Before(res.Start) {
			res.Start = p.Start
		}
		if p.End.After(res.End) {
			res.End = p.End
		}
	}
	zero := int64(first.Start.Sub(res.Start)) + first.Zero
	for _, p := range parts {
		zero = min(zero, int64(p.Start.Sub(res.Start))+p.Zero)
	}
	res.zero = zero
	res.profile = metrics.NewCollector(metrics.Options{SLOs: slos, Slice: int64(slice), Zero: zero})
	res.warm = metrics.NewCollector(metrics.Options{SLOs: slos})
	warmed := false
	for i, p := range parts {
		shift := int64(p.Start.Sub(res.Start))
		if err := res.profile.Merge(&p.Profile, shift); err != nil {
			return nil, fmt.Errorf("merging part %d: %w", i, err)
		}
		if p.Warmup != nil {
			warmed = true
			if err := res.warm.Merge(p.Warmup, shift); err != nil {
				return nil, fmt.Errorf("merging the warm-up of part %d: %w", i, err)
			}
		}
		res.takeReports(p)
	}
	res.Summary = res.profile.Summary()
	res.Summary.Add(res.figures)
	res.efficiency()
	if warmed {
		res.Warmup = res.warm.Summary()
	}
	return res, nil
}

// takeReports adds up how a part's schedule and branches went. The server's
// own figures are the same for all parts; one part brings them.
func (r *Result) takeReports(p *Part) {
	r.Cancelled = r.Cancelled || p.Cancelled
	if p.Simulated != "" {
		r.Simulated = p.Simulated
	}
	if p.Proxy != "" {
		r.Proxy = p.Proxy
	}
	if len(r.figures) == 0 {
		r.figures = p.Figures
	}
	if len(r.GPUs) == 0 && r.GPUNote == "" {
		r.GPUs, r.GPUNote = p.GPUs, p.GPUNote
	}
	if p.Drive != nil {
		if r.Drive == nil {
			r.Drive = &drive.Report{}
		}
		r.Drive.Add(p.Drive)
	}
	if p.Branches != nil {
		if r.Branches == nil {
			r.Branches = &agentic.Counters{}
		}
		r.Branches.Add(p.Branches)
	}
}
