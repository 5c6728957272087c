package sampler

import (
	"math/rand/v2"

	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/space"
)

// A Picker keeps a round of proposals free of repeats and draws evenly spread
// points for samplers that need some.
type Picker struct {
	set    *valid.Set
	past   *Past
	flight []Trial
	taken  map[valid.Key]struct{}
	draws  uint32
}

// NewPicker starts a round: the history has been read, pending is in flight.
func NewPicker(set *valid.Set, past *Past, pending []space.Point) *Picker {
	p := &Picker{set: set, past: past, flight: past.Pending(pending)}
	p.taken = make(map[valid.Key]struct{}, len(p.flight))
	for _, t := range p.flight {
		p.taken[t.Key] = struct{}{}
	}
	return p
}

// Flight lists the points in flight and those taken in this round.
func (p *Picker) Flight() []Trial { return p.flight }

// Count is the number of points measured, in flight or taken.
func (p *Picker) Count() int { return len(p.past.trials) + len(p.flight) }

// Free says whether a point is neither measured, in flight nor taken.
func (p *Picker) Free(k valid.Key) bool {
	if _, ok := p.taken[k]; ok {
		return false
	}
	return !p.past.Seen(k)
}

// Take marks a point as proposed.
func (p *Picker) Take(v valid.Vec) {
	k := p.set.Key(v)
	p.taken[k] = struct{}{}
	p.flight = append(p.flight, Trial{Vec: v, Key: k})
}

// Draw returns the next free point of a scrambled Sobol' sequence that depends
// on the seed alone; false when none is left.
func (p *Picker) Draw() (valid.Vec, bool) {
	for range 1000 + 20*p.Count() {
		if p.set.Exact() && 4*int64(p.Count()) > 3*p.set.Len() {
			break // nearly everything is taken
		}
		v, ok := p.set.Map(p.past.design.At(p.draws))
		if p.draws++; !ok {
			// Where constraints reject, fill up with samples.
			if v, ok = p.set.Sample(rand.New(rand.NewPCG(p.past.seed, uint64(p.draws)))); !ok {
				return nil, false
			}
		}
		if p.Free(p.set.Key(v)) {
			return v, true
		}
	}
	return p.scan()
}

// scan looks through an enumerable set from a place that the seed gives.
func (p *Picker) scan() (valid.Vec, bool) {
	if p.set.Continuous() {
		return nil, false
	}
	if p.set.Exact() && p.set.Len() > 0 {
		n := p.set.Len()
		start := int64(rand.New(rand.NewPCG(p.past.seed, uint64(p.Count()))).Uint64N(uint64(n)))
		for k := range n {
			if v := p.set.At((start + k) % n); p.Free(p.set.Key(v)) {
				return v, true
			}
		}
		return nil, false
	}
	for v := range p.set.All(nil) {
		if p.Free(p.set.Key(v)) {
			return v, true
		}
	}
	return nil, false
}
