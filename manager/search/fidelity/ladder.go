package fidelity

import (
	"cmp"
	"slices"

	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/space"
)

// A ladder is a history and what is pending, sorted by point and level. It is
// made anew for every proposal.
type ladder struct {
	problem *sampler.Problem
	set     *valid.Set
	// climbers in the order of their first experiments.
	climbers []*climber
	byKey    map[string]*climber
	// ranked lists, level by level, the climbers with values, best first.
	ranked [][]*climber
	// done counts, level by level, what was measured or failed there.
	done []int
	// count is the number of experiments, pending ones included.
	count int
	// dry says that no new point is left.
	dry bool
	// waiting says that something is pending that may lead further up.
	waiting bool
}

// A climber is a point on its way up.
type climber struct {
	point space.Point
	first int // number of its first experiment
	start int // level of that
	rungs []rung
}

// A rung is what is known of a point at one level.
type rung struct {
	taken bool // measured, failed or pending
	seen  *sampler.Observation
}

// at says whether the level is taken.
func (c *climber) at(level int) bool { return c.rungs[level].taken }

// highest is the highest level with values, or -1.
func (c *climber) highest() int {
	for k := len(c.rungs) - 1; k >= 0; k-- {
		if o := c.rungs[k].seen; o != nil && len(o.Values) > 0 {
			return k
		}
	}
	return -1
}

func newLadder(p *sampler.Problem, set *valid.Set, history, pending []sampler.Observation) *ladder {
	l := &ladder{problem: p, set: set, byKey: map[string]*climber{}, ranked: make([][]*climber, len(p.Fidelity.Levels)),
		done: make([]int, len(p.Fidelity.Levels)), count: len(history) + len(pending)}
	byNumber := func(a, b *sampler.Observation) int { return cmp.Compare(a.Number, b.Number) }
	all := make([]*sampler.Observation, 0, l.count)
	for i := range history {
		all = append(all, &history[i])
	}
	flight := map[*sampler.Observation]bool{}
	for i := range pending {
		all = append(all, &pending[i])
		flight[&pending[i]] = true
	}
	slices.SortStableFunc(all, byNumber)
	for _, o := range all {
		l.add(o, flight[o])
	}
	for k := range l.ranked {
		l.ranked[k] = l.rank(k)
	}
	return l
}

// level finds an observation's level; -1 for one that is none of the ladder's.
func (l *ladder) level(o *sampler.Observation) int {
	if o.Fidelity == 0 {
		return l.top()
	}
	return slices.Index(l.problem.Fidelity.Levels, o.Fidelity)
}

func (l *ladder) top() int { return len(l.done) - 1 }

func (l *ladder) add(o *sampler.Observation, pending bool) {
	level := l.level(o)
	if level < 0 {
		return
	}
	key := l.problem.Space.Key(o.Point)
	c := l.byKey[key]
	if c == nil {
		c = &climber{point: o.Point, first: o.Number, start: level, rungs: make([]rung, len(l.done))}
		l.byKey[key] = c
		l.climbers = append(l.climbers, c)
	}
	c.rungs[level].taken = true
	if pending {
		l.waiting = l.waiting || level < l.top()
		return
	}
	c.rungs[level].seen = o
	if len(o.Values) > 0 || sampler.Configuration(o.Outcome) {
		l.done[level]++
	}
}

// rank sorts the climbers that were measured at a level, best first.
func (l *ladder) rank(level int) []*climber {
	past := sampler.NewPast(l.set, l.problem)
	var seen []sampler.Observation
	byNumber := map[int]*climber{}
	for _, c := range l.climbers {
		if o := c.rungs[level].seen; o != nil && len(o.Values) > 0 {
			seen = append(seen, *o)
			byNumber[o.Number] = c
		}
	}
	past.Read(seen)
	trials := slices.DeleteFunc(slices.Clone(past.Trials()), func(t sampler.Trial) bool { return t.Losses == nil })
	out := make([]*climber, 0, len(trials))
	for _, i := range sampler.Order(trials) {
		out = append(out, byNumber[trials[i].Number])
	}
	return out
}

// failed says that a point's last word is a failure of its own.
func (c *climber) failed() (o *sampler.Observation, ok bool) {
	for k := len(c.rungs) - 1; k >= 0; k-- {
		o := c.rungs[k].seen
		if o == nil || !sampler.Configuration(o.Outcome) {
			continue
		}
		return o, len(o.Values) == 0
	}
	return nil, false
}

// risen is the highest level that a point which began below has reached or is
// on its way to; -1 when there is none.
func (l *ladder) risen() int {
	high := -1
	for _, c := range l.climbers {
		if c.start == l.top() {
			continue
		}
		for k := high + 1; k < len(c.rungs); k++ {
			if c.at(k) {
				high = k
			}
		}
	}
	return high
}

// missing is how many experiments it takes until a point has risen to a full
// measurement.
func (l *ladder) missing() int { return l.top() - max(l.risen(), 0) }

// leader is the best point of the highest level that any has risen to, and the
// level it is to be measured at next; nil when one has risen to the top, or is
// on its way further up.
func (l *ladder) leader() (*climber, int) {
	high := l.risen()
	if high < 0 || high == l.top() {
		return nil, 0
	}
	for k := high; k >= 0; k-- {
		if len(l.ranked[k]) > 0 {
			if c := l.ranked[k][0]; !c.at(k + 1) {
				return c, k + 1
			}
		}
		if k == high && slices.ContainsFunc(l.climbers, func(c *climber) bool { return c.at(k) && c.rungs[k].seen == nil }) {
			return nil, 0
		}
	}
	return nil, 0
}
