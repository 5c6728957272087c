package sequence

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"sync"

	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/space"
)

// GridOptions are the settings of grid search.
type GridOptions struct {
	// Resolution is the number of values a continuous parameter without a step
	// is given, its ends included.
	Resolution int `json:"resolution"`
}

// Grid proposes every valid point in the order of the task file, the last
// parameter varying fastest. Continuous parameters without a step are cut into
// evenly spaced values (even ratios when log).
func Grid(p sampler.Problem) (sampler.Sampler, error) {
	cut, err := Cut(p)
	if err != nil {
		return nil, err
	}
	if p.Points == nil {
		p.Space = cut
	}
	set, err := p.Set()
	if err != nil {
		return nil, err
	}
	if set.Exact() {
		return newWalk(set, &p, func(i int64) (valid.Vec, bool, bool) {
			if i >= set.Len() {
				return nil, false, true
			}
			return set.At(i), true, false
		}, set.Len()), nil
	}
	return &backtrack{set: set, past: sampler.NewPast(set, &p)}, nil
}

// Cut is the space that grid search goes through.
func Cut(p sampler.Problem) (space.Space, error) {
	options := GridOptions{Resolution: 10}
	if err := p.Decode(&options); err != nil {
		return space.Space{}, err
	}
	if options.Resolution < 2 || options.Resolution > 10_000 {
		return space.Space{}, fmt.Errorf("resolution must be between 2 and 10000, not %d", options.Resolution)
	}
	return Discretize(p.Space, options.Resolution), nil
}

// Discretize turns continuous parameters without a step into choices of n
// values.
func Discretize(s space.Space, n int) space.Space {
	out := s
	out.Parameters = make([]space.Parameter, len(s.Parameters))
	for i, p := range s.Parameters {
		if p.Type == space.Continuous && p.Step == 0 && p.Low < p.High {
			values := make([]any, n)
			for k := range values {
				values[k] = between(p, float64(k)/float64(n-1))
			}
			p = space.Parameter{Name: p.Name, Type: space.Choice, Values: values, When: p.When}
		}
		out.Parameters[i] = p
	}
	return out
}

// between interpolates a parameter's range, rounded to ten digits so that
// files stay readable; the ends are kept as they are.
func between(p space.Parameter, u float64) float64 {
	switch u {
	case 0:
		return p.Low
	case 1:
		return p.High
	}
	v := p.Low + u*(p.High-p.Low)
	if p.Log {
		v = p.Low * math.Pow(p.High/p.Low, u)
	}
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 10, 64), 64)
	if err != nil || rounded <= p.Low || rounded >= p.High {
		return v
	}
	return rounded
}

// backtrack walks a set that has no index. It remembers the first point that
// is not in the history, a memo of the last history read.
type backtrack struct {
	set *valid.Set

	mu       sync.Mutex
	past     *sampler.Past
	epoch    int
	frontier valid.Vec
}

// Propose implements sampler.Sampler.
func (b *backtrack) Propose(ctx context.Context, history []sampler.Observation, pending []space.Point, n int) ([]space.Point, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.past.Read(history)
	if e := b.past.Epoch(); e != b.epoch {
		b.epoch, b.frontier = e, nil
	}
	taken := map[valid.Key]struct{}{}
	for _, t := range b.past.Pending(pending) {
		taken[t.Key] = struct{}{}
	}
	var out []space.Point
	first := true
	for v := range b.set.All(b.frontier) {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("choosing points: %w", err)
		}
		if len(out) >= n {
			break
		}
		key := b.set.Key(v)
		if b.past.Seen(key) {
			continue
		}
		if first {
			b.frontier, first = v, false
		}
		if _, ok := taken[key]; !ok {
			out = append(out, b.set.Point(v))
		}
	}
	if len(out) == 0 && n > 0 {
		return nil, sampler.ErrExhausted
	}
	return out, nil
}
