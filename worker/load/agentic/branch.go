package agentic

import (
	"time"

	"github.com/fleetune/fleetune/worker/load/tree"
)

// A gate holds a turn back until every branch that joins there is done. All
// its branches are keys from the start, so that it cannot open before one of
// them has even spawned.
type gate struct {
	branches map[int]*prerequisite
}

type prerequisite struct {
	registered          bool
	expected, completed int
}

func (p *prerequisite) done() bool { return p.registered && p.completed >= p.expected }

func (g *gate) open() bool {
	for _, p := range g.branches {
		if !p.done() {
			return false
		}
	}
	return true
}

// gatesOf builds the gates of a stream that goes on at a snapshot: a branch
// spawned before waits for its live children only, one to be spawned later
// keeps its gate shut until then.
func (m *Machine) gatesOf(t *live, stream int, shot []resume) map[int]*gate {
	out := map[int]*gate{}
	next := shot[stream].next
	for i := range t.tree.Branches {
		b := &t.tree.Branches[i]
		if b.Parent != stream || b.Join == tree.NoJoin || b.Join < next {
			continue
		}
		if out[b.Join] == nil {
			out[b.Join] = &gate{branches: map[int]*prerequisite{}}
		}
		p := &prerequisite{registered: b.Spawn < next}
		if p.registered {
			for _, c := range b.Children {
				if shot[c].live {
					p.expected++
				}
			}
		}
		out[b.Join].branches[i] = p
	}
	return out
}

// Outcome is how a request ended, as far as the replay cares.
type Outcome uint8

// The outcomes. After an error a session goes on as if all were well; after
// an overflow it is over.
const (
	OK Outcome = iota
	Failed
	Overflow
)

// Returned takes a request's end.
func (m *Machine) Returned(r Ref, now time.Duration, how Outcome) {
	s := r.tree.sessions[r.stream]
	if s.state != inFlight {
		panic("agentic: a request returned that was not out")
	}
	m.landed(r.tree, now)
	defer m.capIdle(r.tree)
	if m.cfg.FailFast && how != OK && r.stream > 0 && !m.stopped {
		m.ChildFailed = true
		m.Stop()
	}
	turn := s.next
	s.next++
	if how == Overflow {
		m.Counters.Overflows++
	} else {
		m.spawn(r, turn, now, false)
	}
	if how == Overflow || s.next == len(r.tree.tree.Streams[r.stream].Conv.Turns) {
		m.end(r, now, how != OK)
		return
	}
	m.unbar(r.tree, now)
	m.goOn(r, now)
}

// Refused takes a request back that could not be sent: its session is over.
func (m *Machine) Refused(r Ref, now time.Duration) {
	s := r.tree.sessions[r.stream]
	if s.state != inFlight {
		panic("agentic: a request was refused that was not out")
	}
	m.landed(r.tree, now)
	defer m.capIdle(r.tree)
	if m.press == nil {
		m.issued--
	}
	m.truncate(r, now)
}

// truncate ends a session before its turns are over.
func (m *Machine) truncate(r Ref, now time.Duration) {
	if r.stream > 0 {
		m.Counters.Truncated++
		m.Counters.Completed-- // end counts it
	}
	m.end(r, now, false)
}

// spawn starts the children of a turn, those of branches that begin with its
// send or those that begin with its return. Every branch is registered before
// any child can end.
func (m *Machine) spawn(r Ref, turn int, now time.Duration, sending bool) {
	for i := range r.tree.tree.Branches {
		b := &r.tree.tree.Branches[i]
		if b.Parent != r.stream || b.Spawn != turn || b.FromSend != sending {
			continue
		}
		started := 0
		for _, c := range b.Children {
			if m.full() {
				m.Counters.Truncated++
				continue
			}
			m.startChild(Ref{r.tree, c}, b, now)
			started++
		}
		if b.Join == tree.NoJoin {
			m.Counters.Background++
			continue
		}
		p := r.tree.sessions[r.stream].gates[b.Join].branches[i]
		p.registered, p.expected = true, started
	}
}

func (m *Machine) startChild(c Ref, b *tree.Branch, now time.Duration) {
	t := c.tree.tree
	stream := &t.Streams[c.stream]
	c.tree.sessions[c.stream] = &session{sent: map[int]bool{}}
	c.tree.sessions[c.stream].gates = m.gatesOf(c.tree, c.stream, make([]resume, len(t.Streams)))
	c.tree.outstanding++
	m.Counters.Spawned++
	wait := stream.Conv.Turns[0].Delay
	switch {
	case m.cfg.NoDelays:
		wait = 0
	case t.Timed:
		from := b.Start
		if b.FromSend {
			from = t.Streams[b.Parent].Starts[b.Spawn]
		}
		wait = max(0, stream.Starts[0]-from)
	}
	m.due(c, now+wait, now)
	m.spawn(c, -1, now, false)
}

// goOn gives the next turn its time, or leaves it at its gate.
func (m *Machine) goOn(r Ref, now time.Duration) {
	s := r.tree.sessions[r.stream]
	s.ready = now + r.tree.tree.Streams[r.stream].Conv.Turns[s.next].Delay
	if g := s.gates[s.next]; g != nil && !g.open() {
		s.state = waiting
		m.Counters.Suspended++
		return
	}
	m.schedule(r, s.ready, now)
}

// schedule arms the next turn, unless nothing may be sent any more.
func (m *Machine) schedule(r Ref, at, now time.Duration) {
	if m.full() {
		m.truncate(r, now)
		return
	}
	m.due(r, at, now)
}

// due gives a session's next turn its time: at once under pressure, and not
// before the requests that had ended before it was sent.
func (m *Machine) due(r Ref, at, now time.Duration) {
	s := r.tree.sessions[r.stream]
	s.state, s.ready = pending, at
	if m.press != nil {
		if !m.press.admits(r.tree.lane) {
			return // it is held for profiling
		}
		at = now
	}
	if m.blocked(r) {
		s.state = barred
		return
	}
	m.arm(r, at)
}

// end closes a session: its parent's gate may open, its tree may drain.
func (m *Machine) end(r Ref, now time.Duration, failed bool) {
	s := r.tree.sessions[r.stream]
	s.state = over
	if r.stream == 0 {
		r.tree.rootOver = true
		m.unbar(r.tree, now)
		m.drain(r.tree, now)
		return
	}
	r.tree.outstanding--
	m.Counters.Completed++
	if failed {
		m.Counters.Errored++
	}
	m.join(r, now)
	m.unbar(r.tree, now)
	m.drain(r.tree, now)
}

// join counts a child's end at its parent's gate, and lets the parent go on if
// that was what it waited for.
func (m *Machine) join(r Ref, now time.Duration) {
	stream := &r.tree.tree.Streams[r.stream]
	b := &r.tree.tree.Branches[stream.Branch]
	parent := r.tree.sessions[b.Parent]
	if b.Join == tree.NoJoin || parent == nil || parent.state == over {
		return
	}
	g := parent.gates[b.Join]
	if g == nil {
		return
	}
	g.branches[stream.Branch].completed++
	if parent.state == waiting && parent.next == b.Join && g.open() {
		m.Counters.Resumed++
		m.schedule(Ref{r.tree, b.Parent}, max(now, parent.ready), now)
	}
}

// drain hands a lane to the next trace once its tree's root is over and no
// descendant is left.
func (m *Machine) drain(t *live, now time.Duration) {
	if t.drained || !t.rootOver || t.outstanding > 0 {
		return
	}
	t.drained = true
	m.Counters.TreesDone++
	m.pool.release(t.tree)
	m.ledger.forget(t)
	m.lanes[t.lane] = nil
	if m.press != nil {
		m.pressed++ // a tree that is over before profiling does not count
	}
	if m.full() || m.cfg.MaxTrees > 0 && m.Counters.TreesStarted-m.pressed >= m.cfg.MaxTrees {
		return
	}
	next := m.pool.draw()
	if next == nil {
		m.Counters.StarvedDraws++
		return
	}
	l := m.open(t.lane, next)
	l.idleSince = now
	m.lanes[t.lane] = l
	shot := fresh(next)
	m.restore(l, shot)
	for i, s := range l.sessions {
		if s != nil && s.state == pending {
			m.due(Ref{l, i}, now+shot[i].offset, now)
		}
	}
	m.capIdle(l)
}
