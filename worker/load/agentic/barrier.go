package agentic

import "time"

// blocked says that a session's next turn has to wait for a request that had
// ended, when it was recorded, before this one was sent. Requests that are
// over, and those that will never be sent, hold nobody back.
func (m *Machine) blocked(r Ref) bool {
	waits := m.barriers[r.tree.tree]
	if waits == nil {
		return false
	}
	for _, p := range waits[r.stream][r.tree.sessions[r.stream].next] {
		if m.ahead(r.tree, p.Stream, p.Turn) {
			return true
		}
	}
	return false
}

// ahead says that a turn of a tree is still to return.
func (m *Machine) ahead(t *live, stream, turn int) bool {
	s := t.sessions[stream]
	if s == nil {
		return m.willSpawn(t, stream)
	}
	return s.state != over && s.next <= turn
}

// willSpawn says that a stream which is not live has its spawning turn ahead.
func (m *Machine) willSpawn(t *live, stream int) bool {
	of := &t.tree.Streams[stream]
	if of.Parent < 0 {
		return false
	}
	b := &t.tree.Branches[of.Branch]
	parent := t.sessions[b.Parent]
	if parent == nil {
		return m.willSpawn(t, b.Parent)
	}
	return parent.state != over && parent.next <= b.Spawn && parent.skipped <= b.Spawn
}

// unbar lets go of the sessions of a tree that nothing holds back any more.
func (m *Machine) unbar(t *live, now time.Duration) {
	if m.barriers == nil {
		return
	}
	for i, s := range t.sessions {
		if s == nil || s.state != barred || m.blocked(Ref{t, i}) {
			continue
		}
		m.schedule(Ref{t, i}, max(now, s.ready), now)
	}
}
