//go:build !linux

package mockopenai

import "time"

// Clocks reads this process's clock; no monotonic clock is shared here.
func Clocks() (now time.Time, monotonic int64) { return time.Now(), 0 }
