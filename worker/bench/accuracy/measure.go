package accuracy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/drive"
	"github.com/fleetune/fleetune/worker/load/endpoint"
	"github.com/fleetune/fleetune/worker/load/input"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/mockopenai"
	"github.com/fleetune/fleetune/worker/load/pace"
	"github.com/fleetune/fleetune/worker/load/transport"
)

// SendLag is how late an open loop sent, at one rate.
type SendLag struct {
	Rate     float64 `json:"rate_per_s"`
	Achieved float64 `json:"achieved_per_s"`
	P50      float64 `json:"p50_ms"`
	P90      float64 `json:"p90_ms"`
	P99      float64 `json:"p99_ms"`
	Max      float64 `json:"max_ms"`
	// Lost is schedule time that was given up.
	Lost     float64 `json:"schedule_lost_ms"`
	Errors   int     `json:"errors"`
	Requests int     `json:"requests"`
	CPU      float64 `json:"cpu_us_per_request"`
}

// OracleError is how far stamps are from what the server did: the time from a
// write at the server to its stamp at the client.
type OracleError struct {
	Streams  int     `json:"streams"`
	SetTTFT  float64 `json:"set_ttft_ms"`
	SetITL   float64 `json:"set_itl_ms"`
	TTFT     Error   `json:"ttft_error"`
	Chunk    Error   `json:"chunk_error"`
	ITL      Error   `json:"itl_error"`
	Requests int     `json:"requests"`
	Chunks   int     `json:"chunks"`
	Errors   int     `json:"errors"`
	// Most is how many streams were open at once, by the records.
	Most   float64 `json:"concurrency_max"`
	CPU    float64 `json:"cpu_us_per_chunk"`
	Memory float64 `json:"memory_kib_per_stream,omitempty"`
}

// Error is a distribution of errors in ms.
type Error struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

// Speed is what a closed loop reached with server and client on the same
// cores, and what it cost the client.
type Speed struct {
	What       string  `json:"what"`
	PerSecond  float64 `json:"per_s"`
	CPU        float64 `json:"client_cpu_us_each"`
	PerCore    float64 `json:"per_client_core_s"`
	Errors     int     `json:"errors"`
	Concurrent int     `json:"concurrency"`
	// Peers were given the same requests, the same server and the same time.
	Peers []PeerSpeed `json:"peers,omitempty"`
}

type measurer struct {
	oracle *oracle
	length time.Duration
	report *Report
	peers  []Peer
}

func (m *measurer) all(ctx context.Context, only string, streams int) error {
	parts := []struct {
		name string
		run  func(context.Context, int) error
	}{{"lag", m.lags}, {"oracle", m.oracles}, {"knee", m.knees}, {"speed", m.speeds}}
	for _, p := range parts {
		if only != "" && only != p.name {
			continue
		}
		if err := p.run(ctx, streams); err != nil {
			return fmt.Errorf("measuring %s: %w", p.name, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// plan is a load on the oracle. The reply's timing travels in the body.
func (m *measurer) plan(scenario string, stream bool, ttft, itl time.Duration) (load.Plan, error) {
	s, err := input.ParseScenario(scenario)
	if err != nil {
		return load.Plan{}, err
	}
	extra := map[string]json.RawMessage{"ttft_us": raw(ttft), "itl_us": raw(itl)}
	return load.Plan{
		Target: transport.Config{URLs: []string{m.oracle.url}, KeepAlive: time.Minute, Options: endpoint.Options{Kind: endpoint.Chat, Stream: stream, LegacyMaxTokens: true, Extra: extra}},
		Models: []string{"mock"}, Source: input.Synthetic{Scenario: s, Seed: 1}.NewSource(), Seed: 1,
		Warmup:  &drive.Phase{Shape: drive.Shape{Kind: drive.Closed, Concurrency: 16}, Requests: 200, Grace: -1},
		Profile: drive.Phase{Grace: 30 * time.Second},
	}, nil
}

// lags measures the send lag of an open loop with constant gaps.
func (m *measurer) lags(ctx context.Context, _ int) error {
	for _, rate := range []float64{100, 1000, 5000} {
		plan, err := m.plan("D(64,8)", false, 0, 0)
		if err != nil {
			return err
		}
		plan.Profile.Shape = drive.Shape{Kind: drive.Open, Rate: rate, Arrival: pace.Constant}
		plan.Profile.Duration = m.length
		before := CPU()
		res, err := load.Run(ctx, plan)
		if err != nil {
			return err
		}
		used := CPU() - before
		lag, _ := res.Summary.Get(metrics.TagSendLag)
		n := res.Summary.Value(metrics.TagRequestCount)
		m.report.SendLag = append(m.report.SendLag, SendLag{
			Rate: rate, Achieved: float64(res.Drive.Issued) / m.length.Seconds(), P50: lag.Stats.P50, P90: lag.Stats.P90, P99: lag.Stats.P99, Max: lag.Stats.Max,
			Lost: float64(res.Drive.Lost) / 1e6, Errors: int(res.Summary.Value(metrics.TagErrorCount)), Requests: int(n), CPU: used.Seconds() * 1e6 / (n + 200),
		})
		if err := m.oracle.forget(ctx); err != nil {
			return err
		}
	}
	return nil
}

// oracles holds the stamps of streams against the server's.
func (m *measurer) oracles(ctx context.Context, streams int) error {
	if err := m.hold(ctx, 100, 20*time.Millisecond, 10*time.Millisecond, 0); err != nil {
		return err
	}
	if streams <= 0 {
		return nil
	}
	// Each stream sends a token every two seconds, and they start over five.
	return m.hold(ctx, streams, 2*time.Second, 2*time.Second, 5*time.Second)
}

// hold opens streams over the ramp and keeps all of them open for the
// measurement's length.
func (m *measurer) hold(ctx context.Context, streams int, ttft, itl, ramp time.Duration) error {
	tokens := max(2, int((m.length+ramp)/itl))
	plan, err := m.plan(fmt.Sprintf("D(64,%d)", tokens), true, ttft, itl)
	if err != nil {
		return err
	}
	plan.Warmup = nil
	plan.Profile.Shape = drive.Shape{Kind: drive.Closed, Concurrency: streams, ConcurrencyRamp: ramp}
	plan.Profile.Requests = streams
	plan.Profile.Grace = -1
	stamps := &stamps{of: map[string][]int64{}}
	plan.OnRecord = stamps.add
	plan.OnStart = func(epoch time.Time) {
		now, mono := mockopenai.Clocks()
		stamps.base = mono - int64(now.Sub(epoch))
	}
	var held memory
	if ramp > 0 {
		plan.OnProgress = func(p load.Progress) { held.look(int(p.InFlight)) }
	}
	held.start()
	before := CPU()
	res, err := load.Run(ctx, plan)
	if err != nil {
		return err
	}
	used := CPU() - before
	seen, err := m.oracle.recordings(ctx)
	if err != nil {
		return err
	}
	out := stamps.against(seen)
	out.Streams, out.SetTTFT, out.SetITL = streams, float64(ttft)/1e6, float64(itl)/1e6
	out.Requests, out.Errors = int(res.Summary.Value(metrics.TagRequestCount)), int(res.Summary.Value(metrics.TagErrorCount))
	c, _ := res.Summary.Get("effective_concurrency")
	out.Most, out.Memory = c.Stats.Max, held.perStream()
	if out.Chunks > 0 {
		out.CPU = used.Seconds() * 1e6 / float64(out.Chunks)
	}
	m.report.Oracle = append(m.report.Oracle, out)
	if out.Chunks == 0 {
		return errors.New("no chunk was matched with the oracle")
	}
	return nil
}

// stamps keeps the arrivals of every request by its id.
type stamps struct {
	mu   sync.Mutex
	base int64 // the run's epoch on the machine's clock
	of   map[string][]int64
}

func (s *stamps) add(r *metrics.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !r.Valid() {
		return
	}
	at := make([]int64, 0, len(r.Chunks))
	for _, c := range r.Chunks {
		at = append(at, c.At+s.base)
	}
	s.of[r.Request] = at
}

// against compares the stamps with the server's writes.
func (s *stamps) against(seen *mockopenai.Exchange) OracleError {
	var ttft, chunk, itl metrics.Distribution
	var out OracleError
	for i := range seen.Recordings {
		r := &seen.Recordings[i]
		at := s.of[r.ID]
		if len(at) != len(r.Writes) {
			continue
		}
		for k := range at {
			late := float64(at[k]-r.Writes[k]-seen.EpochMonotonic) / 1e6
			chunk.Add(late)
			if k == 0 {
				ttft.Add(late)
				continue
			}
			itl.Add(float64(at[k]-at[k-1]-(r.Writes[k]-r.Writes[k-1])) / 1e6)
		}
		out.Chunks += len(at)
	}
	figure := func(d *metrics.Distribution) Error {
		if d.Count() == 0 {
			return Error{}
		}
		return Error{d.Percentile(50), d.Percentile(99), d.Percentile(100)}
	}
	out.TTFT, out.Chunk, out.ITL = figure(&ttft), figure(&chunk), figure(&itl)
	return out
}

// speeds measures what closed loops reach.
func (m *measurer) speeds(ctx context.Context, _ int) error {
	for _, c := range []struct {
		what       string
		scenario   string
		stream     bool
		concurrent int
		tokens     int
		each       string
	}{
		{"requests, not streaming", "D(64,8)", false, 32, 8, metrics.TagRequestCount},
		{"requests, streaming 8 tokens", "D(64,8)", true, 32, 8, metrics.TagRequestCount},
		{"streamed chunks", "D(64,500)", true, 32, 500, "total_osl"},
	} {
		plan, err := m.plan(c.scenario, c.stream, 0, 0)
		if err != nil {
			return err
		}
		plan.Warmup = nil
		plan.Profile.Shape = drive.Shape{Kind: drive.Closed, Concurrency: c.concurrent}
		plan.Profile.Duration = m.length
		before := CPU()
		res, err := load.Run(ctx, plan)
		if err != nil {
			return err
		}
		used := CPU() - before
		n := res.Summary.Value(c.each)
		speed := Speed{
			What: c.what, PerSecond: n / res.Drive.Elapsed.Seconds(), CPU: used.Seconds() * 1e6 / n, PerCore: n / used.Seconds(),
			Errors: int(res.Summary.Value(metrics.TagErrorCount)), Concurrent: c.concurrent,
		}
		if err := m.oracle.forget(ctx); err != nil {
			return err
		}
		if speed.Peers, err = m.against(ctx, plan, speed, c.tokens, c.each == "total_osl"); err != nil {
			return err
		}
		m.report.Speed = append(m.report.Speed, speed)
	}
	return nil
}

// CPU is the processor time this process has used.
func CPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// memory watches what open streams take of the heap and the stacks.
type memory struct {
	idle    uint64
	streams int // most seen open at once
	each    float64
}

func inUse() uint64 {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapInuse + s.StackInuse
}

func (h *memory) start() {
	runtime.GC()
	h.idle = inUse()
}

// look takes the figure where most streams are open.
func (h *memory) look(streams int) {
	if streams < max(h.streams, 1) {
		return
	}
	if now := inUse(); now > h.idle {
		h.streams, h.each = streams, float64(now-h.idle)/1024/float64(streams)
	}
}

func (h *memory) perStream() float64 { return h.each }
