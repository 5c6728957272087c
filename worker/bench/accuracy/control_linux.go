package accuracy

import (
	"errors"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fleetune/fleetune/worker/load/metrics"
)

// control is how late the machine itself wakes a thread that sleeps to
// absolute instants a millisecond apart and does nothing else: what no
// generator on it can beat, and how busy it was when the rest was measured.
func control(length time.Duration) (Error, error) {
	done := make(chan struct{})
	var d metrics.Distribution
	var failed error
	go func() {
		defer close(done)
		runtime.LockOSThread() // the slack belongs to the thread, which ends with it
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
		var at, now unix.Timespec
		if failed = unix.ClockGettime(unix.CLOCK_MONOTONIC, &at); failed != nil {
			return
		}
		target := at.Nano()
		for end := target + int64(length); target < end; {
			target += int64(time.Millisecond)
			at = unix.NsecToTimespec(target)
			for {
				err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &at, nil)
				if err == nil {
					break
				}
				if !errors.Is(err, unix.EINTR) {
					failed = err
					return
				}
			}
			if failed = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); failed != nil {
				return
			}
			d.Add(float64(now.Nano()-target) / 1e6)
		}
	}()
	<-done
	if failed != nil || d.Count() == 0 {
		return Error{}, failed
	}
	return Error{d.Percentile(50), d.Percentile(99), d.Percentile(100)}, nil
}
