package device

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/fleetune/fleetune/proto/node"
)

// Config of a Semaphore.
type Config struct {
	// LockFolder holds the lock files; empty means DefaultLockFolder.
	LockFolder string
	// Owner is the worker's name, for the record in a lock file.
	Owner string
	// Sweep kills the processes of dead runs and proves it, as
	// process.Runner.Sweep does. Without it, every device that a dead worker
	// left behind is quarantined.
	Sweep func(ctx context.Context, tags ...string) error
	// Tagged says whether a process belongs to a run of some worker, as
	// process.Tagged does. Without it, no device is reported as used by a
	// foreign process.
	Tagged func(pid int) bool
}

// A Semaphore hands each device of the node to one lease at a time. Waiters
// are served in the order they came; a device that the first one waits for is
// not given to a later one. Its methods may be called from many goroutines.
type Semaphore struct {
	cfg  Config
	stop context.CancelFunc
	work chan struct{} // wakes the keeper
	done chan struct{} // closed when the keeper has ended

	mu      sync.Mutex
	slots   []*slot // by vendor, then index
	waiters []*waiter
	hold    int
	changed chan struct{} // nil when nobody asked
	closed  bool
}

type waiter struct {
	need  node.Requirements
	lease chan *Lease // buffered
}

// NewSemaphore opens the lock files of the devices and looks after what dead
// workers left behind: a device with such a record becomes free when its
// processes are proven dead. Close ends it.
func NewSemaphore(devices []node.Device, cfg Config) (*Semaphore, error) {
	if cfg.LockFolder == "" {
		dir, err := DefaultLockFolder()
		if err != nil {
			return nil, err
		}
		cfg.LockFolder = dir
	} else if err := makeLockFolder(cfg.LockFolder); err != nil {
		return nil, fmt.Errorf("making the folder of device locks: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Semaphore{cfg: cfg, stop: stop, work: make(chan struct{}, 1), done: make(chan struct{})}
	if err := s.add(devices); err != nil {
		stop()
		s.closeLocks()
		return nil, err
	}
	s.probe()
	go s.keep(ctx)
	return s, nil
}

func (s *Semaphore) add(devices []node.Device) error {
	for _, d := range devices {
		sl := &slot{device: d}
		for _, key := range lockKeys(d) {
			l, err := openLockFile(s.cfg.LockFolder, key)
			if err != nil {
				return fmt.Errorf("device %s: %w", d.ID, err)
			}
			sl.locks = append(sl.locks, l)
		}
		s.slots = append(s.slots, sl)
	}
	slices.SortStableFunc(s.slots, func(a, b *slot) int {
		return cmp.Or(cmp.Compare(a.device.Vendor, b.device.Vendor), cmp.Compare(a.device.Index, b.device.Index))
	})
	return nil
}

// Acquire waits for devices. The error is ErrUnsatisfiable, ErrClosed or that
// of the context. A count below 1 counts as 1.
func (s *Semaphore) Acquire(ctx context.Context, need node.Requirements) (*Lease, error) {
	w, l, err := s.enqueue(need)
	if w == nil {
		return l, err
	}
	select {
	case l := <-w.lease:
		if l == nil {
			return nil, ErrClosed
		}
		return l, nil
	case <-ctx.Done():
		s.abandon(w)
		return nil, context.Cause(ctx)
	}
}

// enqueue returns a lease if one is free, or a waiter.
func (s *Semaphore) enqueue(need node.Requirements) (*waiter, *Lease, error) {
	need.Devices = max(1, need.Devices)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, ErrClosed
	}
	if s.known(need) < need.Devices {
		return nil, nil, fmt.Errorf("%w: %d of accelerator %q", ErrUnsatisfiable, need.Devices, need.Accelerator)
	}
	if l := s.take(need, s.reserved()); l != nil {
		return nil, l, nil
	}
	w := &waiter{need: need, lease: make(chan *Lease, 1)}
	s.waiters = append(s.waiters, w)
	return w, nil, nil
}

func (s *Semaphore) abandon(w *waiter) {
	s.mu.Lock()
	if i := slices.Index(s.waiters, w); i >= 0 {
		s.waiters = slices.Delete(s.waiters, i, i+1)
		s.dispatch()
	}
	s.mu.Unlock()
	select {
	case l := <-w.lease: // it was served at the same moment
		if l != nil {
			l.Release()
		}
	default:
	}
}

// TryAcquire returns as many leases of need as are free now, at most n. It does
// not overtake those who wait.
func (s *Semaphore) TryAcquire(need node.Requirements, n int) []*Lease {
	need.Devices = max(1, need.Devices)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	var leases []*Lease
	reserved := s.reserved()
	for len(leases) < n {
		l := s.take(need, reserved)
		if l == nil {
			break
		}
		leases = append(leases, l)
	}
	return leases
}

// Changed returns a channel that is closed when more may be free than before,
// or a device's health changes. Ask for it before looking, wait on it after.
func (s *Semaphore) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

// Hold keeps devices for requests of at least that many: smaller ones get nothing
// until Hold is called with less. Below 2 it holds nothing back.
func (s *Semaphore) Hold(least int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold != least {
		s.hold = least
		s.notify()
	}
}

// Devices returns every device the node has or had, with its health.
func (s *Semaphore) Devices() []node.Device {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]node.Device, len(s.slots))
	for i, sl := range s.slots {
		all[i] = sl.report()
	}
	return all
}

// Close gives up every lock and fails those who wait. A lease that is still
// held keeps its record, so that the next worker proves its processes dead.
func (s *Semaphore) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	for _, w := range s.waiters {
		w.lease <- nil
	}
	s.waiters = nil
	s.mu.Unlock()
	s.stop()
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeLocks()
	return nil
}

func (s *Semaphore) closeLocks() {
	for _, sl := range s.slots {
		for _, l := range sl.locks {
			l.close()
		}
	}
}

// The methods below are called with the mutex held.

// known counts the devices of a kind, whatever their state.
func (s *Semaphore) known(need node.Requirements) int {
	n := 0
	for _, sl := range s.slots {
		if Matches(sl.device, need) {
			n++
		}
	}
	return n
}

// notify serves the waiters and wakes those who watch.
func (s *Semaphore) notify() {
	s.dispatch()
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// dispatch serves the waiters in order.
func (s *Semaphore) dispatch() {
	reserved := map[*slot]bool{}
	waiting := s.waiters[:0]
	for _, w := range s.waiters {
		if l := s.take(w.need, reserved); l != nil {
			w.lease <- l
			continue
		}
		s.reserve(w, reserved)
		waiting = append(waiting, w)
	}
	clear(s.waiters[len(waiting):])
	s.waiters = waiting
}

// reserved returns the free devices that waiters came first for.
func (s *Semaphore) reserved() map[*slot]bool {
	if len(s.waiters) == 0 {
		return nil
	}
	reserved := map[*slot]bool{}
	for _, w := range s.waiters {
		s.reserve(w, reserved)
	}
	return reserved
}

// reserve keeps the free devices that a waiter can use from those behind it,
// unless it waits for something that devices being freed cannot give it: a
// hold to end, or a device to recover.
func (s *Semaphore) reserve(w *waiter, reserved map[*slot]bool) {
	if w.need.Devices < s.hold {
		return
	}
	var usable []*slot
	count := 0
	for _, sl := range s.slots {
		if !sl.healthy() || !Matches(sl.device, w.need) || reserved[sl] {
			continue
		}
		count++
		if sl.use == free {
			usable = append(usable, sl)
		}
	}
	if count < w.need.Devices {
		return
	}
	for _, sl := range usable {
		reserved[sl] = true
	}
}

// take locks the devices of one lease, lowest first, or none. It stops as soon
// as too few are left to try, so that of two workers after the same devices
// one gets them all.
func (s *Semaphore) take(need node.Requirements, reserved map[*slot]bool) *Lease {
	if need.Devices < s.hold {
		return nil
	}
	left := 1 // enough to try, where one device is enough
	if need.Devices > 1 {
		left = s.count(need, reserved)
	}
	var got []*slot
	for _, sl := range s.slots {
		if len(got)+left < need.Devices || len(got) == need.Devices {
			break
		}
		if !sl.available(need) || reserved[sl] {
			continue
		}
		if need.Devices > 1 {
			left--
		}
		if s.lock(sl) {
			got = append(got, sl)
		}
	}
	if len(got) < need.Devices {
		for _, sl := range got {
			sl.unlock()
		}
		return nil
	}
	for _, sl := range got {
		sl.use = leased
	}
	return &Lease{sem: s, slots: got}
}

func (s *Semaphore) wakeKeeper() {
	select {
	case s.work <- struct{}{}:
	default:
	}
}

// count is how many devices are free for a need.
func (s *Semaphore) count(need node.Requirements, reserved map[*slot]bool) int {
	n := 0
	for _, sl := range s.slots {
		if sl.available(need) && !reserved[sl] {
			n++
		}
	}
	return n
}
