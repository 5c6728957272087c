package drive

import (
	"fmt"
	"sync"
	"time"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/pace"
)

// aheadOf opens sessions before they are needed and writes their first
// request, so that a schedule does not wait for either. What is left over is
// closed at the end of the phase.
func (r *phase) aheadOf(next func() *conversation.Conversation) <-chan opened {
	const ahead = 64
	out := make(chan opened, ahead)
	quit := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		defer close(out)
		for {
			c := next()
			if c == nil {
				return
			}
			s, err := r.begin(c)
			if err != nil {
				r.fail(err)
				return
			}
			s.Prepare(0)
			select {
			case out <- opened{s, c}:
			case <-quit:
				s.Close()
				return
			}
		}
	})
	r.cleanup = func() {
		close(quit)
		for o := range out {
			o.session.Close()
		}
		done.Wait()
	}
	return out
}

func (r *phase) begin(c *conversation.Conversation) (Session, error) {
	if len(c.Turns) == 0 {
		return nil, fmt.Errorf("conversation %q has no turns", c.ID)
	}
	s, err := r.Open(r.Name, c)
	if err != nil {
		return nil, fmt.Errorf("opening a session of %q: %w", c.ID, err)
	}
	return s, nil
}

// closed keeps every slot filled with a session. A slot's goroutine plays one
// session after another: starting one costs a stack that has to grow anew.
func (r *phase) closed(source conversation.Source) error {
	for {
		if r.live.acquire(r.issue) != nil {
			return nil //nolint:nilerr // no more is issued: the end, not a failure
		}
		if !r.session() {
			r.live.release()
			return nil
		}
		r.work.Go(func() {
			defer r.live.release()
			for {
				r.playNext(source)
				if !r.session() {
					return
				}
			}
		})
	}
}

// playNext plays the source's next conversation.
func (r *phase) playNext(source conversation.Source) {
	var c *conversation.Conversation
	permit, ok := r.permit(func() { c = source.Next() })
	if !ok {
		r.settle()
		return
	}
	defer permit.release()
	s, err := r.begin(c)
	if err != nil {
		r.settle()
		r.fail(err)
		return
	}
	p := r.player(opened{s, c}, len(c.Turns))
	defer p.end()
	if p.sendWith(permit, 0, time.Time{}) {
		p.playOn(c)
	}
}

// playOn plays the later turns of a session, each after its recorded delay.
func (p *player) playOn(c *conversation.Conversation) {
	for turn := 1; turn < len(c.Turns); turn++ {
		var scheduled time.Time
		if d := c.Turns[turn].Delay; d > 0 {
			scheduled = time.Now().Add(d)
			if p.Pacer.SleepUntil(p.issue, scheduled) != nil {
				return
			}
		}
		if !p.send(turn, scheduled) {
			return
		}
	}
}

// continuations are the live sessions of an open loop whose next turn waits
// for a tick.
type continuations struct {
	mu    sync.Mutex
	ready []chan time.Time
}

func (q *continuations) push() chan time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := make(chan time.Time, 1)
	q.ready = append(q.ready, c)
	return c
}

// pop gives the tick to the session that has waited longest.
func (q *continuations) pop(at time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.ready) == 0 {
		return false
	}
	q.ready[0] <- at
	q.ready = q.ready[1:]
	return true
}

// open issues a request at every tick of the plan: a waiting turn first, else
// a new session if there is a slot for it.
func (r *phase) open(source conversation.Source, begin time.Time) error {
	if r.Shape.arrival() == pace.Burst {
		return r.closed(source)
	}
	gaps, err := pace.NewGaps(r.Shape.arrival(), r.Shape.Smoothness, conversation.Seed(r.Seed, "arrivals", string(r.Name)))
	if err != nil {
		return err
	}
	ahead := r.aheadOf(source.Next)
	waiting := &continuations{}
	plan := pace.NewPlan(begin)
	over := make(chan struct{})
	var tick func()
	tick = func() {
		now := time.Now()
		at := plan.Target()
		if r.issue.Err() != nil || !r.tick(at, ahead, waiting) {
			close(over)
			return
		}
		plan.Advance(now, r.gap(gaps, now.Sub(begin)))
		r.Pacer.At(plan.Target(), tick)
	}
	cancel := r.Pacer.At(begin, tick)
	select {
	case <-over:
	case <-r.issue.Done():
		// The tick that waits sees the end when it comes; it is rather taken
		// back, and if it is running it ends by itself.
		cancel()
		r.flush(over)
	}
	r.report.Lost, r.report.Resets = plan.Lost, plan.Resets
	return nil
}

// flush waits until the chain of ticks has ended.
func (r *phase) flush(over <-chan struct{}) {
	// A tick scheduled before the stop may be a long gap away, and only it
	// touches the plan; a marker on the pacer's thread orders us after any
	// tick that runs now.
	passed := make(chan struct{})
	r.Pacer.At(time.Now(), func() { close(passed) })
	select {
	case <-passed:
	case <-over:
	}
}

// tick issues one request; it reports false when the load is over. It runs on
// the pacer's thread and never waits.
func (r *phase) tick(at time.Time, ahead <-chan opened, waiting *continuations) bool {
	if waiting.pop(at) {
		return true
	}
	if !r.live.try() {
		r.skipped.Add(1)
		return true
	}
	if !r.session() {
		r.live.release()
		// The sessions that live still need ticks for their turns.
		return r.live.busy()
	}
	r.work.Go(func() {
		defer r.live.release()
		o, ok := <-ahead
		if !ok {
			r.settle()
			return
		}
		p := r.player(o, len(o.conv.Turns))
		defer p.end()
		p.playTicked(o.conv, at, waiting)
	})
	return true
}

func (p *player) playTicked(c *conversation.Conversation, scheduled time.Time, waiting *continuations) {
	for turn := range c.Turns {
		if turn > 0 {
			if d := c.Turns[turn].Delay; d > 0 && p.Pacer.SleepUntil(p.issue, time.Now().Add(d)) != nil {
				return
			}
			select {
			case scheduled = <-waiting.push():
			case <-p.issue.Done():
				return
			}
		}
		if !p.send(turn, scheduled) {
			return
		}
	}
}

// busy reports whether any slot is held.
func (s *slots) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held > 0
}
