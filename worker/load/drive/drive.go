// Package drive runs load shapes: it decides when a session starts and when
// its next turn is due, within slots, rates, schedules and ramps, and ends a
// phase in an orderly way. What a turn sends is the session's business.
package drive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/pace"
	"github.com/fleetune/fleetune/worker/load/play"
	"github.com/fleetune/fleetune/worker/load/transport"
)

// Kind names a load shape.
type Kind string

// The load shapes.
const (
	// Closed keeps Concurrency sessions running.
	Closed Kind = "concurrency"
	// Open issues requests at Rate, whatever the server does.
	Open Kind = "rate"
	// Schedule issues requests at their recorded instants.
	Schedule Kind = "schedule"
	// Users keeps Users users with a steady gap between their turns.
	Users Kind = "users"
)

// A Shape says when requests are sent.
type Shape struct {
	Kind Kind
	// Concurrency bounds live sessions; 0 sets no bound. A closed loop needs it.
	Concurrency int
	// Prefill bounds requests whose first content has not come; 0 for none.
	Prefill int
	// Rate in requests per second, for open loops and users.
	Rate       float64
	Arrival    pace.Arrival
	Smoothness float64
	// Users of a user-centric load, whose sessions have so many Turns on
	// average; 0 is what the list has.
	Users int
	Turns float64
	// Ramps grow the bounds and the rate from their least to their full value.
	ConcurrencyRamp, PrefillRamp, RateRamp time.Duration
	// SpeedUp divides a schedule's instants; 0 means 1.
	SpeedUp float64
	// From and To cut a schedule, both included; To 0 means to the end.
	// Instants count from From, or from the first request with AutoOffset.
	From, To   time.Duration
	AutoOffset bool
}

// A Phase is a stretch of load and the conditions that end it. The first
// condition that holds wins; 0 leaves one out.
type Phase struct {
	Name     metrics.Phase
	Shape    Shape
	Requests int
	Sessions int
	Duration time.Duration
	// Grace is how long requests in flight may take once sending is over;
	// negative waits for them all.
	Grace time.Duration
	// CancelPercent of requests are hung up on, CancelDelay after their body
	// was sent.
	CancelPercent float64
	CancelDelay   time.Duration
	Seed          int64
}

// DefaultGrace is how long a phase that ended by its duration waits for
// requests in flight.
const DefaultGrace = 30 * time.Second

// GraceFor is the usual grace of a phase of that duration. One that ends by a
// number of requests waits for all of them: their count is what was asked for.
func GraceFor(duration time.Duration) time.Duration {
	if duration > 0 {
		return DefaultGrace
	}
	return -1
}

// drainLimit bounds the wait for cancelled requests.
const drainLimit = 10 * time.Second

// A Session is what a shape drives.
type Session interface {
	Prepare(turn int)
	Turn(ctx context.Context, turn int, t play.Ticket) *metrics.Record
	Close()
}

// An Opener starts a session of a conversation in a phase.
type Opener func(metrics.Phase, *conversation.Conversation) (Session, error)

// A Runner runs phases. All of them use one pacer.
type Runner struct {
	Pacer *pace.Pacer
	Open  Opener
	// Sink takes every finished record; it is called from many goroutines.
	Sink func(*metrics.Record)
	// InFlight counts requests that are out, for the live view.
	InFlight atomic.Int64
}

// Validate reports everything that is wrong with a phase.
func (p *Phase) Validate() error {
	var errs []error
	bad := func(when bool, format string, args ...any) {
		if when {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	s := &p.Shape
	switch s.Kind {
	case Closed:
		bad(s.Concurrency < 1, "a closed loop needs a concurrency of at least 1")
	case Open:
		bad(!(s.Rate > 0) && s.Arrival != pace.Burst, "an open loop needs a rate above 0")
		bad(s.Arrival == pace.Burst && s.Concurrency == 0 && p.Requests == 0 && p.Sessions == 0,
			"a burst needs a concurrency, or a number of requests or sessions")
		if _, err := pace.NewGaps(s.arrival(), s.Smoothness, 0); err != nil {
			errs = append(errs, err)
		}
	case Schedule:
		bad(s.SpeedUp < 0, "a schedule's speed-up must be above 0")
		bad(s.To > 0 && s.To < s.From, "a schedule's window ends before it starts")
	case Users:
		bad(s.Users < 1 || !(s.Rate > 0), "user-centric load needs users and a rate")
	default:
		bad(true, "unknown load shape %q", s.Kind)
	}
	bad(s.Kind != Schedule && p.Requests == 0 && p.Sessions == 0 && p.Duration == 0,
		"the %s phase needs an end: requests, sessions or a duration", p.Name)
	bad(p.Requests < 0 || p.Sessions < 0 || p.Duration < 0, "a phase's ends must not be negative")
	bad(p.CancelDelay < 0, "the cancellation delay must not be negative")
	bad(p.CancelPercent < 0 || p.CancelPercent > 100, "the cancellation rate must be between 0 and 100")
	return errors.Join(errs...)
}

func (s *Shape) arrival() pace.Arrival {
	if s.Arrival == "" {
		return pace.Poisson
	}
	return s.Arrival
}

// Run runs a phase over conversations of a source; a schedule plays list once
// instead, and users are spread by its average length. It returns when no request is out any more.
func (r *Runner) Run(ctx context.Context, p Phase, source conversation.Source, list []*conversation.Conversation) (*Report, error) {
	sent, err := r.Send(ctx, p, source, list, nil)
	if err != nil {
		return nil, err
	}
	return sent.Wait(ctx)
}

// Send runs a phase until no more of it is sent. Its replies may still be out;
// Wait, which must be called, waits for them. A phase after one of which that
// is so shares its slots: each goes over as its request ends, so that the load
// changes from one to the other without a gap, and is never that of both.
func (r *Runner) Send(ctx context.Context, p Phase, source conversation.Source, list []*conversation.Conversation, after *Sent) (*Sent, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	run := newPhase(ctx, r, p)
	if after != nil {
		run.live, run.prefill = after.phase.live, after.phase.prefill
		run.live.setLimit(p.Shape.Concurrency)
		run.prefill.setLimit(p.Shape.Prefill)
	}
	begin := time.Now()
	endRamps := run.ramps(begin)
	if p.Duration > 0 {
		cancel := r.Pacer.At(begin.Add(p.Duration), run.stop)
		defer cancel()
	}
	var err error
	switch p.Shape.Kind {
	case Closed:
		err = run.closed(source)
	case Open:
		err = run.open(source, begin)
	case Schedule:
		err = run.schedule(list, begin)
	case Users:
		run.users(source, list, begin)
	}
	out := &Sent{phase: run, begin: begin, err: err, done: make(chan struct{})}
	go func() {
		run.work.Wait()
		close(out.done)
	}()
	run.afterSending(ctx, out.done)
	endRamps()
	return out, nil
}

// Sent is a phase that sends nothing any more.
type Sent struct {
	phase *phase
	begin time.Time
	err   error
	done  chan struct{} // closed when nothing of it is out
}

// Wait ends the phase: it gives what is out its grace.
func (s *Sent) Wait(ctx context.Context) (*Report, error) {
	run := s.phase
	defer run.endFlight(nil)
	run.finish(ctx, s.done)
	run.cleanup()
	run.report.Elapsed = time.Since(s.begin)
	run.report.Issued, run.report.Sessions, run.report.Skipped = run.issued.Load(), run.sessions.Load(), run.skipped.Load()
	return &run.report, cmp.Or(s.err, run.openErr())
}

// phase is a phase that runs.
type phase struct {
	*Runner
	Phase
	// issue ends when no request may be sent any more, flight when those that
	// are out are cancelled.
	issue     context.Context
	stop      func()
	flight    context.Context
	endFlight context.CancelCauseFunc

	live     *slots
	prefill  *slots
	work     sync.WaitGroup // sessions
	issued   atomic.Int64
	sessions atomic.Int64
	unsent   atomic.Int64 // sessions that still have a turn to send
	skipped  atomic.Int64
	inFlight atomic.Int64
	report   Report
	cleanup  func() // closes sessions that were opened ahead and not played

	drawing sync.Mutex // a permission and what it is for are one step

	hangups *play.Hangups

	mu  sync.Mutex
	err error
}

func newPhase(ctx context.Context, r *Runner, p Phase) *phase {
	run := &phase{Runner: r, Phase: p, cleanup: func() {}, live: newSlots(p.Shape.Concurrency), prefill: newSlots(p.Shape.Prefill)}
	if p.Name == metrics.Profiling { // a warm-up hangs up on nothing
		run.hangups = play.NewHangups(p.CancelPercent, p.CancelDelay, p.Seed)
	}
	run.issue, run.stop = context.WithCancel(ctx)
	run.flight, run.endFlight = context.WithCancelCause(context.WithoutCancel(ctx))
	return run
}

// finish gives what is out its grace, then no mercy.
func (r *phase) finish(ctx context.Context, done <-chan struct{}) {
	select {
	case <-done:
		return
	case <-r.grace(ctx):
	}
	if ctx.Err() != nil {
		r.endFlight(transport.ErrStopped)
	} else {
		r.endFlight(transport.ErrRunEnded)
	}
	limit := time.NewTimer(drainLimit)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
		r.report.Stuck = r.inFlight.Load()
	}
}

// afterSending waits until sending is over: by a stop condition, by the
// caller, or because every session has ended.
func (r *phase) afterSending(ctx context.Context, done <-chan struct{}) {
	select {
	case <-r.issue.Done():
	case <-done:
	}
	r.stop()
	r.report.Stopped = ctx.Err() != nil
}

// grace returns a channel that tells when waiting is over. A caller that
// cancels gets no grace.
func (r *phase) grace(ctx context.Context) <-chan struct{} {
	over := make(chan struct{})
	once := sync.OnceFunc(func() { close(over) })
	context.AfterFunc(ctx, once)
	if r.Grace >= 0 {
		cancel := r.Pacer.At(time.Now().Add(r.Grace), once)
		context.AfterFunc(r.flight, func() { cancel() })
	}
	return over
}

// take gives out the permission for one more request, unless the phase's
// requests are used up or sending is over.
func (r *phase) take() (number int64, ok bool) {
	if r.issue.Err() != nil {
		return 0, false
	}
	n := r.issued.Add(1)
	if r.Requests > 0 && n > int64(r.Requests) {
		r.issued.Add(-1)
		r.stop()
		return 0, false
	}
	if r.Requests > 0 && n == int64(r.Requests) {
		defer r.stop()
	}
	return n - 1, true
}

// session counts one more session, unless the phase has had its share.
func (r *phase) session() bool {
	if r.issue.Err() != nil {
		return false
	}
	r.unsent.Add(1) // before it counts: all that count have sent all once there is none
	n := r.sessions.Add(1)
	if r.Sessions > 0 && n > int64(r.Sessions) {
		r.sessions.Add(-1)
		r.settle()
		return false
	}
	return true
}

// settle takes in that a session sends no more. When none does and no other may
// start, sending is over, though replies are still out.
func (r *phase) settle() {
	if r.unsent.Add(-1) == 0 && r.Sessions > 0 && r.sessions.Load() >= int64(r.Sessions) {
		r.stop()
	}
}

// fail keeps the first error and ends the phase.
func (r *phase) fail(err error) {
	r.mu.Lock()
	if r.err == nil {
		r.err = err
	}
	r.mu.Unlock()
	r.stop()
}

func (r *phase) openErr() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// A permit is the right to send one request.
type permit struct {
	number  int64
	release func() // of the prefill slot; more than once does no harm
}

// permit waits for a prefill slot and takes the permission for one request. It
// draws what is sent in the same step, so that as many requests as a phase has
// are the workload's first ones, whichever slot sends them.
func (r *phase) permit(draw func()) (permit, bool) {
	if r.prefill.acquire(r.issue) != nil {
		return permit{}, false
	}
	r.drawing.Lock()
	defer r.drawing.Unlock()
	number, ok := r.take() // checked after the slot: the wait may have been long
	if !ok {
		r.prefill.release()
		return permit{}, false
	}
	draw()
	return permit{number, sync.OnceFunc(r.prefill.release)}, true
}
