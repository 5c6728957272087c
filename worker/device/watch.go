package device

import (
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fleetune/fleetune/proto/node"
)

// DefaultWatchInterval is how often devices are looked at.
const DefaultWatchInterval = 5 * time.Second

// Watch keeps the devices' health up to date until ctx ends: it looks for them
// every interval (0 means DefaultWatchInterval). A device that is gone is
// reported missing, one that a foreign process computes on foreign; neither is
// leased until that is over.
func (s *Semaphore) Watch(ctx context.Context, d Discoverer, interval time.Duration) {
	if interval <= 0 {
		interval = DefaultWatchInterval
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		s.Look(ctx, d)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Look is one round of Watch.
func (s *Semaphore) Look(ctx context.Context, d Discoverer) {
	found, err := d.Discover(ctx)
	if ctx.Err() != nil {
		return
	}
	var users map[string][]int
	if lister, ok := d.(UserLister); ok && err == nil {
		// Who uses a device is a help, not a duty: an old driver may not say.
		users, _ = lister.Users(ctx)
	}
	foreign := s.foreigners(users)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	before := s.healths()
	s.enter(found, err)
	s.enterForeign(foreign)
	s.reread()
	if !slices.Equal(before, s.healths()) {
		s.notify()
	}
}

// foreigners leaves only processes that belong to no run.
func (s *Semaphore) foreigners(users map[string][]int) map[string][]int {
	if s.cfg.Tagged == nil {
		return nil
	}
	for id, pids := range users {
		users[id] = slices.DeleteFunc(pids, s.cfg.Tagged)
	}
	return users
}

// healths is what Watch may change of the devices.
func (s *Semaphore) healths() []string {
	all := make([]string, len(s.slots))
	for i, sl := range s.slots {
		d := sl.report()
		all[i] = d.ID + " " + string(d.Health) + " " + d.Reason
	}
	return all
}

// enter compares what was found with what was there.
func (s *Semaphore) enter(found []node.Device, err error) {
	byID := map[string]node.Device{}
	for _, d := range found {
		byID[d.ID] = d
	}
	for _, sl := range s.slots {
		d, there := byID[sl.device.ID]
		delete(byID, sl.device.ID)
		switch {
		case there:
			d.Cores = sl.device.Cores
			sl.device, sl.missing = d, ""
		case err != nil:
			sl.missing = err.Error()
		default:
			sl.missing = "no longer found on the node"
		}
	}
	fresh := slices.DeleteFunc(slices.Clone(found), func(d node.Device) bool { _, left := byID[d.ID]; return !left })
	_ = s.add(fresh) // one that cannot be locked is tried again next time
}

// enterForeign marks devices that a foreign process was seen on twice in a row:
// a driver may list a process for a moment after its end.
func (s *Semaphore) enterForeign(users map[string][]int) {
	for _, sl := range s.slots {
		pids := s.intruders(sl, users[sl.device.ID])
		if len(pids) == 0 {
			sl.sightings, sl.foreign = 0, ""
			continue
		}
		if sl.sightings++; sl.sightings > 1 {
			sl.foreign = "used by process " + joinInts(pids)
		}
	}
}

// intruders leaves out processes that cannot be seen from here (the driver
// counts for the whole host, this worker may live in a container) as long as
// some worker holds the device: they are most likely its run's.
func (s *Semaphore) intruders(sl *slot, pids []int) []int {
	if len(pids) == 0 {
		return nil
	}
	if sl.use == free && s.lock(sl) {
		sl.unlock()
	}
	if sl.use == free {
		return pids
	}
	return slices.DeleteFunc(pids, func(pid int) bool {
		_, err := os.Stat("/proc/" + strconv.Itoa(pid))
		return errors.Is(err, os.ErrNotExist)
	})
}

func joinInts(numbers []int) string {
	text := make([]string, len(numbers))
	for i, n := range numbers {
		text[i] = strconv.Itoa(n)
	}
	return strings.Join(text, ", ")
}

// reread finds out whether an operator has cleared a quarantine through another
// worker of this host.
func (s *Semaphore) reread() {
	for _, sl := range s.slots {
		if sl.quarantined == "" || sl.use != free || sl.lockAll() != nil {
			continue
		}
		if sl.recordless() {
			sl.quarantined = ""
		}
		sl.unlock()
	}
}
