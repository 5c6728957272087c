package share

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/google/uuid"
)

const (
	// callTime bounds one call, callEvery is the pause between two.
	callTime  = 2 * time.Second
	waitEvery = 50 * time.Millisecond
	liveEvery = 500 * time.Millisecond
	// patience is how long nobody may answer before a share stops.
	patience = 15 * time.Second
	// enoughProbes is how many exchanges an offset rests on.
	enoughProbes = 8
	// handTime bounds handing the result over, handTimeStopped once the load
	// was cancelled: then the device must be free soon.
	handTime        = time.Minute
	handTimeStopped = 1500 * time.Millisecond
	// partSize is how much of a result one call carries, below the bus's
	// largest message once it is written as base64.
	partSize = 384 << 10
)

var (
	errNobody = errors.New("nobody gathers this load any more")
	errOver   = errors.New("the load goes on without this share")
)

// caller speaks with the gatherer.
type caller struct {
	ask   Caller
	load  uuid.UUID
	clock *clock
	call  wire.LoadCall // as it was sent last, but for the step

	mu      sync.Mutex
	where   wire.LoadProgress
	keeping sync.WaitGroup
	quit    context.CancelFunc
}

// try calls once and learns from the answer's instant.
func (c *caller) try(ctx context.Context, clock *clock, call wire.LoadCall) (wire.LoadReply, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	sent := time.Now()
	reply, err := c.ask(ctx, c.load, call)
	if err != nil {
		return reply, err
	}
	clock.probe(sent, time.Now(), reply.Now)
	if reply.Over != "" {
		return reply, fmt.Errorf("%w: %s", errOver, reply.Over)
	}
	return reply, nil
}

// insist calls until it is answered, patience is over, or ctx ends.
func (c *caller) insist(ctx context.Context, clock *clock, call wire.LoadCall) (wire.LoadReply, error) {
	began := time.Now()
	for {
		reply, err := c.try(ctx, clock, call)
		if err == nil || errors.Is(err, errOver) {
			return reply, err
		}
		if ctx.Err() != nil {
			return reply, context.Cause(ctx)
		}
		if time.Since(began) > patience {
			return reply, fmt.Errorf("%w: %w", errNobody, err)
		}
		if !pause(ctx, liveEvery) {
			return reply, context.Cause(ctx)
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// await calls until the gatherer names the start, and returns it on this
// machine's clock.
func (c *caller) await(ctx context.Context) (time.Time, error) {
	for {
		call := c.call
		call.Step, call.Clock = wire.LoadWaiting, c.known()
		reply, err := c.insist(ctx, c.clock, call)
		if err != nil {
			return time.Time{}, err
		}
		if reply.Start != 0 {
			at := c.clock.time(reply.Start)
			c.call.Clock = c.known()
			c.call.Clock.Late = max(0, time.Since(at))
			return at, nil
		}
		every := waitEvery
		if c.clock.probes < enoughProbes {
			every = waitEvery / 10
		}
		if !pause(ctx, every) {
			return time.Time{}, context.Cause(ctx)
		}
	}
}

func (c *caller) known() wire.LoadClock {
	return wire.LoadClock{Offset: c.clock.offset, Error: c.clock.bound(), Probes: c.clock.probes}
}

// progress takes in where the run stands.
func (c *caller) progress(p load.Progress) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.where = wire.LoadProgress{Elapsed: p.Elapsed, Done: p.Done, Failed: p.Failed, InFlight: p.InFlight, Tokens: p.Tokens}
}

// ended takes in how the run ended.
func (c *caller) ended(res *load.Result) {
	s := res.Summary
	c.mu.Lock()
	defer c.mu.Unlock()
	c.where = wire.LoadProgress{Elapsed: res.End.Sub(res.Start), Done: int(s.Value(metrics.TagRequestCount)),
		Failed: int(s.Value(metrics.TagErrorCount)), Tokens: int(s.Value("total_osl"))}
}

func (c *caller) stands() wire.LoadProgress {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.where
}

// keep shows the gatherer that the share lives until rest is called. It stops
// the share when the gatherer wants it to, or is gone.
func (c *caller) keep(ctx context.Context, stop context.CancelCauseFunc) {
	ctx, c.quit = context.WithCancel(ctx)
	clock := c.clock.again() // the start's offset stays what it was
	c.keeping.Go(func() {
		for pause(ctx, liveEvery) {
			call := c.call
			call.Step, call.Progress = wire.LoadRunning, c.stands()
			if _, err := c.insist(ctx, clock, call); err != nil && ctx.Err() == nil {
				stop(err)
				return
			}
		}
	})
}

// rest ends what keep began.
func (c *caller) rest() {
	if c.quit != nil {
		c.quit()
		c.keeping.Wait()
	}
}

// learnDrift measures the offset anew.
func (c *caller) learnDrift(ctx context.Context) {
	if ctx.Err() != nil || c.call.Clock.Probes == 0 {
		return
	}
	clock := c.clock.again()
	call := c.call
	call.Step, call.Progress = wire.LoadRunning, c.stands()
	for range enoughProbes {
		if _, err := c.try(ctx, clock, call); err != nil {
			return // the offset of the start stands
		}
	}
	c.call.Clock.Drift = clock.offset - c.clock.offset
}

// hand gives the result to the gatherer, piece by piece. A load that was
// cancelled hands over what it has.
func (c *caller) hand(ctx context.Context, res *load.Result, sent *requests) error {
	limit, stopped := handTime, ctx.Err() != nil
	if stopped {
		limit = handTimeStopped
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	// The result's start on the gatherer's clock, whatever the wall clock did.
	start := c.clock.at(res.Start) + int64(c.call.Clock.Offset)
	part := res.Part(time.Duration(start - res.Start.UnixNano()))
	data, err := sent.encode(&part, stopped)
	if err != nil {
		return err
	}
	call := c.call
	call.Step, call.Progress = wire.LoadSending, c.stands()
	clock := c.clock.again()
	for at := 0; at < len(data); at += partSize {
		call.Part = &wire.LoadPart{Offset: int64(at), Size: int64(len(data)), Data: data[at:min(at+partSize, len(data))]}
		if _, err := c.insist(ctx, clock, call); err != nil {
			return fmt.Errorf("handing the result over: %w", err)
		}
	}
	return nil
}

// giveUp tells the gatherer that there will be no result. It need not arrive:
// silence tells the same, later.
func (c *caller) giveUp(ctx context.Context, why error) {
	ctx = context.WithoutCancel(ctx)
	call := c.call
	call.Step, call.Reason = wire.LoadFailed, "the load was cancelled"
	if why != nil {
		call.Reason = why.Error()
	}
	_, _ = c.try(ctx, c.clock.again(), call)
}
