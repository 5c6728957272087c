package drive

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fleetune/fleetune/worker/load/conversation"
)

// ErrNoSchedule is returned when a schedule is asked of a workload without
// instants.
var ErrNoSchedule = errors.New("no request of this workload in the window has a timestamp to schedule it by")

// ErrUntimed is returned when some conversations of a schedule say no instant.
var ErrUntimed = errors.New("conversations without a timestamp cannot be scheduled")

// schedule issues first turns at their instants, and later ones at their own
// instant or after their delay, never before the reply to the turn before.
func (r *phase) schedule(list []*conversation.Conversation, begin time.Time) error {
	plan, zero, err := r.cut(list)
	if err != nil {
		return err
	}
	speed := r.Shape.SpeedUp
	if speed == 0 {
		speed = 1
	}
	due := func(at time.Duration) time.Time { return begin.Add(time.Duration(float64(at-zero) / speed)) }
	i := 0
	ahead := r.aheadOf(func() *conversation.Conversation {
		if i == len(plan) {
			return nil
		}
		i++
		return plan[i-1]
	})
	for _, c := range plan {
		at := due(*c.Turns[0].At)
		if r.Pacer.SleepUntil(r.issue, at) != nil || !r.session() {
			return nil //nolint:nilerr // no more is issued: the end, not a failure
		}
		o, ok := <-ahead
		if !ok {
			r.settle()
			return nil
		}
		r.work.Go(func() {
			p := r.player(o, len(o.conv.Turns))
			defer p.end()
			if r.live.acquire(r.issue) != nil {
				return
			}
			defer r.live.release()
			p.playScheduled(o.conv, due, speed)
		})
	}
	return nil
}

// cut selects what of the conversations lies in the window, in order, and the
// instant that counts as zero.
func (r *phase) cut(list []*conversation.Conversation) ([]*conversation.Conversation, time.Duration, error) {
	var plan []*conversation.Conversation
	untimed, name := 0, ""
	for _, c := range list {
		if len(c.Turns) == 0 || c.Turns[0].At == nil {
			if untimed++; untimed == 1 {
				name = c.ID
			}
			continue
		}
		part, midway := r.Shape.window(c)
		if part == nil {
			continue
		}
		if midway {
			r.report.Midway++
		}
		plan = append(plan, part)
	}
	if len(plan) == 0 {
		return nil, 0, ErrNoSchedule
	}
	if untimed > 0 {
		return nil, 0, fmt.Errorf("%w: %d of %d conversations, such as %s", ErrUntimed, untimed, len(list), name)
	}
	slices.SortStableFunc(plan, func(a, b *conversation.Conversation) int { return cmp.Compare(*a.Turns[0].At, *b.Turns[0].At) })
	zero := r.Shape.From
	if r.Shape.AutoOffset {
		zero = *plan[0].Turns[0].At
	}
	return plan, zero, nil
}

// window is the part of a conversation whose instants are in the schedule's
// window, nil for none; turns without one go with the turn before. A part that
// begins midway and needs what was said before starts with that, save for the
// server's replies, which nobody knows: that is reported.
func (s *Shape) window(c *conversation.Conversation) (part *conversation.Conversation, midway bool) {
	from := slices.IndexFunc(c.Turns, func(t conversation.Turn) bool { return t.At != nil && *t.At >= s.From })
	if from < 0 {
		return nil, false
	}
	to := len(c.Turns)
	if s.To > 0 {
		late := slices.IndexFunc(c.Turns[from:], func(t conversation.Turn) bool { return t.At != nil && *t.At > s.To })
		if late == 0 {
			return nil, false
		}
		if late > 0 {
			to = from + late
		}
	}
	if from == 0 && to == len(c.Turns) {
		return c, false
	}
	part = &conversation.Conversation{ID: c.ID, Mode: c.Mode, Turns: slices.Clone(c.Turns[from:to])}
	if from == 0 || c.Mode == conversation.Whole {
		return part, false
	}
	var before []conversation.Message
	for i := range from {
		before = append(before, c.Turns[i].Messages...)
	}
	part.Turns[0].Messages = append(before, part.Turns[0].Messages...)
	return part, true
}

func (p *player) playScheduled(c *conversation.Conversation, due func(time.Duration) time.Time, speed float64) {
	for turn := range c.Turns {
		t := &c.Turns[turn]
		var at time.Time
		switch {
		case t.At != nil:
			at = due(*t.At)
		case turn > 0:
			at = time.Now().Add(time.Duration(float64(t.Delay) / speed))
		}
		if turn > 0 && at.Before(time.Now()) {
			at = time.Now() // the reply came later than the turn was due
		}
		if turn > 0 && p.Pacer.SleepUntil(p.issue, at) != nil {
			return
		}
		if !p.send(turn, at) {
			return
		}
	}
}
