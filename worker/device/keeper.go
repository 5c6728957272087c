package device

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// lookAgain is how often a device that another process holds is looked at. The
// kernel does not say when a lock is given up.
const lookAgain = 20 * time.Millisecond

// keep looks after devices that are held elsewhere or were left by dead
// workers, until ctx ends.
func (s *Semaphore) keep(ctx context.Context) {
	defer close(s.done)
	for {
		s.recover(ctx)
		var again <-chan time.Time
		if s.anyElsewhere() {
			// Some jitter, lest two workers after the same devices march in step.
			again = time.After(lookAgain/2 + rand.N(lookAgain))
		}
		select {
		case <-ctx.Done():
			return
		case <-s.work:
		case <-again:
			s.lookElsewhere()
		}
	}
}

func (s *Semaphore) anyElsewhere() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.slots, func(sl *slot) bool { return sl.use == elsewhere })
}

// lookElsewhere frees the devices whose locks have been given up.
func (s *Semaphore) lookElsewhere() {
	s.mu.Lock()
	defer s.mu.Unlock()
	freed := false
	for _, sl := range s.slots {
		if sl.use == elsewhere && s.lock(sl) {
			sl.unlock()
			sl.use = free
			freed = true
		}
	}
	if freed {
		s.notify()
	}
}

// probe finds the records that dead workers left.
func (s *Semaphore) probe() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sl := range s.slots {
		if sl.use == free && sl.quarantined == "" && s.lock(sl) {
			sl.unlock()
		}
	}
}

// recover proves dead what the records of dead workers name.
func (s *Semaphore) recover(ctx context.Context) {
	for ctx.Err() == nil {
		s.mu.Lock()
		i := slices.IndexFunc(s.slots, func(sl *slot) bool { return sl.use == recovering })
		if i < 0 {
			s.mu.Unlock()
			return
		}
		sl := s.slots[i]
		s.mu.Unlock()

		// The slot is ours while it is recovering: nobody else touches its locks.
		reason, kept := s.settle(ctx, sl)
		if ctx.Err() != nil {
			return // closing: the record stays for the next worker
		}
		s.mu.Lock()
		sl.quarantined = reason
		if reason != "" && !kept {
			for _, f := range sl.locks {
				_ = f.write(record{Owner: s.cfg.Owner, Since: time.Now().UTC(), Quarantined: reason})
			}
		}
		sl.unlock()
		sl.use = free
		s.notify()
		s.mu.Unlock()
	}
}

// settle sweeps the runs named in a device's records. It returns why the device
// must be quarantined, and whether its records already say so.
func (s *Semaphore) settle(ctx context.Context, sl *slot) (reason string, kept bool) {
	var tags []string
	for _, f := range sl.locks {
		st, err := f.file.Stat()
		if err == nil && st.Size() == 0 {
			continue
		}
		r, err := f.read()
		if err != nil {
			return err.Error(), false
		}
		if r.Quarantined != "" {
			return r.Quarantined, true
		}
		tags = append(tags, r.Tags...)
	}
	if s.cfg.Sweep == nil {
		return "left by a dead worker", false
	}
	if err := s.cfg.Sweep(ctx, tags...); err != nil {
		return fmt.Sprintf("left by a dead worker: %v", err), false
	}
	if err := sl.clear(); err != nil {
		return err.Error(), false
	}
	return "", false
}
