// Package sequence holds the samplers whose order of points does not depend on
// measured values: each walks a fixed sequence and skips what is measured or
// in flight.
package sequence

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/space"
)

// A sequence gives the point at a position; ok is false where the position
// has none, and done says that no later one has.
type sequence func(position int64) (v valid.Vec, ok, done bool)

// walk proposes the points of a sequence. It remembers up to where all points
// are in the history, a memo of the last history read.
type walk struct {
	set      *valid.Set
	sequence sequence
	// patience is how many positions in a row may bring nothing new, for
	// sequences that may repeat points.
	patience int64

	mu       sync.Mutex
	past     *sampler.Past
	epoch    int
	frontier int64
}

func newWalk(set *valid.Set, p *sampler.Problem, s sequence, patience int64) *walk {
	return &walk{set: set, sequence: s, patience: patience, past: sampler.NewPast(set, p)}
}

// Propose implements sampler.Sampler.
func (w *walk) Propose(ctx context.Context, history []sampler.Observation, pending []space.Point, n int) ([]space.Point, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.past.Read(history)
	if e := w.past.Epoch(); e != w.epoch {
		w.epoch, w.frontier = e, 0
	}
	taken := map[valid.Key]struct{}{}
	for _, t := range w.past.Pending(pending) {
		taken[t.Key] = struct{}{}
	}
	patience := w.patience + 20*int64(w.past.Count()+len(taken)+n)
	var out []space.Point
	idle := int64(0)
	for position := w.frontier; len(out) < n && idle <= patience; position++ {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("choosing points: %w", err)
		}
		v, ok, done := w.sequence(position)
		if done {
			break
		}
		idle++
		if !ok {
			w.pass(position)
			continue
		}
		key := w.set.Key(v)
		if w.past.Seen(key) {
			w.pass(position)
			continue
		}
		if _, ok := taken[key]; ok {
			continue
		}
		taken[key] = struct{}{}
		out = append(out, w.set.Point(v))
		idle = 0
	}
	if len(out) == 0 && n > 0 {
		return nil, sampler.ErrExhausted
	}
	return out, nil
}

// pass moves the frontier over a position that needs no second look.
func (w *walk) pass(position int64) {
	if position == w.frontier {
		w.frontier++
	}
}

// Random proposes valid points uniformly and without repeats: it walks a
// pseudo-random permutation of the set, or, where the set has no index, a
// fixed stream of draws.
func Random(p sampler.Problem) (sampler.Sampler, error) {
	if err := p.Decode(&struct{}{}); err != nil {
		return nil, err
	}
	set, err := p.Set()
	if err != nil {
		return nil, err
	}
	if set.Exact() {
		perm := newPermutation(uint64(set.Len()), uint64(p.Seed))
		return newWalk(set, &p, func(i int64) (valid.Vec, bool, bool) {
			if i >= set.Len() {
				return nil, false, true
			}
			return set.At(int64(perm.at(uint64(i)))), true, false
		}, set.Len()), nil
	}
	return newWalk(set, &p, func(i int64) (valid.Vec, bool, bool) {
		v, ok := set.Sample(rand.New(rand.NewPCG(uint64(p.Seed), uint64(i))))
		return v, ok, !ok
	}, 10_000), nil
}
