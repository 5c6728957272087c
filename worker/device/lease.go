package device

import (
	"cmp"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/fleetune/fleetune/proto/node"
)

// A Lease is one attempt's hold on its devices.
type Lease struct {
	sem   *Semaphore
	slots []*slot

	mu       sync.Mutex
	tags     []string
	released bool
}

// Devices returns the devices held.
func (l *Lease) Devices() []node.Device {
	l.sem.mu.Lock()
	defer l.sem.mu.Unlock()
	held := make([]node.Device, len(l.slots))
	for i, sl := range l.slots {
		held[i] = sl.report()
	}
	return held
}

// IDs returns the IDs of the devices held.
func (l *Lease) IDs() []string {
	ids := make([]string, len(l.slots))
	for i, sl := range l.slots {
		ids[i] = sl.device.ID
	}
	return ids
}

// Bind records that a run is about to use the devices. Call it before the run
// is started; if this worker dies, the next one finds the run by it. A lease
// may be bound to several runs, one after the other.
func (l *Lease) Bind(tag string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.released {
		return ErrReleased
	}
	if slices.Contains(l.tags, tag) {
		return nil
	}
	l.tags = append(l.tags, tag)
	return l.record("")
}

// record writes the lease's record into every lock file.
func (l *Lease) record(quarantined string) error {
	r := record{Owner: l.sem.cfg.Owner, PID: os.Getpid(), Tags: l.tags, Since: time.Now().UTC(), Quarantined: quarantined}
	var errs []error
	for _, sl := range l.slots {
		for _, f := range sl.locks {
			errs = append(errs, f.write(r))
		}
	}
	return errors.Join(errs...)
}

// Release gives the devices back. Call it only when every process of the runs
// bound to the lease is proven dead. Releasing twice is harmless.
func (l *Lease) Release() {
	l.end("", (*Semaphore).notify)
}

// Return gives devices back that were taken and not used. Waiters are served,
// but nobody who watches is woken: no more is free than before they were taken.
func (l *Lease) Return() {
	l.end("", (*Semaphore).dispatch)
}

// Quarantine gives the devices up without freeing them: no worker of this host
// uses them again before an operator clears them.
func (l *Lease) Quarantine(reason string) {
	l.end(cmp.Or(reason, "quarantined"), (*Semaphore).notify)
}

func (l *Lease) end(quarantined string, tell func(*Semaphore)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.released {
		return
	}
	l.released = true
	s := l.sem
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return // the locks are gone, the records stay
	}
	if quarantined != "" {
		if err := l.record(quarantined); err != nil {
			quarantined += " (" + err.Error() + ")"
		}
	}
	for _, sl := range l.slots {
		sl.quarantined = quarantined
		if quarantined == "" && len(l.tags) > 0 {
			if err := sl.clear(); err != nil {
				sl.quarantined = err.Error()
			}
		}
		sl.unlock()
		sl.use = free
	}
	tell(s)
}
