package drive

import (
	"time"

	"github.com/fleetune/fleetune/worker/load/conversation"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/play"
)

// player sends the turns of one session, one after another.
type player struct {
	*phase
	session Session
	turns   int // that it sends
	settled bool
}

// player plays the first turns of a session that has been counted.
func (r *phase) player(o opened, turns int) *player {
	return &player{phase: r, session: o.session, turns: turns}
}

// send waits for a permit and sends one turn. It reports whether the session
// may go on.
func (p *player) send(turn int, scheduled time.Time) bool {
	permit, ok := p.permit(func() {})
	return ok && p.sendWith(permit, turn, scheduled)
}

// sendWith sends one turn with a permit, and hands its record on.
func (p *player) sendWith(permit permit, turn int, scheduled time.Time) bool {
	defer permit.release()
	if turn == p.turns-1 {
		p.settle()
	}
	p.inFlight.Add(1)
	p.InFlight.Add(1)
	t := play.Ticket{Number: permit.number, Phase: p.Name, Scheduled: scheduled, Issued: time.Now(), CancelAfter: p.hangups.Draw()}
	if p.Shape.Prefill > 0 {
		t.OnFirst = permit.release
	}
	rec := p.session.Turn(p.flight, turn, t)
	p.inFlight.Add(-1)
	p.InFlight.Add(-1)
	p.Sink(rec)
	return rec.Err == nil || rec.Err.Class != metrics.ErrOverflow
}

func (p *player) settle() {
	if !p.settled {
		p.settled = true
		p.phase.settle()
	}
}

// end ends the session, whatever it has sent.
func (p *player) end() {
	p.settle()
	p.session.Close()
}

// opened is a session that waits for its start.
type opened struct {
	session Session
	conv    *conversation.Conversation
}
