package drive

import (
	"context"
	"sync"
)

// slots is a semaphore whose limit may change. Lowering the limit takes free
// slots first and records the rest as debt, which releases pay off.
type slots struct {
	mu      sync.Mutex
	limit   int // 0 or less: no limit
	held    int
	waiting []chan struct{}
}

func newSlots(limit int) *slots { return &slots{limit: limit} }

// setLimit changes the limit and lets waiters in if it grew.
func (s *slots) setLimit(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = n
	s.admit()
}

func (s *slots) free() bool { return s.limit <= 0 || s.held < s.limit }

func (s *slots) admit() {
	for len(s.waiting) > 0 && s.free() {
		s.held++
		close(s.waiting[0])
		s.waiting = s.waiting[1:]
	}
}

// try takes a slot if one is free.
func (s *slots) try() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) > 0 || !s.free() {
		return false
	}
	s.held++
	return true
}

// acquire waits for a slot; waiters are served in order.
func (s *slots) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if len(s.waiting) == 0 && s.free() {
		s.held++
		s.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	s.waiting = append(s.waiting, turn)
	s.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, w := range s.waiting {
		if w == turn {
			s.waiting = append(s.waiting[:i], s.waiting[i+1:]...)
			return ctx.Err()
		}
	}
	// The slot came as the context ended: give it back.
	s.held--
	s.admit()
	return ctx.Err()
}

// release gives a slot back.
func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held--
	s.admit()
}
