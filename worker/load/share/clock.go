package share

import "time"

// A clock is this process's time as a steady count, and what it knows of the
// gatherer's. The wall clock is read once: a step of it in the middle of a
// load would move requests in time.
type clock struct {
	anchor time.Time
	probes int
	// The fastest exchange so far.
	offset, rtt time.Duration
}

func newClock() *clock { return &clock{anchor: time.Now()} }

// at is an instant on the steady count, in ns since 1970.
func (c *clock) at(t time.Time) int64 { return c.anchor.UnixNano() + int64(t.Sub(c.anchor)) }

// time is the instant at which the gatherer's clock shows now.
func (c *clock) time(now int64) time.Time {
	return c.anchor.Add(time.Duration(now-c.anchor.UnixNano()) - c.offset)
}

// probe takes an exchange in: sent and answered here, now on the gatherer's
// clock in between. The gatherer answered somewhere on the way, so the middle
// is off by at most half of it; the fastest exchange says most (Cristian,
// "Probabilistic clock synchronization", 1989).
func (c *clock) probe(sent, answered time.Time, now int64) {
	rtt := answered.Sub(sent)
	if c.probes++; c.probes == 1 || rtt < c.rtt {
		c.rtt, c.offset = rtt, time.Duration(now-c.at(sent))-rtt/2
	}
}

// bound is the most that the offset is off by.
func (c *clock) bound() time.Duration { return (c.rtt + 1) / 2 }

// again is a clock of the same steady count that has to learn the offset anew.
func (c *clock) again() *clock { return &clock{anchor: c.anchor} }
