package agentic

import (
	"container/heap"
	"fmt"
	"time"

	"github.com/fleetune/fleetune/worker/load/tree"
)

// Ref names a session of the replay: a stream of a live tree.
type Ref struct {
	tree   *live
	stream int
}

// A Send asks for one request.
type Send struct {
	Ref
	Turn int
	// Due is when the replay wanted it.
	Due time.Duration
	// Warm is set for warm-up requests, which ask for one token; Pressure for
	// those of the stage after it, which ask for all.
	Warm, Pressure bool
}

// live is a tree that is being played.
type live struct {
	lane     int
	tree     *tree.Tree
	marker   string
	sessions []*session
	// rootOver and outstanding decide when the tree has drained.
	rootOver    bool
	outstanding int
	drained     bool
	// inFlight requests of the tree, and since when there are none.
	inFlight  int
	idleSince time.Duration
}

// state is where a session stands.
type state uint8

const (
	pending  state = iota // its next turn waits for its time
	inFlight              // its turn is out
	waiting               // its next turn waits at a gate
	barred                // its next turn waits for requests that ended before it
	over
)

// session is a live stream.
type session struct {
	state state
	next  int
	// ready is the earliest instant of the next turn, by its delay.
	ready time.Duration
	gates map[int]*gate // by turn
	timer *timer
	sent  map[int]bool
	// skipped is how many turns were over before the session began.
	skipped int
}

// Machine is the replay. Instants are durations since the start of a phase's
// clock and never go back. It is not safe for concurrent use.
type Machine struct {
	cfg    Config
	ledger *ledger
	pool   *pool
	lanes  []*live // the tree of each lane; nil when the lane has ended
	plans  []trajectory
	shots  [][]resume

	barriers map[*tree.Tree]tree.Barriers
	press    *pressure // nil outside the pressure stage
	pressed  int       // trees that were over before profiling

	timers   timers
	serial   int
	inFlight int
	issued   int
	stopped  bool
	// ChildFailed is set when a child's failure ended the replay.
	ChildFailed bool
	Counters    Counters
}

// New draws the trajectories and takes every claim before any lane starts.
func New(cfg Config) (*Machine, error) {
	plans, err := cfg.trajectories()
	if err != nil {
		return nil, err
	}
	m := &Machine{cfg: cfg, ledger: newLedger(cfg.Benchmark), plans: plans, pool: newPool(cfg.ordered(), plans)}
	for i := range plans {
		shot := plans[i].snapshot()
		t := m.open(i, plans[i].tree)
		if !m.restore(t, shot) {
			m.Counters.Rejected++
			shot = fresh(plans[i].tree)
			m.restore(t, shot)
		}
		m.shots = append(m.shots, shot)
		m.lanes = append(m.lanes, t)
	}
	if cfg.Barriers {
		m.barriers = map[*tree.Tree]tree.Barriers{}
		for _, t := range cfg.Trees {
			m.barriers[t] = t.Barriers()
		}
	}
	return m, nil
}

// open makes a tree live on a lane and mints its marker.
func (m *Machine) open(lane int, t *tree.Tree) *live {
	l := &live{lane: lane, tree: t, sessions: make([]*session, len(t.Streams))}
	l.marker = m.ledger.marker(l)
	m.Counters.TreesStarted++
	return l
}

// restore sets a tree up at a snapshot. It reports false when nothing of it
// could ever be sent.
func (m *Machine) restore(t *live, shot []resume) bool {
	progress := false
	t.outstanding, t.rootOver = 0, false
	for i := range shot {
		t.sessions[i] = nil
		if !shot[i].live {
			continue
		}
		t.sessions[i] = &session{state: pending, next: shot[i].next, skipped: shot[i].next, sent: map[int]bool{}}
		if i > 0 {
			t.outstanding++
		}
	}
	for i, s := range t.sessions {
		if s == nil {
			continue
		}
		s.gates = m.gatesOf(t, i, shot)
		if g := s.gates[s.next]; g != nil && !g.open() {
			s.state = waiting
		} else {
			progress = true
		}
	}
	t.rootOver = t.sessions[0] == nil
	return progress
}

// Warmup returns the requests that fill the server's caches: for every live
// stream the turn before its next, with its whole prefix. They are spread so
// that all lanes' instants coincide at the end, or come at once for a burst.
func (m *Machine) Warmup() []Send {
	var out []Send
	var leads []time.Duration
	longest := time.Duration(0)
	for lane, t := range m.lanes {
		for i, s := range t.sessions {
			if s == nil || s.next == 0 {
				continue
			}
			lead := time.Duration(0)
			if t.tree.Timed && !m.cfg.Burst && !m.cfg.NoDelays {
				lead = max(0, m.plans[lane].at-t.tree.Streams[i].Starts[s.next-1])
				for _, limit := range []time.Duration{m.cfg.LaneCap, m.cfg.TreeIdleCap, m.cfg.IdleCap, m.cfg.WarmCap} {
					if limit > 0 {
						lead = min(lead, limit)
					}
				}
			}
			longest = max(longest, lead)
			leads = append(leads, lead)
			out = append(out, Send{Ref: Ref{t, i}, Turn: s.next - 1, Warm: true})
		}
	}
	for i := range out {
		out[i].Due = longest - leads[i]
	}
	return out
}

// Start begins profiling: every dispatchable stream of every lane gets its
// time, its offset less a shift that is the same for its whole lane.
func (m *Machine) Start(now time.Duration) {
	for lane, t := range m.lanes {
		if t == nil {
			continue // it ended under pressure
		}
		t.idleSince = now
		shift := m.shift(lane)
		wait := func(stream int) time.Duration {
			if m.cfg.NoDelays {
				return 0
			}
			return m.shots[lane][stream].offset - shift
		}
		for i, s := range t.sessions {
			if s == nil || s.state != pending {
				continue
			}
			m.due(Ref{t, i}, now+wait(i), now)
		}
		for i, s := range t.sessions {
			if s != nil && s.state == waiting {
				s.ready = now + max(0, wait(i))
			}
		}
		m.capIdle(t)
	}
}

// shift is how far a lane's offsets move towards its start.
func (m *Machine) shift(lane int) time.Duration {
	least, found := time.Duration(0), false
	for i, s := range m.lanes[lane].sessions {
		if s == nil || s.state != pending {
			continue
		}
		if o := m.shots[lane][i].offset; !found || o < least {
			least, found = o, true
		}
	}
	switch {
	case m.cfg.Burst:
		return least
	case m.cfg.LaneCap > 0:
		return max(0, least-m.cfg.LaneCap)
	}
	return 0
}

// Next tells the instant of the next timer.
func (m *Machine) Next() (time.Duration, bool) {
	if len(m.timers) == 0 {
		return 0, false
	}
	return m.timers[0].at, true
}

// Idle reports whether nothing is out.
func (m *Machine) Idle() bool { return m.inFlight == 0 }

// Done reports whether nothing is out and nothing will ever be sent.
func (m *Machine) Done() bool { return m.inFlight == 0 && len(m.timers) == 0 }

// Advance returns the requests that are due. Each must be answered with
// Returned or Refused.
func (m *Machine) Advance(now time.Duration) []Send {
	m.skipIdle(now)
	var out []Send
	// What will never be sent need not wait for its time.
	for len(m.timers) > 0 && (m.timers[0].at <= now || m.full()) {
		t := heap.Pop(&m.timers).(*timer)
		s := t.tree.sessions[t.stream]
		s.timer = nil
		if m.full() {
			m.truncate(t.Ref, now)
			continue
		}
		out = append(out, m.send(t.Ref, t.at, now))
	}
	return out
}

// full reports whether no more requests may be issued.
func (m *Machine) full() bool {
	return m.stopped || m.press == nil && m.cfg.MaxRequests > 0 && m.issued >= m.cfg.MaxRequests
}

func (m *Machine) send(r Ref, due, now time.Duration) Send {
	s := r.tree.sessions[r.stream]
	if s.state != pending || s.sent[s.next] {
		panic(fmt.Sprintf("agentic: turn %d of %s would be sent twice", s.next, r.tree.tree.Streams[r.stream].Conv.ID))
	}
	s.sent[s.next] = true
	s.state = inFlight
	m.inFlight++
	r.tree.inFlight++
	m.spawn(r, s.next, now, true)
	if m.press != nil {
		m.press.issued[r.tree.lane]++
		return Send{Ref: r, Turn: s.next, Due: due, Pressure: true}
	}
	m.issued++
	m.Counters.RequestsIssued++
	return Send{Ref: r, Turn: s.next, Due: due}
}

// Stop ends the replay: what waits is dropped, what is out may return.
func (m *Machine) Stop() {
	m.stopped = true
	for _, t := range m.timers {
		t.tree.sessions[t.stream].timer = nil
	}
	m.timers = nil
}

// timer is a session's next turn waiting for its time.
type timer struct {
	Ref
	at     time.Duration
	serial int
	index  int
}

func (m *Machine) arm(r Ref, at time.Duration) {
	s := r.tree.sessions[r.stream]
	if s.timer != nil {
		panic("agentic: a session has two timers")
	}
	m.serial++
	s.state = pending
	s.timer = &timer{Ref: r, at: at, serial: m.serial}
	heap.Push(&m.timers, s.timer)
}

type timers []*timer

func (q timers) Len() int { return len(q) }
func (q timers) Less(i, j int) bool {
	if q[i].at == q[j].at {
		return q[i].serial < q[j].serial
	}
	return q[i].at < q[j].at
}
func (q timers) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}
func (q *timers) Push(x any) {
	t := x.(*timer)
	t.index = len(*q)
	*q = append(*q, t)
}
func (q *timers) Pop() any {
	old := *q
	t := old[len(old)-1]
	*q = old[:len(old)-1]
	return t
}
