package evolve

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/space"
)

// LocalOptions are the settings of local search.
type LocalOptions struct {
	// Startup is the number of points drawn uniformly before the search begins.
	Startup int `json:"startup"`
	// Restart is the share of points drawn uniformly later on, to leave the
	// valley of the best point.
	Restart float64 `json:"restart"`
	// Leaders is the number of best points whose neighbours are looked at, in
	// order, once those of the better ones are all measured.
	Leaders int `json:"leaders"`
}

// Local implements sampler.Sampler: it measures the neighbours of the best
// point, those that differ in one parameter, in random order.
type Local struct {
	problem sampler.Problem
	options LocalOptions
	set     *valid.Set

	mu   sync.Mutex
	past *sampler.Past
}

// NewLocal prepares local search.
func NewLocal(p sampler.Problem) (*Local, error) {
	l := &Local{problem: p, options: LocalOptions{Startup: 10, Restart: 0.1, Leaders: 10}}
	if err := p.Decode(&l.options); err != nil {
		return nil, err
	}
	if l.options.Startup < 1 || l.options.Leaders < 1 || l.options.Restart < 0 || l.options.Restart > 1 {
		return nil, fmt.Errorf("startup and leaders must be at least 1, and restart between 0 and 1")
	}
	set, err := p.Set()
	if err != nil {
		return nil, err
	}
	l.set, l.past = set, sampler.NewPast(set, &p)
	return l, nil
}

// Propose implements sampler.Sampler.
func (l *Local) Propose(ctx context.Context, history []sampler.Observation, pending []space.Point, n int) ([]space.Point, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.past.Read(history)
	leaders := sampler.Leaders(l.past.Trials(), l.options.Leaders)
	return propose(ctx, l.set, l.past, pending, l.problem.Seed, n, func(p *sampler.Picker, rng *rand.Rand) (valid.Vec, bool) {
		if p.Count() < l.options.Startup || rng.Float64() < l.options.Restart {
			return nil, false
		}
		for _, leader := range leaders {
			var free []valid.Vec
			for _, w := range l.set.Neighbors(leader, rng) {
				if p.Free(l.set.Key(w)) {
					free = append(free, w)
				}
			}
			if len(free) > 0 {
				return free[rng.IntN(len(free))], true
			}
		}
		return nil, false
	})
}
