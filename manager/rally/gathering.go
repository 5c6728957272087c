package rally

import (
	"fmt"
	"time"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/proto/wire"
)

const (
	// Lead is how far ahead the start is named: every share must hear of it.
	Lead = time.Second
	// Silence is after how long a share counts as lost.
	Silence = 10 * time.Second
	// enoughProbes is how many exchanges a share's clock rests on at the start.
	enoughProbes = 8
	// maxResult bounds a share's result, in bytes.
	maxResult = 256 << 20
)

// gathering is the state of a rally. It is driven by calls and instants alone.
type gathering struct {
	shares []share
	start  time.Time // zero while shares are missing
}

type share struct {
	v1.LoadShare
	session  string
	heard    time.Time
	probes   int
	received int64
}

func newGathering(n int) *gathering {
	g := &gathering{shares: make([]share, n)}
	for i := range g.shares {
		g.shares[i].LoadShare = v1.LoadShare{Share: i, State: v1.ShareMissing}
	}
	return g
}

// take takes a call in. A part that is new is to be passed on.
func (g *gathering) take(now time.Time, c wire.LoadCall) (wire.LoadReply, *v1.LoadPart) {
	if c.Share < 0 || c.Share >= len(g.shares) {
		return wire.LoadReply{Over: fmt.Sprintf("the load has no share %d", c.Share)}, nil
	}
	s := &g.shares[c.Share]
	if s.session != c.Session {
		if !g.start.IsZero() || s.Ended() {
			return wire.LoadReply{Over: "it has begun with another worker, or without one"}, nil
		}
		*s = share{LoadShare: v1.LoadShare{Share: c.Share, State: v1.ShareMissing}, session: c.Session}
	}
	if s.State == v1.ShareLost {
		return wire.LoadReply{Over: "nothing was heard of this share for too long"}, nil
	}
	s.heard, s.Worker, s.probes = now, c.Worker, c.Clock.Probes
	s.Offset, s.ClockError, s.Late, s.Drift = c.Clock.Offset, c.Clock.Error, c.Clock.Late, c.Clock.Drift
	switch c.Step {
	case wire.LoadWaiting:
		s.enter(v1.ShareWaiting)
		g.begin(now)
	case wire.LoadRunning:
		s.enter(v1.ShareRunning)
		s.progress(c.Progress)
	case wire.LoadSending:
		s.progress(c.Progress)
		return g.receive(s, c.Part)
	case wire.LoadFailed:
		if s.State != v1.ShareDone {
			s.State, s.Reason = v1.ShareFailed, c.Reason
		}
	}
	return g.reply(), nil
}

func (s *share) progress(p wire.LoadProgress) {
	s.Elapsed, s.Done, s.Failed, s.InFlight, s.Tokens = p.Elapsed, p.Done, p.Failed, p.InFlight, p.Tokens
}

// enter moves a share on; a call that comes late moves nothing back.
func (s *share) enter(state string) {
	order := map[string]int{v1.ShareMissing: 0, v1.ShareWaiting: 1, v1.ShareRunning: 2}
	now, known := order[s.State]
	if known && order[state] > now {
		s.State = state
	}
}

func (g *gathering) reply() wire.LoadReply {
	if g.start.IsZero() {
		return wire.LoadReply{}
	}
	return wire.LoadReply{Start: g.start.UnixNano()}
}

// begin names the start once every share waits and knows the clock.
func (g *gathering) begin(now time.Time) {
	if !g.start.IsZero() {
		return
	}
	for i := range g.shares {
		if s := &g.shares[i]; s.State != v1.ShareWaiting || s.probes < enoughProbes {
			return
		}
	}
	g.start = now.Add(Lead)
}

// receive takes a part in; one that came before is only answered.
func (g *gathering) receive(s *share, p *wire.LoadPart) (wire.LoadReply, *v1.LoadPart) {
	size := int64(0)
	if p != nil {
		size = int64(len(p.Data))
	}
	switch {
	case s.Ended():
		return g.reply(), nil
	case size == 0 || p.Offset < 0 || p.Size > maxResult || p.Offset+size > p.Size:
		s.State, s.Reason = v1.ShareFailed, "its result is damaged"
		return wire.LoadReply{Over: s.Reason}, nil
	case p.Offset > s.received:
		return wire.LoadReply{Over: "a part of the result is missing"}, nil
	case p.Offset < s.received:
		return g.reply(), nil
	}
	s.State = v1.ShareSending
	if s.received += size; s.received == p.Size {
		s.State = v1.ShareDone
	}
	return g.reply(), &v1.LoadPart{Share: s.Share, Offset: p.Offset, Size: p.Size, Data: p.Data}
}

// look finds out which shares are silent; it reports whether any changed.
// Before the start a silent share is missing again: another worker may take it.
func (g *gathering) look(now time.Time) (changed bool) {
	for i := range g.shares {
		s := &g.shares[i]
		if s.Ended() || s.State == v1.ShareMissing || now.Sub(s.heard) <= Silence {
			continue
		}
		changed = true
		if g.start.IsZero() {
			*s = share{LoadShare: v1.LoadShare{Share: i, State: v1.ShareMissing}}
			continue
		}
		s.State, s.Reason = v1.ShareLost, fmt.Sprintf("nothing was heard of it for %v", Silence)
	}
	return changed
}

// over says that every share has ended. Shares that failed before the start
// take no load with them: the others would wait for ever.
func (g *gathering) over() bool {
	ended := 0
	for i := range g.shares {
		switch s := &g.shares[i]; {
		case s.Ended():
			ended++
		case g.start.IsZero():
			continue
		default:
			return false
		}
	}
	return ended == len(g.shares) || g.start.IsZero() && ended > 0
}

func (g *gathering) state() v1.LoadState {
	out := v1.LoadState{Shares: make([]v1.LoadShare, len(g.shares))}
	for i := range g.shares {
		out.Shares[i] = g.shares[i].LoadShare
	}
	if !g.start.IsZero() {
		start := g.start.UTC()
		out.Start = &start
	}
	return out
}
