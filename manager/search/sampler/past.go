package sampler

import (
	"math"
	"reflect"
	"slices"
	"sort"

	"github.com/fleetune/fleetune/manager/search/sobol"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// A Trial is an observation in the terms of the valid set.
type Trial struct {
	Number int
	Vec    valid.Vec
	Key    valid.Key
	// Losses are the values turned so that smaller is better; nil when the
	// experiment gave none.
	Losses []float64
	// Infeasible says that the configuration itself failed. A trial with
	// neither losses nor this flag failed for reasons of its place.
	Infeasible bool
	// Constraints are how far each measured constraint is missed, in parts of
	// its bound; NaN where that is unknown, nil when all are.
	Constraints []float64
	// Violation is by how much constraints are missed in all: 0 when every one
	// holds, infinite when one was not measured.
	Violation float64
	from      int // position among the observations read
}

// Past is the history as a sampler reads it: decoded once, sorted by number.
// It is a memo of its last argument, no state: Read gives the same answer
// whatever was read before. The caller serialises its use.
type Past struct {
	set         *valid.Set
	objectives  []task.Objective
	constraints int
	seed        uint64
	design      *sobol.Sequence // even draws

	read   []Observation // what trials was decoded from, sorted
	trials []Trial       // those of read whose points are in the set
	seen   map[valid.Key]int
	// epoch changes whenever what was read is not a continuation.
	epoch int
}

// NewPast prepares the reading of histories of one problem, whose valid set is
// given.
func NewPast(set *valid.Set, p *Problem) *Past {
	return &Past{set: set, objectives: p.Objectives, constraints: len(p.Constraints), seed: uint64(p.Seed), seen: map[valid.Key]int{},
		design: sobol.New(set.Space().Len(), uint64(p.Seed))}
}

// Read decodes a history, reusing what it has in common with the last one.
func (p *Past) Read(history []Observation) {
	byNumber := func(a, b Observation) int { return a.Number - b.Number }
	if !slices.IsSortedFunc(history, byNumber) {
		history = slices.Clone(history)
		slices.SortStableFunc(history, byNumber)
	}
	k := 0
	for k < len(p.read) && k < len(history) && same(&p.read[k], &history[k]) {
		k++
	}
	if k < len(p.read) {
		p.forget(k)
	}
	for i := k; i < len(history); i++ {
		p.add(history[i])
	}
}

// forget drops all but the first k observations.
func (p *Past) forget(k int) {
	p.epoch++
	p.read = p.read[:k]
	kept := sort.Search(len(p.trials), func(i int) bool { return p.trials[i].from >= k })
	p.trials = p.trials[:kept]
	clear(p.seen)
	for i := range p.trials {
		p.see(i)
	}
}

func (p *Past) see(i int) {
	if _, ok := p.seen[p.trials[i].Key]; !ok {
		p.seen[p.trials[i].Key] = i
	}
}

func (p *Past) add(o Observation) {
	p.read = append(p.read, o)
	vec, err := p.set.Vec(o.Point)
	if err != nil {
		return // a baseline may lie outside the space
	}
	t := Trial{Number: o.Number, Vec: vec, Key: p.set.Key(vec), Losses: p.losses(o.Values), from: len(p.read) - 1}
	t.Constraints, t.Violation = p.violation(o.Constraints)
	// A point whose constraints were measured has run: they say what is wrong with it.
	t.Infeasible = t.Losses == nil && t.Constraints == nil && o.Outcome != experiment.OutcomeSuccess && Configuration(o.Outcome)
	p.trials = append(p.trials, t)
	p.see(len(p.trials) - 1)
}

// Configuration says whether an outcome tells something about the
// configuration rather than about the place or the time it ran.
func Configuration(o experiment.Outcome) bool {
	switch o {
	case experiment.OutcomeInfraError, experiment.OutcomeLost, experiment.OutcomeCancelled,
		experiment.OutcomeNotStarted, experiment.OutcomeTotal:
		return false
	default:
		return true
	}
}

func (p *Past) losses(values []float64) []float64 {
	if len(values) == 0 || len(values) != max(len(p.objectives), 1) {
		return nil
	}
	out := make([]float64, len(values))
	for i, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
		out[i] = v
		if i < len(p.objectives) && p.objectives[i].Direction == task.Maximize {
			out[i] = -v
		}
	}
	return out
}

// violation reads the constraints of an observation; nil when none was measured.
func (p *Past) violation(values []float64) ([]float64, float64) {
	if p.constraints == 0 {
		return nil, 0
	}
	if len(values) != p.constraints {
		return nil, math.Inf(1)
	}
	out, total, measured := make([]float64, len(values)), 0.0, false
	for i, v := range values {
		if out[i] = v; math.IsNaN(v) || math.IsInf(v, 0) {
			out[i], total = math.NaN(), math.Inf(1)
			continue
		}
		measured = true
		total += max(v, 0)
	}
	if !measured {
		return nil, total
	}
	return out, total
}

// same says whether two observations are one: the same number, point map,
// outcome, values and constraints.
func same(a, b *Observation) bool {
	return a.Number == b.Number && a.Outcome == b.Outcome &&
		reflect.ValueOf(a.Point).Pointer() == reflect.ValueOf(b.Point).Pointer() &&
		identical(a.Values, b.Values) && identical(a.Constraints, b.Constraints)
}

// identical compares numbers, NaN with NaN as well.
func identical(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return x == y || math.IsNaN(x) && math.IsNaN(y) })
}

// Trials returns the history's points that are in the set, by number.
func (p *Past) Trials() []Trial { return p.trials }

// Epoch changes whenever a history was read that does not continue the one
// before, so that memos built upon it know when to start again.
func (p *Past) Epoch() int { return p.epoch }

// Seen says whether a point is in the history.
func (p *Past) Seen(k valid.Key) bool {
	_, ok := p.seen[k]
	return ok
}

// Count is the number of distinct points in the history.
func (p *Past) Count() int { return len(p.seen) }

// Pending decodes points in flight, dropping repeats, those in the history and
// those outside the set, in an order that does not depend on the argument's.
func (p *Past) Pending(points []space.Point) []Trial {
	out := make([]Trial, 0, len(points))
	taken := make(map[valid.Key]struct{}, len(points))
	for _, point := range points {
		vec, err := p.set.Vec(point)
		if err != nil {
			continue
		}
		k := p.set.Key(vec)
		if _, ok := taken[k]; ok || p.Seen(k) {
			continue
		}
		taken[k] = struct{}{}
		out = append(out, Trial{Vec: vec, Key: k})
	}
	sort.Slice(out, func(i, j int) bool {
		a, b := out[i].Key, out[j].Key
		return a[0] < b[0] || a[0] == b[0] && a[1] < b[1]
	})
	return out
}
