package gp

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/valid"
)

// Bounds that keep a proposal cheap.
const (
	fitPoints     = 100 // points the parameters are fitted to
	fitIterations = 25
	recentStep    = 40 // largest number of points between two fits
	certain       = 32 // points from which on the most likely parameters are taken for sure
	otherReadings = 4  // draws of other parameters before that
	drawSteps     = 6  // steps between two draws
)

// model is a process over one quantity with what it has computed for the last
// history. All it keeps is a function of its last arguments.
type model struct {
	dims []dimension
	// most is the number of points conditioned on, before recent ones.
	most int

	fitted      []valid.Key // what params was fitted to, with targets
	targets     []float64
	params      params
	version     int
	conditioned []valid.Key // the rows of posterior
	posterior   *posterior
	fitVersion  int
	ground      int
	// others is the number of draws; draws are processes with other parameters
	// that explain the values.
	others int
	draws  []*model
}

// readings are at most n processes that explain the values, the most likely
// one first. Few values can be explained in several ways.
func (m *model) readings(n int) []*model {
	return append([]*model{m}, m.draws[:max(min(n-1, len(m.draws)), 0)]...)
}

// checkpoint is the number of leading points that parameters are fitted to: it
// grows in steps of a sixth, so that most proposals reuse a fit and the fit
// depends on the history alone.
func checkpoint(n int) int {
	c := 1
	for {
		next := c + min(max(1, c/6), recentStep)
		if next > n {
			return c
		}
		c = next
	}
}

// data are the points a model learns from, in the order of their numbers.
type data struct {
	keys []valid.Key
	rows [][]float64
	y    []float64
	// target is what the process is conditioned on; nil means y.
	target []float64
	// feasible says which points meet the measured constraints; only the data of
	// objectives have it.
	feasible []bool
}

// A lesson is what a model was trained on: the data it is conditioned on, with
// the standardised values.
type lesson struct {
	data
	y            []float64
	mean, spread float64
	// all are the standardised values of all data, those left out included.
	all      []float64
	feasible []bool // of all data
}

// A belief is a process conditioned for one round.
type belief struct {
	*model
	lesson lesson
	values []float64 // whitened
	mean   []float64 // at the candidates
}

func (d *data) pick(indices []int) data {
	var out data
	for _, i := range indices {
		out.keys, out.rows, out.y = append(out.keys, d.keys[i]), append(out.rows, d.rows[i]), append(out.y, d.y[i])
		if d.target != nil {
			out.target = append(out.target, d.target[i])
		}
	}
	return out
}

// spread picks at most n of the first c points: half of them the best, the
// rest evenly over the others; in order.
func (d *data) spread(c, n int) []int {
	order := make([]int, c)
	for i := range order {
		order[i] = i
	}
	if c <= n {
		return order
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case d.y[a] < d.y[b]:
			return -1
		case d.y[a] > d.y[b]:
			return 1
		}
		return 0
	})
	picked := slices.Clone(order[:n/2])
	rest := order[n/2:]
	slices.Sort(rest)
	for k := range n - n/2 {
		picked = append(picked, rest[k*len(rest)/(n-n/2)])
	}
	slices.Sort(picked)
	return picked
}

// train fits the parameters and returns what to condition on.
func (m *model) train(all data) lesson {
	c := checkpoint(len(all.y))
	if !slices.Equal(m.fitted, all.keys[:c]) || !slices.Equal(m.targets, all.y[:c]) {
		m.fitted, m.targets = slices.Clone(all.keys[:c]), slices.Clone(all.y[:c])
		fit := all.pick(all.spread(c, fitPoints))
		m.fit(fit, c)
	}
	indices := all.spread(c, m.most)
	for i := c; i < len(all.y); i++ {
		indices = append(indices, i)
	}
	l := lesson{data: all.pick(indices), feasible: all.feasible}
	used, every := l.data.y, all.y
	if all.target != nil {
		used, every = l.target, all.target
	}
	l.mean, l.spread = moments(used)
	scale := func(values []float64) []float64 {
		out := make([]float64, len(values))
		for i, v := range values {
			out[i] = (v - l.mean) / l.spread
		}
		return out
	}
	l.y, l.all = scale(used), scale(every)
	return l
}

// fit fits the parameters to some of the first c points.
func (m *model) fit(d data, c int) {
	var dims []dimension
	var at []int
	for k, dim := range m.dims {
		if c >= dim.from {
			dims, at = append(dims, dim), append(at, k)
		}
	}
	rows := make([][]float64, len(d.rows))
	for i, x := range d.rows {
		for _, k := range at {
			rows[i] = append(rows[i], x[k])
		}
	}
	f := newFitter(dims, rows, standardize(d.y))
	best := f.fit(fitIterations)
	m.adopt(f.params(best), at)
	if c >= certain {
		m.draws = nil
		return
	}
	for i, theta := range f.draw(best, m.others, drawSteps, rand.New(rand.NewPCG(uint64(c), 0))) {
		if i == len(m.draws) {
			m.draws = append(m.draws, &model{dims: m.dims, most: m.most})
		}
		m.draws[i].adopt(f.params(theta), at)
	}
}

// adopt takes parameters for the dimensions at the given positions; the others
// say nothing.
func (m *model) adopt(p params, at []int) {
	weights := make([]float64, len(m.dims))
	for i, k := range at {
		weights[k] = p.weights[i]
	}
	p.weights = weights
	m.params = p
	m.version++
}

// condition brings the posterior over the candidates of a ground to the given
// points, reusing the leading ones it was conditioned on before.
func (m *model) condition(l lesson, pending []sampler.Trial, rows [][]float64, ground *ground) *belief {
	keys := slices.Clone(l.keys)
	for _, t := range pending {
		keys = append(keys, t.Key)
	}
	if m.posterior == nil || m.fitVersion != m.version || m.ground != ground.version {
		m.posterior = newPosterior(m.dims, m.params, ground.columns, len(ground.points))
		m.conditioned, m.fitVersion, m.ground = nil, m.version, ground.version
	}
	k := 0
	for k < len(keys) && k < len(m.conditioned) && keys[k] == m.conditioned[k] {
		k++
	}
	m.posterior.truncate(k)
	for i := k; i < len(keys); i++ {
		if i < len(l.rows) {
			m.posterior.add(l.rows[i])
		} else {
			m.posterior.add(rows[i-len(l.rows)])
		}
	}
	m.conditioned = keys
	return &belief{model: m, lesson: l, values: m.posterior.whiten(l.y), mean: make([]float64, len(ground.points))}
}

// standardize shifts and scales values to mean 0 and deviation 1.
func standardize(y []float64) []float64 {
	mean, deviation := moments(y)
	out := make([]float64, len(y))
	for i, v := range y {
		out[i] = (v - mean) / deviation
	}
	return out
}

func moments(y []float64) (mean, deviation float64) {
	for _, v := range y {
		mean += v / float64(len(y))
	}
	for _, v := range y {
		deviation += (v - mean) * (v - mean) / float64(len(y))
	}
	if deviation = math.Sqrt(deviation); deviation < 1e-12 {
		deviation = 1
	}
	return mean, deviation
}
