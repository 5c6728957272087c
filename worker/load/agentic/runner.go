package agentic

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetune/fleetune/worker/load/pace"
	"github.com/fleetune/fleetune/worker/load/transport"
	"github.com/fleetune/fleetune/worker/load/tree"
)

// Stream is what the session plays.
func (r Ref) Stream() *tree.Stream { return &r.tree.tree.Streams[r.stream] }

// Tree is the trace that the session belongs to.
func (r Ref) Tree() *tree.Tree { return r.tree.tree }

// Lane is the lane that the session's tree is on.
func (r Ref) Lane() int { return r.tree.lane }

// Marker is the marker of the session's tree.
func (r Ref) Marker() string { return r.tree.marker }

// Parent is the session that spawned this one; ok is false at a root.
func (r Ref) Parent() (p Ref, ok bool) {
	at := r.Stream().Parent
	return Ref{r.tree, at}, at >= 0
}

// Child is another session of the same tree, by its stream.
func (r Ref) Child(stream int) Ref { return Ref{r.tree, stream} }

// Drained reports whether the session's tree is over.
func (r Ref) Drained() bool { return r.tree.drained }

// A Player sends requests. Ready and Returned are called by the runner alone,
// one after another; what Ready returns runs beside all others.
type Player interface {
	// Ready prepares a request; an error refuses it. The call sends it; its
	// error says why it did not go well.
	Ready(s Send, due time.Time) (func(context.Context) (Outcome, error), error)
	// Returned is called after a request's end has been taken in.
	Returned(s Send)
}

// Runner drives a machine in real time.
type Runner struct {
	Machine *Machine
	Player  Player
	Pacer   *pace.Pacer
	// Duration of profiling; 0 for none.
	Duration time.Duration
	// Grace for requests in flight at the end; negative waits for them all.
	Grace time.Duration
	// Refuse is called with the errors that refused a request; may be nil.
	Refuse func(error)
	// Tolerant goes on when a root cannot be warmed up.
	Tolerant bool
	// OnWarmup is told how many requests the warm-up has and when the last of
	// them is due; may be nil.
	OnWarmup func(requests int, last time.Time)

	next atomic.Int64 // of profiling, ns since 1970; 0 while something is out
}

// Next tells when the next request is due, if nothing is out until then. It
// may be asked while the runner runs.
func (r *Runner) Next() (time.Time, bool) {
	at := r.next.Load()
	return time.Unix(0, at), at != 0
}

type returned struct {
	send Send
	how  Outcome
}

// Warmup sends the warm-up requests, each at its time, and waits for all. An
// error at a root ends the run: what cannot be warmed cannot be measured.
func (r *Runner) Warmup(ctx context.Context) error {
	begin := time.Now()
	sends := r.Machine.Warmup()
	if r.OnWarmup != nil && len(sends) > 0 {
		last := time.Duration(0)
		for _, s := range sends {
			last = max(last, s.Due)
		}
		r.OnWarmup(len(sends), begin.Add(last))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var work sync.WaitGroup
	defer work.Wait()
	errs := make([]error, len(sends))
	// Requests are made ready one after another, before the first is due.
	for i, s := range sends {
		call, err := r.Player.Ready(s, begin.Add(s.Due))
		if err != nil {
			return fmt.Errorf("warming up %s: %w", s.Stream().Conv.ID, err)
		}
		work.Go(func() {
			if r.Pacer.SleepUntil(ctx, begin.Add(s.Due)) != nil {
				return
			}
			if how, why := call(ctx); how != OK && s.stream == 0 && ctx.Err() == nil && !r.Tolerant {
				errs[i] = coldRoot(s, why)
				cancel(transport.ErrRunEnded)
			}
		})
	}
	work.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// ErrChildFailed is returned when the failure of a child ended the replay.
var ErrChildFailed = errors.New("a child's request failed")

// ErrColdRoot is returned when a lane's root could not be warmed up.
var ErrColdRoot = errors.New("the warm-up of a trace failed")

func coldRoot(s Send, why error) error {
	c := s.Stream().Conv
	return fmt.Errorf("%w: turn %d of %s, a prompt of %d tokens: %w", ErrColdRoot, s.Turn, c.ID, c.Turns[s.Turn].InputTokens, why)
}

// Pressure plays the lanes on without delays, to fill the server's caches as
// a long run would, until the limit is over or every lane has sent its quota;
// 0 leaves one of them out. Profiling takes the lanes up where they stand.
func (r *Runner) Pressure(ctx context.Context, limit time.Duration, quota int) error {
	p := &profile{Runner: r, begin: time.Now(), ends: make(chan returned), wake: make(chan struct{}, 1), limit: limit, grace: -1, stop: r.Machine.Hold}
	p.flight, p.endFlight = context.WithCancelCause(context.WithoutCancel(ctx))
	defer p.endFlight(nil)
	defer p.work.Wait()
	r.Machine.Press(0, quota)
	err := p.loop(ctx)
	r.Machine.Rest()
	return err
}

// Profile plays the lanes until they are over, the duration has passed, or the
// caller stops.
func (r *Runner) Profile(ctx context.Context) error {
	p := &profile{Runner: r, begin: time.Now(), ends: make(chan returned), wake: make(chan struct{}, 1), limit: r.Duration, grace: r.Grace, stop: r.Machine.Stop}
	p.flight, p.endFlight = context.WithCancelCause(context.WithoutCancel(ctx))
	defer p.endFlight(nil)
	defer p.work.Wait()
	r.Machine.Start(0)
	return p.loop(ctx)
}

type profile struct {
	*Runner
	limit, grace time.Duration
	stop         func() // when the limit is over
	begin        time.Time
	ends         chan returned
	wake         chan struct{}
	work         sync.WaitGroup
	flight       context.Context
	endFlight    context.CancelCauseFunc
}

func (p *profile) now() time.Duration { return time.Since(p.begin) }

func (p *profile) loop(ctx context.Context) error {
	var over, mercy <-chan time.Time
	if p.limit > 0 {
		t := time.NewTimer(p.limit)
		defer t.Stop()
		over = t.C
	}
	stop := ctx.Done()
	for {
		p.dispatch()
		if p.Machine.Done() {
			return nil
		}
		cancel := p.arm()
		select {
		case e := <-p.ends:
			p.take(e)
		case <-p.wake:
		case <-over:
			over = nil
			p.stop()
			if p.grace >= 0 {
				mercy = time.After(p.grace)
			}
		case <-stop:
			stop = nil
			p.Machine.Stop()
			p.endFlight(transport.ErrStopped)
		case <-mercy:
			mercy = nil
			p.endFlight(transport.ErrRunEnded)
		}
		cancel()
	}
}

// dispatch sends everything that is due.
func (p *profile) dispatch() {
	for {
		sends := p.Machine.Advance(p.now())
		if len(sends) == 0 {
			return
		}
		for _, s := range sends {
			call, err := p.Player.Ready(s, p.begin.Add(s.Due))
			if err != nil {
				if p.Refuse != nil {
					p.Refuse(err)
				}
				p.Machine.Refused(s.Ref, p.now())
				p.Player.Returned(s)
				continue
			}
			p.work.Go(func() {
				how, _ := call(p.flight) // the record has the reason
				p.ends <- returned{s, how}
			})
		}
	}
}

func (p *profile) take(e returned) {
	p.Machine.Returned(e.send.Ref, p.now(), e.how)
	p.Player.Returned(e.send)
}

// arm wakes the loop at the machine's next timer.
func (p *profile) arm() func() bool {
	next, ok := p.Machine.Next()
	if !ok || !p.Machine.Idle() {
		p.next.Store(0)
	} else {
		p.next.Store(p.begin.Add(next).UnixNano())
	}
	if !ok {
		return func() bool { return false }
	}
	return p.Pacer.At(p.begin.Add(next), func() {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	})
}
