// Package pace runs callbacks at set instants, for the load generator's
// schedules. Go's own timers are late by about a millisecond, which shows at a
// few hundred requests a second; so on Linux the deadlines are kept by one
// thread of their own, which sleeps in the kernel to the nanosecond and can be
// woken when an earlier deadline arrives.
package pace

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// A Pacer calls functions at instants. The functions run one after another on
// the pacer's own thread, in order of their instants, and must not block.
type Pacer struct {
	mu      sync.Mutex
	queue   deadlines
	serial  uint64
	stopped bool
	sleeper sleeper
	done    chan struct{}
}

// A sleeper blocks until an instant, or until woken from another goroutine.
type sleeper interface {
	// sleep returns at t, or earlier after wake. With has false it waits for
	// wake alone.
	sleep(t time.Time, has bool)
	wake()
	close()
}

// NewThread returns a pacer on an operating-system thread of its own. Where
// the system has no such sleep it falls back to Go timers.
func NewThread() *Pacer { return start(newThreadSleeper) }

// NewTimers returns a pacer on Go timers, which follow the virtual time of a
// synctest bubble.
func NewTimers() *Pacer { return start(newTimerSleeper) }

func start(open func() sleeper) *Pacer {
	p := &Pacer{done: make(chan struct{})}
	ready := make(chan struct{})
	go func() {
		defer close(p.done)
		p.sleeper = open()
		close(ready)
		p.loop()
		p.sleeper.close()
	}()
	<-ready
	return p
}

// At calls f at t, or at once when t has passed. The returned function takes
// the call back; it reports false when f has started or the pacer has stopped.
func (p *Pacer) At(t time.Time, f func()) (cancel func() bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return func() bool { return false }
	}
	p.serial++
	d := &deadline{at: t, serial: p.serial, call: f}
	heap.Push(&p.queue, d)
	if p.queue[0] == d {
		p.sleeper.wake()
	}
	return func() bool { return p.take(d) }
}

// SleepUntil blocks until t, the end of ctx, or the end of the pacer.
func (p *Pacer) SleepUntil(ctx context.Context, t time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !time.Now().Before(t) {
		return nil
	}
	fired := make(chan struct{})
	cancel := p.At(t, func() { close(fired) })
	select {
	case <-fired:
		return nil
	case <-ctx.Done():
		cancel()
		return ctx.Err()
	case <-p.done:
		return context.Canceled
	}
}

// Stop drops every deadline and waits for the pacer's thread to end.
func (p *Pacer) Stop() {
	p.mu.Lock()
	if !p.stopped {
		p.stopped = true
		p.queue = nil
		p.sleeper.wake()
	}
	p.mu.Unlock()
	<-p.done
}

func (p *Pacer) take(d *deadline) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped || d.index < 0 {
		return false
	}
	heap.Remove(&p.queue, d.index)
	return true
}

func (p *Pacer) loop() {
	for {
		due, next, has, stopped := p.due(time.Now())
		if stopped {
			return
		}
		if due != nil {
			due()
			continue
		}
		p.sleeper.sleep(next, has)
	}
}

// due pops the first deadline that has passed, or tells the next one.
func (p *Pacer) due(now time.Time) (call func(), next time.Time, has, stopped bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return nil, time.Time{}, false, true
	}
	if len(p.queue) == 0 {
		return nil, time.Time{}, false, false
	}
	if d := p.queue[0]; !now.Before(d.at) {
		heap.Pop(&p.queue)
		return d.call, time.Time{}, false, false
	}
	return nil, p.queue[0].at, true, false
}

type deadline struct {
	at     time.Time
	serial uint64
	call   func()
	index  int
}

// deadlines is a heap by instant; equal instants keep the order they came in.
type deadlines []*deadline

func (q deadlines) Len() int { return len(q) }
func (q deadlines) Less(i, j int) bool {
	if q[i].at.Equal(q[j].at) {
		return q[i].serial < q[j].serial
	}
	return q[i].at.Before(q[j].at)
}
func (q deadlines) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}
func (q *deadlines) Push(x any) {
	d := x.(*deadline)
	d.index = len(*q)
	*q = append(*q, d)
}
func (q *deadlines) Pop() any {
	old := *q
	d := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	d.index = -1
	return d
}

// timerSleeper sleeps on a Go timer.
type timerSleeper struct{ woken chan struct{} }

func newTimerSleeper() sleeper { return &timerSleeper{woken: make(chan struct{}, 1)} }

func (s *timerSleeper) sleep(t time.Time, has bool) {
	if !has {
		<-s.woken
		return
	}
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.woken:
	}
}

func (s *timerSleeper) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

func (s *timerSleeper) close() {}
