package gp

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/space"
)

// Options are the settings of the sampler.
type Options struct {
	// Startup is the number of points drawn uniformly before the model chooses.
	Startup int `json:"startup"`
	// Explore is the share of points drawn at random among those the model
	// chooses, for optima that nothing points to.
	Explore float64 `json:"explore"`
}

const (
	// enumerate is the size up to which every valid point is a candidate.
	enumerate = 50_000
	// solvedCells bounds candidates times points while all are candidates, over
	// all processes together.
	solvedCells = 4_000_000
	// valuePoints and failurePoints bound what each process is conditioned on,
	// before recent points; a task of ten thousand experiments stays cheap.
	valuePoints   = 240
	failurePoints = 100
	// fantasies bounds how many points in flight a proposal reckons with, and
	// how many points the model chooses in one proposal.
	fantasies = 64
	// fewest is the number of points that a process learns from at least.
	fewest = 3
)

// Sampler implements sampler.Sampler.
type Sampler struct {
	problem sampler.Problem
	options Options
	set     *valid.Set
	encoder *encoder
	dims    []dimension

	mu      sync.Mutex
	past    *sampler.Past
	all     *ground // every valid point, when that is few enough
	grounds int
	values  []model // one an objective, or one for all of them
	limits  []model // one a measured constraint
	failure model
}

// New prepares the sampler.
func New(p sampler.Problem) (*Sampler, error) {
	s := &Sampler{problem: p, options: Options{Startup: 6}}
	if err := p.Decode(&s.options); err != nil {
		return nil, err
	}
	if s.options.Startup < 1 || s.options.Explore < 0 || s.options.Explore > 1 {
		return nil, fmt.Errorf("startup must be at least 1 and explore between 0 and 1")
	}
	set, err := p.Set()
	if err != nil {
		return nil, err
	}
	s.set, s.encoder = set, newEncoder(set)
	s.dims = s.encoder.dims
	s.past = sampler.NewPast(set, &p)
	s.values = s.models(quantities(len(p.Objectives)), valuePoints)
	if len(s.values) == 1 {
		s.values[0].others = otherReadings // hypervolumes cost too much to weigh several
	}
	s.limits = s.models(len(p.Constraints), valuePoints)
	s.failure = s.models(1, failurePoints)[0]
	return s, nil
}

func (s *Sampler) models(n, most int) []model {
	out := make([]model, n)
	for i := range out {
		out[i] = model{dims: s.dims, most: most}
	}
	return out
}

// Enumerates says whether every valid point is a candidate.
func (s *Sampler) Enumerates() bool { return s.set.Exact() && s.set.Len() <= enumerate }

// Volume says whether points are chosen by the hypervolume of several objectives.
func (s *Sampler) Volume() bool { return len(s.values) > 1 }

// Propose implements sampler.Sampler.
func (s *Sampler) Propose(ctx context.Context, history []sampler.Observation, pending []space.Point, n int) ([]space.Point, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.past.Read(history)
	r := round{Sampler: s, ctx: ctx, trials: s.past.Trials(), Picker: sampler.NewPicker(s.set, s.past, pending)}
	return r.choose(n)
}

// Pick returns the one of some free points with the largest acquisition; false
// while too little is known to tell. It is as pure as Propose.
func (s *Sampler) Pick(ctx context.Context, history []sampler.Observation, pending []space.Point, among []valid.Vec) (valid.Vec, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.past.Read(history)
	r := round{Sampler: s, ctx: ctx, trials: s.past.Trials(), Picker: sampler.NewPicker(s.set, s.past, pending), among: among}
	if len(among) == 0 || !r.prepare() {
		return nil, false
	}
	offered := make(map[valid.Key]struct{}, len(among))
	for _, v := range among {
		offered[s.set.Key(v)] = struct{}{}
	}
	order := r.ground.top(1, r.views, func(k valid.Key) bool { _, ok := offered[k]; return ok && r.Free(k) })
	if len(order) == 0 {
		return nil, false
	}
	return r.ground.points[order[0]], true
}

// round is one proposal in the making.
type round struct {
	*Sampler
	*sampler.Picker
	ctx    context.Context
	trials []sampler.Trial
	wanted int // points to choose
	ready  bool
	usable bool
	among  []valid.Vec // what may be chosen; nil means any point
	flight []sampler.Trial
	rows   [][]float64 // features of flight
	ground *ground
	views  []view
}

// view is what the processes say by one reading of their parameters. A point
// counts by its gain over all views (Snoek, Larochelle and Adams, "Practical
// Bayesian optimization of machine learning algorithms", 2012), which keeps a
// batch of early points from following one reading that happens to be wrong.
type view struct {
	goals []*belief
	gain  gain
}

func (r *round) choose(n int) ([]space.Point, error) {
	r.wanted = min(n, fantasies)
	var out []space.Point
	for len(out) < n {
		if err := r.ctx.Err(); err != nil {
			return nil, fmt.Errorf("choosing points: %w", err)
		}
		v, ok := r.next(len(out))
		if !ok {
			break
		}
		r.Take(v)
		out = append(out, r.set.Point(v))
	}
	if len(out) == 0 && n > 0 {
		return nil, sampler.ErrExhausted
	}
	return out, nil
}

// next chooses one point.
func (r *round) next(chosen int) (valid.Vec, bool) {
	rng := rand.New(rand.NewPCG(uint64(r.problem.Seed), uint64(r.Count())))
	if r.Count() < r.options.Startup || chosen >= fantasies || rng.Float64() < r.options.Explore {
		return r.Draw()
	}
	if !r.prepare() {
		return r.Draw()
	}
	if len(r.views[0].goals) == 0 && r.Count()%2 == 0 {
		return r.Draw() // all that is known is where it fails
	}
	if v, ok := r.maximize(); ok {
		return v, true
	}
	return r.Draw()
}

// prepare trains the models once a round; false when too little is known.
func (r *round) prepare() bool {
	if r.ready {
		return r.usable
	}
	r.ready = true
	goals, limits := r.objectives(), r.constraints()
	failures, failing := r.failures()
	if len(goals) == 0 || len(goals[0].y) < fewest {
		goals = nil
	}
	if len(r.dims) == 0 || goals == nil && (!failing || len(failures.y) < fewest) {
		return false
	}
	lessons, learned := make([]lesson, len(goals)), len(failures.y)
	for k, d := range goals {
		lessons[k] = r.values[k].train(d)
		learned = len(lessons[k].y)
	}
	r.flight = r.Flight()
	r.flight = r.flight[:min(len(r.flight), fantasies)]
	for _, t := range r.flight {
		r.rows = append(r.rows, r.encoder.row(t.Vec))
	}
	if !failing {
		failures = lesson{}
	}
	l := known{goals: lessons, failures: failures}
	for k, d := range limits {
		if len(d.y) >= fewest {
			l.limits = append(l.limits, limit{k, r.limits[k].train(d)})
		}
	}
	g, all := r.candidates((learned + len(r.flight)) * max(len(goals)+len(limits), 1))
	r.look(g, l)
	for climb := 0; climb < climbs && !all && r.among == nil; climb++ {
		if g = r.higher(); g == nil {
			break
		}
		r.look(g, l)
	}
	r.usable = true
	return true
}

// known is what the models were trained on in a round.
type known struct {
	goals    []lesson
	limits   []limit
	failures lesson // empty when nothing failed
}

// limit is what the model of a constraint was trained on.
type limit struct {
	model  int
	lesson lesson
}

// look brings the models to a list of candidates.
func (r *round) look(g *ground, l known) {
	r.ground, r.views = g, []view{{}}
	points, most := len(r.flight)+r.wanted, 1
	if len(l.goals) > 0 {
		points += len(l.goals[0].y)
		most = solvedCells / (len(g.points) * points * len(l.goals))
	}
	for k := range l.goals {
		for i, m := range r.values[k].readings(most) {
			if i == len(r.views) {
				r.views = append(r.views, view{})
			}
			r.views[i].goals = append(r.views[i].goals, m.condition(l.goals[k], r.flight, r.rows, g))
		}
	}
	for _, limit := range l.limits {
		g.keep(r.limits[limit.model].condition(limit.lesson, r.flight, r.rows, g))
	}
	if len(l.failures.y) > 0 {
		g.work(r.failure.condition(l.failures, r.flight, r.rows, g))
	}
	for i := range r.views {
		w := &r.views[i]
		for _, b := range w.goals {
			b.posterior.means(b.values, b.mean)
		}
		w.gain = r.improvement(w.goals)
	}
}

// maximize returns the free candidate of the largest acquisition, and
// conditions the models on it.
func (r *round) maximize() (valid.Vec, bool) {
	g := r.ground
	order := g.top(1, r.views, r.Free)
	if len(order) == 0 {
		return nil, false
	}
	at := order[0]
	for i := range r.views {
		w := &r.views[i]
		believed := make([]float64, len(w.goals))
		for k, b := range w.goals {
			believed[k] = b.mean[at]
			b.posterior.add(r.encoder.row(g.points[at]))
			b.conditioned = append(b.conditioned, g.keys[at])
		}
		w.gain = w.gain.believe(believed)
	}
	return g.points[at], true
}
