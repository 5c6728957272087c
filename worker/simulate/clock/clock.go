// Package clock runs the simulated engine's steps by the clock on the wall: one
// loop for all data parallel ranks and all requests. A step begins, the loop
// waits as long as the step takes, and the tokens of the step are handed over.
// Where the machine is too slow to keep up, simulated time falls behind, and
// the loop says by how much.
package clock

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/fleetune/fleetune/worker/simulate/batching"
)

// ErrStopped says that the engine has ended.
var ErrStopped = errors.New("the engine has ended")

// catchUp is how far behind a step may begin to make up for what timers and
// hand-overs took.
const catchUp = 20 * time.Millisecond

// jitter is the standard deviation of a step's time, as a share of it.
const jitter = 0.01

// A Loop owns the ranks. Its methods may be called from many goroutines while
// Run runs.
type Loop struct {
	speed float64
	wake  chan struct{}
	ended chan struct{}

	mu    sync.Mutex
	inbox []func()
	over  bool

	// Of the loop alone.
	ranks  []*rank
	random *rand.Rand
	behind time.Duration
}

// rank is a scheduler and the step that it is in.
type rank struct {
	*batching.Rank
	replies map[*batching.Sequence]*Reply
	busy    bool
	end     time.Time
}

// A Reply comes token by token. Ready is signalled when there is more to Read.
type Reply struct {
	Ready chan struct{}

	mu     sync.Mutex
	tokens []uint32
	cached int
	over   bool
}

// Read returns the tokens that came since so many, how many of the prompt were
// cached, and whether that was the last.
func (r *Reply) Read(since int) (tokens []uint32, cached int, over bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.tokens[since:]), r.cached, r.over
}

func (r *Reply) put(tokens []uint32, cached int, over bool) {
	r.mu.Lock()
	r.tokens = append(r.tokens, tokens[len(r.tokens):]...)
	r.cached, r.over = cached, over
	r.mu.Unlock()
	select {
	case r.Ready <- struct{}{}:
	default: // told already
	}
}

// New makes a loop. Above 1, speed lets simulated time pass faster than the
// clock; seed decides the jitter of steps.
func New(ranks []*batching.Rank, speed float64, seed uint64) *Loop {
	l := &Loop{speed: speed, wake: make(chan struct{}, 1), ended: make(chan struct{}), random: rand.New(rand.NewPCG(seed, 0))}
	for _, r := range ranks {
		l.ranks = append(l.ranks, &rank{Rank: r, replies: map[*batching.Sequence]*Reply{}})
	}
	return l
}

// Run steps until ctx ends, which is no error, or a step fails.
func (l *Loop) Run(ctx context.Context) error {
	defer l.end()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		l.handle()
		now := time.Now()
		next, err := l.turn(now)
		if err != nil {
			return err
		}
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
		case <-timer.C:
		}
	}
}

// end lets everybody who waits for the loop go.
func (l *Loop) end() {
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	close(l.ended)
}

// handle does what was asked since the last turn.
func (l *Loop) handle() {
	l.mu.Lock()
	inbox := l.inbox
	l.inbox = nil
	l.mu.Unlock()
	for _, do := range inbox {
		do()
	}
}

// turn ends the steps that are over and begins the next ones; it tells when to
// look again, zero for when something is asked.
func (l *Loop) turn(now time.Time) (next time.Time, err error) {
	for _, r := range l.ranks {
		from := now
		if r.busy {
			if r.end.After(now) {
				next = earlier(next, r.end)
				continue
			}
			if late := now.Sub(r.end); late < catchUp {
				from = r.end
			} else {
				l.behind += late
			}
			r.deliver()
		}
		seconds, err := r.Begin()
		if err != nil {
			return time.Time{}, err
		}
		if r.busy = seconds > 0; r.busy {
			r.end = from.Add(l.span(seconds))
			next = earlier(next, r.end)
		}
	}
	return next, nil
}

// span is the clock's time of a step.
func (l *Loop) span(seconds float64) time.Duration {
	seconds *= math.Exp(jitter * l.random.NormFloat64())
	return time.Duration(seconds / l.speed * float64(time.Second))
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// deliver ends the step and hands over its tokens.
func (r *rank) deliver() {
	for _, s := range r.End() {
		r.replies[s].put(s.Reply(), s.Cached, s.Done())
		if s.Done() {
			delete(r.replies, s)
		}
	}
}

// ask has the loop do something, and waits until it is done.
func (l *Loop) ask(do func()) error {
	done := make(chan struct{})
	l.mu.Lock()
	if l.over {
		l.mu.Unlock()
		return ErrStopped
	}
	l.inbox = append(l.inbox, func() {
		do()
		close(done)
	})
	l.mu.Unlock()
	l.rouse()
	select {
	case <-done:
		return nil
	case <-l.ended:
		return ErrStopped
	}
}

func (l *Loop) rouse() {
	select {
	case l.wake <- struct{}{}:
	default: // awake already
	}
}

// Ended is closed when the loop has ended: no reply gets more.
func (l *Loop) Ended() <-chan struct{} { return l.ended }

// Ask starts a request on the rank with the least to do. Drop must be called
// once the reply is of no more use; it may be called after its end.
func (l *Loop) Ask(q batching.Request) (reply *Reply, drop func(), err error) {
	reply = &Reply{Ready: make(chan struct{}, 1)}
	var at *rank
	var s *batching.Sequence
	asked := l.ask(func() {
		at = l.idlest()
		if s, err = at.Add(q); err == nil {
			at.replies[s] = reply
		}
	})
	if asked != nil {
		return nil, nil, asked
	}
	if err != nil {
		return nil, nil, err
	}
	return reply, func() {
		if _, _, over := reply.Read(0); over {
			return
		}
		_ = l.ask(func() { // an ended loop has forgotten the sequence already
			at.Abort(s)
			delete(at.replies, s)
		})
	}, nil
}

// idlest is where the fewest wait, and then the fewest run: waiting weighs more
// because it says that a rank is full.
func (l *Loop) idlest() *rank {
	return slices.MinFunc(l.ranks, func(a, b *rank) int { return 4*a.Waiting() + a.Running() - 4*b.Waiting() - b.Running() })
}

// Flush forgets what is cached; false when sequences still use some of it.
func (l *Loop) Flush() (all bool, err error) {
	all = true
	err = l.ask(func() {
		for _, r := range l.ranks {
			all = r.Flush() && all
		}
	})
	return all, err
}

// A State is what the ranks are doing, summed up.
type State struct {
	Running, Waiting int
	// Usage is the largest share of a cache in use.
	Usage        float64
	Queried, Hit int64
	batching.Statistics
	// Behind is the time that this machine lost against the simulation.
	Behind time.Duration
}

// State tells what goes on.
func (l *Loop) State() (State, error) {
	var out State
	err := l.ask(func() {
		for _, r := range l.ranks {
			out.Running += r.Running()
			out.Waiting += r.Waiting()
			out.Usage = max(out.Usage, r.Usage())
			queried, hit := r.CacheQueries()
			out.Queried += queried
			out.Hit += hit
			out.Add(r.Statistics())
		}
		out.Behind = l.behind
	})
	return out, err
}
