package device

import (
	"errors"
	"slices"

	"github.com/fleetune/fleetune/proto/node"
)

// use says who has a device.
type use int

const (
	free use = iota
	leased
	elsewhere  // another process of this host holds its lock
	recovering // locked by us while the runs in its record are swept
)

// A slot is a device and what is known of it.
type slot struct {
	device      node.Device
	locks       []*lockFile
	use         use
	missing     string
	foreign     string
	sightings   int // of foreign processes, in a row
	quarantined string
	fault       string // why the lock file cannot be used
}

// lock takes a device on the host. One that is held elsewhere, or that a dead
// worker has left, goes to the keeper.
func (s *Semaphore) lock(sl *slot) bool {
	recorded := false
	for i, l := range sl.locks {
		locked, has, err := l.tryLock()
		sl.fault = ""
		if err != nil {
			sl.fault = err.Error()
		}
		if !locked {
			for _, l := range sl.locks[:i] {
				l.unlock()
			}
			sl.use = elsewhere
			s.wakeKeeper()
			return false
		}
		recorded = recorded || has
	}
	if recorded {
		sl.use = recovering
		s.wakeKeeper()
		return false
	}
	return true
}

func (sl *slot) unlock() {
	for _, l := range sl.locks {
		l.unlock()
	}
}

func (sl *slot) healthy() bool {
	return sl.quarantined == "" && sl.missing == "" && sl.foreign == ""
}

func (sl *slot) available(need node.Requirements) bool {
	return sl.use == free && sl.healthy() && Matches(sl.device, need)
}

func (sl *slot) report() node.Device {
	d := sl.device
	switch {
	case sl.quarantined != "":
		d.Health, d.Reason = node.Quarantined, sl.quarantined
	case sl.fault != "":
		d.Health, d.Reason = node.Quarantined, sl.fault
	case sl.missing != "":
		d.Health, d.Reason = node.Missing, sl.missing
	case sl.foreign != "":
		d.Health, d.Reason = node.Foreign, sl.foreign
	default:
		d.Health, d.Reason = node.Healthy, ""
	}
	d.Cores = slices.Clone(d.Cores)
	return d
}

// lockAll locks a free device whatever its records say.
func (sl *slot) lockAll() error {
	if sl.use != free && sl.use != elsewhere {
		return ErrBusy
	}
	for i, l := range sl.locks {
		locked, _, err := l.tryLock()
		if locked {
			continue
		}
		for _, l := range sl.locks[:i] {
			l.unlock()
		}
		return errors.Join(ErrBusy, err)
	}
	sl.use = free
	return nil
}

func (sl *slot) recordless() bool {
	for _, f := range sl.locks {
		if st, err := f.file.Stat(); err != nil || st.Size() > 0 {
			return false
		}
	}
	return true
}

// clear removes the device's records.
func (sl *slot) clear() error {
	var errs []error
	for _, f := range sl.locks {
		errs = append(errs, f.clear())
	}
	return errors.Join(errs...)
}
