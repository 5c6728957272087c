package agentic

import (
	"container/heap"
	"time"
)

// landed takes a request in that is out no more.
func (m *Machine) landed(t *live, now time.Duration) {
	m.inFlight--
	if t.inFlight--; t.inFlight == 0 {
		t.idleSince = now
	}
}

// skipIdle moves all timers together when nothing happens for too long.
func (m *Machine) skipIdle(now time.Duration) {
	if m.cfg.IdleCap <= 0 || m.press != nil || m.inFlight > 0 || len(m.timers) == 0 {
		return
	}
	jump := m.timers[0].at - now - m.cfg.IdleCap
	if jump <= 0 {
		return
	}
	for _, t := range m.timers { // equal moves keep the heap in order
		t.at -= jump
	}
	m.Counters.IdleJumps++
	m.Counters.IdleSkipped += jump
}

// capIdle moves all that a tree waits for together when nothing of it is in
// flight for too long. Nothing but its own requests changes what a tree waits
// for, so it is looked at when one of them has ended, and when it begins.
func (m *Machine) capIdle(t *live) {
	if m.cfg.TreeIdleCap <= 0 || m.press != nil || t.inFlight > 0 {
		return
	}
	var first *timer
	for _, s := range t.sessions {
		if s != nil && s.timer != nil && (first == nil || s.timer.at < first.at) {
			first = s.timer
		}
	}
	if first == nil {
		return
	}
	jump := first.at - t.idleSince - m.cfg.TreeIdleCap
	if jump <= 0 {
		return
	}
	for _, s := range t.sessions {
		if s == nil {
			continue
		}
		s.ready -= jump // of those that wait for others, too
		if s.timer != nil {
			s.timer.at -= jump
			heap.Fix(&m.timers, s.timer.index)
		}
	}
	m.Counters.TreeIdleJumps++
	m.Counters.TreeIdleSkipped += jump
}
