package agentic

import "time"

// pressure is the stage between warm-up and profiling in which the lanes go on
// without delays.
type pressure struct {
	quota  int // requests of a lane; 0 for no bound
	issued map[int]int
	held   bool // no lane sends any more
}

func (p *pressure) admits(lane int) bool {
	return !p.held && (p.quota == 0 || p.issued[lane] < p.quota)
}

// Press begins the pressure stage. Its requests are marked; they count neither
// as profiling's nor towards its ends.
func (m *Machine) Press(now time.Duration, quota int) {
	m.press = &pressure{quota: quota, issued: map[int]int{}}
	for _, t := range m.lanes {
		for i, s := range t.sessions {
			if s != nil && s.state == pending {
				m.due(Ref{t, i}, now, now)
			}
		}
	}
}

// Hold ends the sending of the pressure stage: what is out may return, and
// everything else waits for profiling.
func (m *Machine) Hold() {
	m.press.held = true
	m.hold(func(*timer) bool { return true })
}

// hold takes timers back and leaves their sessions pending.
func (m *Machine) hold(which func(*timer) bool) {
	kept := m.timers[:0]
	for _, t := range m.timers {
		if which(t) {
			t.tree.sessions[t.stream].timer = nil
			continue
		}
		t.index = len(kept)
		kept = append(kept, t)
	}
	m.timers = kept
}

// Rest ends the pressure stage with a snapshot of where the lanes stand:
// profiling starts every stream at the distance from its lane's earliest next
// turn that was recorded.
func (m *Machine) Rest() {
	m.press = nil
	m.hold(func(*timer) bool { return true })
	for lane, t := range m.lanes {
		if t == nil {
			continue
		}
		shot := make([]resume, len(t.sessions))
		least, found := time.Duration(0), false
		for i, s := range t.sessions {
			if s == nil || s.state == over {
				continue
			}
			if s.state == barred {
				s.state = pending // it is looked at again at the start
			}
			shot[i] = resume{live: true, began: true, next: s.next}
			if t.tree.Timed {
				shot[i].offset = t.tree.Streams[i].Starts[s.next]
			}
			if s.state == pending && (!found || shot[i].offset < least) {
				least, found = shot[i].offset, true
			}
		}
		for i := range shot {
			shot[i].offset = max(0, shot[i].offset-least)
		}
		m.shots[lane] = shot
	}
}
