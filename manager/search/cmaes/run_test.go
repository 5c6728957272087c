package cmaes

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/floats"
	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
)

// begun is a run over d continuous parameters that has seen nothing yet.
func begun(t rapid.TB, s space.Space, population int) *run {
	t.Helper()
	c, err := New(sampler.Problem{Space: s})
	if err != nil {
		t.Fatal(err)
	}
	start, ok := c.set.Sample(rand.New(rand.NewPCG(1, 1)))
	if !ok {
		t.Fatal("the space is empty")
	}
	r := c.newSearch().newRun(start, population, 0.25)
	r.generation = 1
	return r
}

// spread is how much wider the distribution is along the first parameter than
// along the second.
func (r *run) spread() float64 { return r.cov.At(0, 0) / r.cov.At(1, 1) }

// Chosen steps that cancel out move nothing and leave no path: what they say of
// the shape comes by each of them (the rank-µ update).
func TestShapeFollowsTheChosenSteps(t *testing.T) {
	r := begun(t, box(space.Continuous, 2), 8)
	r.adapt([][]float64{{1.5, 0}, {-1.5, 0}, {1.5, 0}, {-1.5, 0}}, nil, []float64{0.25, 0.25, 0.25, 0.25})
	if got := r.spread(); got < 1.1 {
		t.Errorf("after steps along one axis the distribution is %.3f as wide along it", got)
	}
}

// One chosen step a generation says nothing of the shape by itself; that the
// steps go on in one direction does (the rank-one update).
func TestShapeFollowsThePath(t *testing.T) {
	r := begun(t, box(space.Continuous, 2), 2)
	for range 5 {
		r.adapt([][]float64{{1, 0}}, nil, []float64{1})
		r.generation++
		r.decompose()
	}
	if got := r.spread(); got < 1.1 {
		t.Errorf("after a walk along one axis the distribution is %.3f as wide along it", got)
	}
	if r.sigma <= 0.25 {
		t.Errorf("a walk in one direction leaves the deviation at %v", r.sigma)
	}
}

// What was worse narrows the distribution where it lies, whether it was measured
// or failed.
func TestShapeAvoidsTheOthers(t *testing.T) {
	trial := func(number int, at []float64, losses ...float64) sampler.Trial {
		return sampler.Trial{Number: number, Vec: at, Losses: losses, Infeasible: losses == nil}
	}
	for name, failed := range map[string]bool{"worse": false, "failed": true} {
		r := begun(t, box(space.Continuous, 2), 6)
		r.mean = []float64{0.5, 0.5}
		group := []sampler.Trial{trial(1, []float64{3, 3}, 1), trial(2, []float64{-3, -3}, 2), trial(3, []float64{3, -3}, 3)}
		for i, at := range [][]float64{{8, 0}, {-8, 0}, {9, 0}} {
			if failed {
				group = append(group, trial(4+i, at))
			} else {
				group = append(group, trial(4+i, at, 9))
			}
		}
		r.learn(group)
		if got := r.spread(); got > 0.95 {
			t.Errorf("%s along one axis: the distribution is %.3f as wide along it", name, got)
		}
	}
}

// However far away a point was measured, and by whom: it moves the distribution
// no more than a step that it could have made itself.
func TestStepsFromElsewhereAreShortened(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := rapid.IntRange(1, 6).Draw(t, "parameters")
		r := begun(t, box(space.Continuous, d), 8)
		r.sigma = math.Pow(10, rapid.Float64Range(-8, 0).Draw(t, "log sigma"))
		at := make([]float64, d)
		for k := range at {
			at[k] = rapid.Float64Range(-10, 10).Draw(t, "coordinate")
		}
		n := float64(d)
		most := math.Sqrt(n) + 2*n/(n+2)
		if got := floats.Norm(r.step(&sampler.Trial{Number: 1, Vec: at}), 2); got > most*(1+1e-9) {
			t.Fatalf("a step of %v deviations, want at most %v", got, most)
		}
	})
}

// A generation that failed throughout was too far out.
func TestDrawsTogetherWhereAllFails(t *testing.T) {
	r := begun(t, box(space.Continuous, 2), 4)
	mean := append([]float64(nil), r.mean...)
	var group []sampler.Trial
	for i := range 4 {
		group = append(group, sampler.Trial{Number: i + 1, Vec: []float64{float64(i), 1}, Infeasible: true})
	}
	r.learn(group)
	if r.sigma >= 0.25 || !floats.Equal(r.mean, mean) {
		t.Errorf("deviation %v around %v, was 0.25 around %v", r.sigma, r.mean, mean)
	}
}

// A lost worker says nothing of a point: the search goes on as without it.
func TestLostTrialsTeachNothing(t *testing.T) {
	s := box(space.Continuous, 3)
	obs := explore(t, s, sphere, 1, 60, 1)
	with := append([]sampler.Observation(nil), obs...)
	for i := range 30 {
		with = append(with, sampler.Observation{Number: 61 + i, Point: obs[i].Point, Outcome: experiment.OutcomeLost})
	}
	c, err := New(sampler.Problem{Space: s, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	state := func(history []sampler.Observation) run {
		c.past.Read(history)
		search := c.newSearch()
		search.follow(c.past.Trials())
		return *search.run
	}
	a, b := state(obs), state(with)
	if a.generation != b.generation || a.sigma != b.sigma || !floats.Equal(a.mean, b.mean) {
		t.Errorf("generation %d with deviation %v, with lost trials %d with %v", a.generation, a.sigma, b.generation, b.sigma)
	}
}

// kindsOf is a space of unordered parameters of four values each.
func kindsOf(n int) space.Space {
	var s space.Space
	for k := range n {
		s.Parameters = append(s.Parameters, space.Parameter{Name: string(rune('a' + k)), Type: space.Choice, Values: []any{"p", "q", "r", "s"}})
	}
	return s
}

// Values of an unordered parameter gain chances when they are chosen, and none
// ever loses all of its own.
func TestChancesMoveAndAreKept(t *testing.T) {
	r := begun(t, kindsOf(2), 6)
	var group []sampler.Trial
	for i := range 6 {
		group = append(group, sampler.Trial{Number: i + 1, Vec: []float64{float64(min(i/3, 1)), float64(i % 4)}, Losses: []float64{float64(i)}})
	}
	before := r.chance[0][0]
	r.learn(group)
	if r.chance[0][0] <= before {
		t.Errorf("the value of the best points had a chance of %v, has %v", before, r.chance[0][0])
	}
	for range 300 {
		r.learn(group)
	}
	// CatCMA, section 4.3: all values but one at the margin.
	least := (1 - math.Pow(0.73, 0.5)) / 3
	for v, p := range r.chance[0] {
		if p < 0.9*least {
			t.Errorf("value %d has a chance of %v, want at least %v", v, p, least)
		}
	}
	if r.chance[0][0] < 0.8 {
		t.Errorf("the value of all best points has a chance of %v", r.chance[0][0])
	}
}

// Populations double while both kinds of run have used as much; a kind that has
// used less is next.
func TestRestartsTakeTurns(t *testing.T) {
	c, err := New(sampler.Problem{Space: box(space.Continuous, 3)})
	if err != nil {
		t.Fatal(err)
	}
	s, usual := c.newSearch(), c.options.Population
	for _, times := range []int{2, 4, 8} {
		if s.restart(); s.inSmall || s.run.population != times*usual {
			t.Errorf("a restart has a population of %d, want %d", s.run.population, times*usual)
		}
	}
	s.large = 500
	if s.restart(); !s.inSmall || s.run.population < usual || s.run.population > 4*usual || s.run.sigma > c.options.Sigma {
		t.Errorf("after long runs of large populations comes one of %d with deviation %v", s.run.population, s.run.sigma)
	}
	s.small = 501
	if s.restart(); s.inSmall || s.run.population != 16*usual {
		t.Errorf("after long runs of small populations comes one of %d", s.run.population)
	}
}

// A distribution that is narrower than what is free around it is widened until
// it finds something.
func TestNarrowDistributionsAreWidened(t *testing.T) {
	for name, s := range map[string]space.Space{"integers": box(space.Integer, 2), "choices": kindsOf(1)} {
		c, err := New(sampler.Problem{Space: s, Options: map[string]json.RawMessage{"startup": json.RawMessage("1")}})
		if err != nil {
			t.Fatal(err)
		}
		var taken []space.Point
		c.search = c.newSearch()
		if name == "integers" {
			for i := range 25 {
				taken = append(taken, space.Point{"a": int64(i/5 - 2), "b": int64(i%5 - 2)})
			}
			c.search.run = c.search.newRun([]float64{10, 10}, 8, 0.005)
		} else {
			taken = append(taken, space.Point{"a": "p"})
			c.search.run = c.search.newRun([]float64{0}, 8, 0.005)
			c.search.run.chance[0] = []float64{1, 0, 0, 0}
		}
		if v, ok := c.sample(sampler.NewPicker(c.set, c.past, taken)); !ok {
			t.Errorf("%s: nothing is found beside what is taken: %v", name, v)
		}
	}
}
