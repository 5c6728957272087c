//go:build !linux

package pace

func newThreadSleeper() sleeper { return newTimerSleeper() }
