// Package warm starts a search at points that similar tasks found good, and
// then hands it to the sampler that the task names. It costs at most its own
// first batch: the sampler sees nothing of what the starts came to, so that the
// search goes on as it would have gone without them, a batch later, while what
// the starts found counts from the first moment. Replayed on recorded kernels,
// a model that is told of a good region from elsewhere often stays there and
// misses the optimum, and one that is told of bad points from elsewhere takes
// dozens of experiments to recover.
package warm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/space"
)

// Most is how many points a search starts with at most.
const Most = 8

// Count is how many starts a budget allows: an eighth of it, at most Most, so
// that starts that mislead cost little.
func Count(budget int) int {
	if budget <= 0 {
		return Most
	}
	return min(Most, budget/8)
}

// Sampler implements sampler.Sampler.
type Sampler struct {
	inner  sampler.Sampler
	set    *valid.Set
	starts []start
	known  map[valid.Key]bool
}

type start struct {
	point space.Point
	key   valid.Key
}

// New wraps a sampler that searches set. Starts that are no points of the set, or repeat one, are passed over.
func New(inner sampler.Sampler, set *valid.Set, starts []space.Point) *Sampler {
	s := &Sampler{inner: inner, set: set, known: map[valid.Key]bool{}}
	for _, p := range starts {
		vec, err := set.Vec(p)
		if err != nil {
			continue
		}
		key := set.Key(vec)
		if !s.known[key] {
			s.known[key] = true
			s.starts = append(s.starts, start{set.Point(vec), key})
		}
	}
	return s
}

// Starts is how many points the search starts with.
func (s *Sampler) Starts() int { return len(s.starts) }

// Reason says why the inner sampler works the way it does, and that the search
// does not start there.
func (s *Sampler) Reason() string {
	r, ok := s.inner.(interface{ Reason() string })
	if !ok || r.Reason() == "" {
		return ""
	}
	return fmt.Sprintf("starts at %d points of similar tasks; then %s", len(s.starts), r.Reason())
}

// Propose implements sampler.Sampler.
func (s *Sampler) Propose(ctx context.Context, history []sampler.Observation, pending []space.Point, n int) ([]space.Point, error) {
	v := s.view(history, pending)
	var out []space.Point
	for _, first := range s.starts {
		if _, taken := v.starts[first.key]; !taken && len(out) < n {
			out = append(out, first.point)
			v.starts[first.key] = sampler.Observation{}
		}
	}
	more, err := v.apart(ctx, n-len(out))
	return join(out, more, err)
}

// ExpectedImprovement implements sampler.Expecter where the sampler does: what
// is still to be gained is reckoned with all that was measured.
func (s *Sampler) ExpectedImprovement(ctx context.Context, history []sampler.Observation, pending []space.Point) (part float64, known bool, err error) {
	e, ok := s.inner.(sampler.Expecter)
	if !ok {
		return 0, false, nil
	}
	return e.ExpectedImprovement(ctx, history, pending)
}

// join adds points to those there are. That none is left matters only if there
// are none.
func join(out, more []space.Point, err error) ([]space.Point, error) {
	if errors.Is(err, sampler.ErrExhausted) && len(out) > 0 {
		return out, nil
	}
	return append(out, more...), err
}

// A view is a history taken apart: what the sampler has chosen for itself, and
// what became of the starts.
type view struct {
	*Sampler
	own    []sampler.Observation
	flight []space.Point
	// starts holds those that are taken; without a number while in flight.
	starts map[valid.Key]sampler.Observation
}

func (s *Sampler) view(history []sampler.Observation, pending []space.Point) *view {
	v := &view{Sampler: s, starts: map[valid.Key]sampler.Observation{}}
	for _, p := range pending {
		if key, is := s.start(p); is {
			v.starts[key] = sampler.Observation{}
		} else {
			v.flight = append(v.flight, p)
		}
	}
	for _, o := range history {
		if key, is := s.start(o.Point); is {
			v.starts[key] = o
		} else {
			v.own = append(v.own, o)
		}
	}
	return v
}

// start says whether a point is one of the starts.
func (s *Sampler) start(p space.Point) (valid.Key, bool) {
	vec, err := s.set.Vec(p)
	if err != nil {
		return valid.Key{}, false
	}
	key := s.set.Key(vec)
	return key, s.known[key]
}

// apart asks the sampler as if there were no starts. One that it chooses by
// itself it learns of: that is measured, or in flight, already.
func (v *view) apart(ctx context.Context, n int) ([]space.Point, error) {
	history, flight := v.own, v.flight
	var out []space.Point
	// Every round brings a point of its own or learns of a start.
	for range n + len(v.starts) {
		if len(out) == n {
			break
		}
		points, err := v.inner.Propose(ctx, history, flight, n-len(out))
		if err != nil {
			return join(out, nil, err)
		}
		for _, p := range points {
			key, is := v.start(p)
			switch o := v.starts[key]; {
			case !is:
				out, flight = append(out, p), slices.Concat(flight, []space.Point{p})
			case o.Number > 0:
				history = slices.Concat(history, []sampler.Observation{o})
			default:
				flight = slices.Concat(flight, []space.Point{p})
			}
		}
	}
	return out, nil
}
