package agentic

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/play"
)

// Sessions is the Player that sends over HTTP.
type Sessions struct {
	cfg    *play.Config
	target play.Target
	sink   func(*metrics.Record)
	out    *atomic.Int64
	open   map[*live]map[int]*play.Session
	// Hangups draws which requests of profiling are hung up on; nil for none.
	Hangups *play.Hangups
	number  int64
	warmed  int64
}

// NewSessions returns a player whose finished records go to sink; out counts
// the requests in flight.
func NewSessions(cfg *play.Config, target play.Target, sink func(*metrics.Record), out *atomic.Int64) *Sessions {
	return &Sessions{cfg: cfg, target: target, sink: sink, out: out, open: map[*live]map[int]*play.Session{}}
}

// Ready opens the session if need be and writes the request.
func (p *Sessions) Ready(s Send, due time.Time) (func(context.Context) (Outcome, error), error) {
	session := p.session(s.Ref, s.Turn)
	t := play.Ticket{Phase: metrics.Profiling, Number: p.number, Scheduled: due}
	switch {
	case s.Warm:
		t.Phase, t.Number, t.MaxTokens = metrics.Warmup, p.warmed, 1
		p.warmed++
	case s.Pressure:
		t.Phase, t.Number = metrics.Warmup, p.warmed
		p.warmed++
	default:
		t.CancelAfter = p.Hangups.Draw()
		p.number++
	}
	return func(ctx context.Context) (Outcome, error) {
		t.Issued = time.Now()
		p.out.Add(1)
		rec := session.Turn(ctx, s.Turn, t)
		p.out.Add(-1)
		p.sink(rec)
		switch {
		case rec.Err == nil:
			return OK, nil
		case rec.Err.Class == metrics.ErrOverflow:
			return Overflow, rec.Err
		}
		return Failed, rec.Err
	}, nil
}

// session returns the open session of a stream. One that starts at a later
// turn has the turns before in its history.
func (p *Sessions) session(r Ref, turn int) *play.Session {
	if s := p.open[r.tree][r.stream]; s != nil {
		return s
	}
	s := play.Open(p.cfg, r.Stream().Conv)
	s.Marker = play.Marker{Text: r.Marker(), Target: p.target}
	s.Lineage = play.Lineage{Depth: r.Stream().Depth, Root: s.ID()}
	if parent, ok := r.Parent(); ok {
		// The parent is opened first even if it only waits: the tree's records
		// name its root.
		next := 0
		if up := r.tree.sessions[parent.stream]; up != nil {
			next = up.next
		}
		up := p.session(parent, next)
		s.Lineage.Root, s.Lineage.Parent = up.Lineage.Root, up.ID()
		if r.Stream().Fork {
			s.ForkFrom(up)
		}
	}
	s.SkipTo(turn)
	if p.open[r.tree] == nil {
		p.open[r.tree] = map[int]*play.Session{}
	}
	p.open[r.tree][r.stream] = s
	return s
}

// Returned opens the children that fork off this turn, while the history is
// what they inherit, and closes the sessions of a tree that is over.
func (p *Sessions) Returned(s Send) {
	if s.Drained() {
		for _, open := range p.open[s.tree] {
			open.Close()
		}
		delete(p.open, s.tree)
		return
	}
	for i := range s.Tree().Branches {
		b := &s.Tree().Branches[i]
		if b.Parent != s.stream || b.Spawn != s.Turn {
			continue
		}
		for _, c := range b.Children {
			if s.Tree().Streams[c].Fork && s.tree.sessions[c] != nil {
				p.session(s.Child(c), 0)
			}
		}
	}
}

// Close ends all sessions; none may be sending.
func (p *Sessions) Close() {
	for _, t := range p.open {
		for _, s := range t {
			s.Close()
		}
	}
	p.open = nil
}
