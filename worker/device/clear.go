package device

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fleetune/fleetune/proto/node"
)

// Another worker of the host holds an unused device only while it looks at the
// record.
const (
	clearTries = 10
	clearPause = 20 * time.Millisecond
)

// ClearQuarantine ends the quarantine of one of this host's devices from
// outside its workers, which notice when they next look at their devices. It
// is the operator's word that nothing uses the device any more. An empty
// folder means DefaultLockFolder. The error is ErrNotQuarantined, ErrBusy, or
// that of the context or the lock file.
func ClearQuarantine(ctx context.Context, folder string, d node.Device) error {
	if folder == "" {
		var err error
		if folder, err = DefaultLockFolder(); err != nil {
			return err
		}
	}
	s := &Semaphore{cfg: Config{LockFolder: folder}}
	defer s.closeLocks()
	if err := s.add([]node.Device{d}); err != nil {
		return err
	}
	sl := s.slots[0]
	if err := sl.lockSoon(ctx); err != nil {
		return fmt.Errorf("clearing device %s: %w", d.ID, err)
	}
	defer sl.unlock()
	if !sl.quarantineRecorded() {
		return fmt.Errorf("device %s: %w", d.ID, ErrNotQuarantined)
	}
	if err := sl.clear(); err != nil {
		return fmt.Errorf("clearing device %s: %w", d.ID, err)
	}
	return nil
}

// lockSoon locks a device that is not in use.
func (sl *slot) lockSoon(ctx context.Context) error {
	for try := 1; ; try++ {
		err := sl.lockAll()
		if err == nil || try == clearTries || !errors.Is(err, ErrBusy) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(clearPause):
		}
	}
}

// quarantineRecorded says whether a record keeps the device from being used. A
// record that names runs and no quarantine is for the next worker, which proves
// them dead; one that cannot be read quarantines.
func (sl *slot) quarantineRecorded() bool {
	for _, f := range sl.locks {
		if st, err := f.file.Stat(); err == nil && st.Size() == 0 {
			continue
		}
		if r, err := f.read(); err != nil || r.Quarantined != "" {
			return true
		}
	}
	return false
}
