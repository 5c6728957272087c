package drive

import (
	"math"
	"time"

	"github.com/fleetune/fleetune/worker/load/conversation"
)

// users runs user-centric load: a steady gap of users/rate between the turns
// of each user, users staggered by 1/rate, and the load in its steady state
// from the start, by starting the first users part-way through.
func (r *phase) users(source conversation.Source, list []*conversation.Conversation, begin time.Time) {
	n := r.Shape.Users
	gap := time.Duration(float64(n) / r.Shape.Rate * float64(time.Second))
	stagger := time.Duration(float64(time.Second) / r.Shape.Rate)
	for _, u := range firstUsers(n, r.Shape.meanTurns(list)) {
		r.user(source, begin.Add(time.Duration(n-u.slot)*stagger), u.turns, gap)
	}
	r.user(source, begin, 0, gap)
}

// meanTurns is how many turns a session has on average: as the shape says, or
// else those of the list.
func (s *Shape) meanTurns(list []*conversation.Conversation) int {
	if s.Turns > 0 || len(list) == 0 {
		return int(math.Round(s.Turns))
	}
	sum := 0
	for _, c := range list {
		sum += len(c.Turns)
	}
	return int(math.Round(float64(sum) / float64(len(list))))
}

type firstUser struct{ slot, turns int }

// firstUsers spreads the ages of the users that the steady state would hold.
func firstUsers(n, turns int) []firstUser {
	length := max(1, turns-1)
	step := 1
	if gcd(n, length) > 1 {
		for step = 2; gcd(step, n) != 1; step++ {
		}
	}
	var out []firstUser
	for i := range n {
		age := (n - i) * length
		left := length - int(math.Floor(float64(age)/float64(n)))
		if left <= 0 {
			continue
		}
		slot := age % n
		if step > 1 {
			slot = i * step % n
		}
		out = append(out, firstUser{slot, left})
	}
	return out
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// user plays one session of at most turns turns (0: all of them) from an
// instant on, and starts its successor when its time is over, however far it
// has come.
func (r *phase) user(source conversation.Source, at time.Time, turns int, gap time.Duration) {
	r.work.Go(func() {
		if r.Pacer.SleepUntil(r.issue, at) != nil || !r.session() {
			return
		}
		c := source.Next()
		s, err := r.begin(c)
		if err != nil {
			r.settle()
			r.fail(err)
			return
		}
		if turns == 0 || turns > len(c.Turns) {
			turns = len(c.Turns)
		}
		p := r.player(opened{s, c}, turns)
		defer p.end()
		r.user(source, at.Add(time.Duration(turns)*gap), 0, gap)
		for turn := range turns {
			if turn > 0 {
				at = at.Add(gap)
				if now := time.Now(); now.After(at) {
					at = now
				}
				if r.Pacer.SleepUntil(r.issue, at) != nil {
					return
				}
			}
			if !p.send(turn, at) {
				return
			}
		}
	})
}
