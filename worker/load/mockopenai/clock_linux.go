package mockopenai

import (
	"time"

	"golang.org/x/sys/unix"
)

// Clocks reads this process's clock and the machine's monotonic one together.
func Clocks() (now time.Time, monotonic int64) {
	var ts unix.Timespec
	now = time.Now()
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return now, 0
	}
	return now, ts.Nano()
}
