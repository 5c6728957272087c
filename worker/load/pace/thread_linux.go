package pace

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// threadSleeper sleeps in ppoll on an event descriptor: to the nanosecond,
// with the least timer slack the kernel grants, and wakeable.
type threadSleeper struct{ event int }

func newThreadSleeper() sleeper {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return newTimerSleeper()
	}
	// The slack belongs to the thread, so the pacer stays on it. The thread
	// ends with the goroutine: it is never unlocked.
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // without it, deadlines are 50 µs later
	// It runs for microseconds at a time and must not queue behind what it
	// loads; without the right to, it stays as it is. 0 is this thread.
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -10)
	return &threadSleeper{event: fd}
}

func (s *threadSleeper) sleep(t time.Time, has bool) {
	fds := []unix.PollFd{{Fd: int32(s.event), Events: unix.POLLIN}}
	var timeout *unix.Timespec
	if has {
		left := time.Until(t)
		if left <= 0 {
			return
		}
		ts := unix.NsecToTimespec(int64(left))
		timeout = &ts
	}
	// An interrupted or failed poll returns early, which the loop allows.
	if n, err := unix.Ppoll(fds, timeout, nil); err == nil && n > 0 {
		var count [8]byte
		_, _ = unix.Read(s.event, count[:]) // nonblocking: empties the counter
	}
}

func (s *threadSleeper) wake() {
	one := [8]byte{1} // any non-zero count wakes, in either byte order
	_, _ = unix.Write(s.event, one[:])
}

func (s *threadSleeper) close() { _ = unix.Close(s.event) }
