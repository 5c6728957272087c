package gp

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
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
	// solvedCells bounds candidates times points while all are candidates.
	solvedCells = 4_000_000
	// valuePoints and failurePoints bound what each process is conditioned on,
	// before recent points; a task of ten thousand experiments stays cheap.
	valuePoints   = 240
	failurePoints = 100
	// fantasies bounds how many points in flight a proposal reckons with, and
	// how many points the model chooses in one proposal.
	fantasies = 64
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
	value   model
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
	s.value = model{dims: s.dims, most: valuePoints}
	s.failure = model{dims: s.dims, most: failurePoints}
	return s, nil
}

// Enumerates says whether every valid point is a candidate.
func (s *Sampler) Enumerates() bool { return s.set.Exact() && s.set.Len() <= enumerate }

// Propose implements sampler.Sampler.
func (s *Sampler) Propose(ctx context.Context, history []sampler.Observation, pending []space.Point, n int) ([]space.Point, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.past.Read(history)
	r := round{Sampler: s, ctx: ctx, trials: s.past.Trials(), Picker: sampler.NewPicker(s.set, s.past, pending)}
	return r.choose(n)
}

// round is one proposal in the making.
type round struct {
	*Sampler
	*sampler.Picker
	ctx    context.Context
	trials []sampler.Trial
	ready  bool
	usable bool
	ground *ground
	y      []float64
	best   float64
}

func (r *round) choose(n int) ([]space.Point, error) {
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
	values := r.values()
	if len(values.y) < 3 || len(r.dims) == 0 {
		return false
	}
	used, y := r.value.train(values)
	failures, labels, failing := r.failures()
	flight := r.Flight()
	if len(flight) > fantasies {
		flight = flight[:fantasies]
	}
	rows := make([][]float64, len(flight))
	for i, t := range flight {
		rows[i] = r.encoder.row(t.Vec)
	}
	r.ground = r.candidates(len(used.y) + len(flight))
	r.value.condition(used, flight, rows, r.ground)
	r.y = r.value.posterior.whiten(y)
	r.best = slices.Min(y)
	if failing {
		r.failure.condition(failures, nil, nil, r.ground)
		r.ground.work(r.failure.posterior, r.failure.posterior.whiten(labels))
	}
	r.usable = true
	return true
}

// values are the data of the value model: y is what the parameters are fitted
// to, target what the process is conditioned on. They differ when there are
// several objectives: y weighs them evenly, target anew for each round.
func (r *round) values() data {
	var d data
	var losses [][]float64
	for _, t := range r.trials {
		if t.Losses == nil {
			continue
		}
		d.keys, d.rows = append(d.keys, t.Key), append(d.rows, r.encoder.row(t.Vec))
		losses = append(losses, t.Losses)
	}
	if len(losses) == 0 {
		return d
	}
	objectives := make([][]float64, len(losses[0]))
	for k := range objectives {
		column := make([]float64, len(losses))
		for i := range losses {
			column[i] = losses[i][k]
		}
		objectives[k] = warp(column)
	}
	if len(objectives) == 1 {
		d.y, d.target = objectives[0], objectives[0]
		return d
	}
	even := slices.Repeat([]float64{1 / float64(len(objectives))}, len(objectives))
	d.y, d.target = scalarize(objectives, even), scalarize(objectives, r.weights(len(objectives)))
	return d
}

// weights draws weights uniformly from the simplex.
func (r *round) weights(n int) []float64 {
	rng := rand.New(rand.NewPCG(uint64(r.problem.Seed)+2, uint64(r.Count())))
	w, total := make([]float64, n), 0.0
	for i := range w {
		w[i] = rng.ExpFloat64()
		total += w[i]
	}
	for i := range w {
		w[i] /= total
	}
	return w
}

// scalarize is the augmented weighted Chebyshev norm of the objectives, each
// scaled to the unit interval (Knowles, "ParEGO", 2006).
func scalarize(objectives [][]float64, weights []float64) []float64 {
	const augmentation = 0.05
	out, most := make([]float64, len(objectives[0])), make([]float64, len(objectives[0]))
	for k, column := range objectives {
		low, high := slices.Min(column), slices.Max(column)
		for i, v := range column {
			z := 0.0
			if high > low {
				z = weights[k] * (v - low) / (high - low)
			}
			most[i] = max(most[i], z)
			out[i] += augmentation * z
		}
	}
	for i := range out {
		out[i] += most[i]
	}
	return out
}

// warp takes logarithms where all values have one sign, since times and rates
// vary by factors, and then draws the worse half together: beyond the median
// it grows with the logarithm of the distance. How bad a bad point is says
// little about where the best are, and would stretch the scale the process
// works on. Losses are smaller when better, so a rate is negative here.
func warp(losses []float64) []float64 {
	out, _ := logarithms(losses)
	sorted := slices.Sorted(slices.Values(out))
	middle := sorted[len(sorted)/2]
	spread := middle - sorted[0]
	for i, v := range out {
		if v > middle && spread > 0 {
			out[i] = middle + spread*math.Log1p((v-middle)/spread)
		}
	}
	return out
}

// logarithms of values that all have one sign, with the sign kept; otherwise the
// values themselves, and false.
func logarithms(losses []float64) ([]float64, bool) {
	positive, negative := true, true
	for _, v := range losses {
		positive, negative = positive && v > 0, negative && v < 0
	}
	out := slices.Clone(losses)
	for i, v := range losses {
		switch {
		case positive:
			out[i] = math.Log(v)
		case negative:
			out[i] = -math.Log(-v)
		}
	}
	return out, positive || negative
}

// failures are the data of the failure model: 1 for configurations that
// worked, -1 for those that failed, around an optimistic mean.
func (r *round) failures() (d data, labels []float64, failing bool) {
	for _, t := range r.trials {
		label := 1.0
		switch {
		case t.Infeasible:
			label, failing = -1, true
		case t.Losses == nil:
			continue
		}
		d.keys, d.rows, d.y = append(d.keys, t.Key), append(d.rows, r.encoder.row(t.Vec)), append(d.y, label)
	}
	if !failing {
		return data{}, nil, false
	}
	d, _ = r.failure.train(d)
	labels = make([]float64, len(d.y))
	for i, label := range d.y {
		labels[i] = label - optimism
	}
	return d, labels, true
}

// optimism is the prior mean of the failure model, between -1 and 1.
const optimism = 0.3

// maximize returns the free candidate of the largest acquisition, and
// conditions the model on it.
func (r *round) maximize() (valid.Vec, bool) {
	g := r.ground
	r.value.posterior.means(r.y, g.mean)
	best, at := math.Inf(-1), -1
	for i := range g.points {
		if !r.Free(g.keys[i]) {
			continue
		}
		a := logImprovement(r.best, g.mean[i], math.Sqrt(r.value.posterior.variance(i))) + g.works[i]
		if a > best || at < 0 {
			best, at = a, i
		}
	}
	if at < 0 {
		return nil, false
	}
	r.value.posterior.add(r.encoder.row(g.points[at]))
	r.value.conditioned = append(r.value.conditioned, g.keys[at])
	r.best = min(r.best, g.mean[at])
	return g.points[at], true
}
