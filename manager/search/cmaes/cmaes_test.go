package cmaes

import (
	"context"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// box is a space of parameters of one kind between -10 and 10.
func box(kind space.Type, d int) space.Space {
	var s space.Space
	for k := range d {
		s.Parameters = append(s.Parameters, space.Parameter{Name: string(rune('a' + k)), Type: kind, Low: -10, High: 10})
	}
	return s
}

func values(p space.Point) []float64 {
	out := make([]float64, 0, len(p))
	for k := range len(p) {
		switch v := p[string(rune('a'+k))].(type) {
		case int64:
			out = append(out, float64(v))
		case float64:
			out = append(out, v)
		}
	}
	return out
}

func sphere(p space.Point) float64 {
	sum := 0.0
	for _, v := range values(p) {
		sum += (v - 3) * (v - 3)
	}
	return sum
}

// ellipsoid has axes that differ by a hundred and lie across the parameters.
func ellipsoid(p space.Point) float64 {
	x, sum := values(p), 0.0
	for k := range x {
		turned := (x[k] - 2) + (x[(k+1)%len(x)] - 2)
		sum += math.Pow(100, float64(k)/float64(len(x)-1)) * turned * turned
	}
	return sum
}

// best is the median over seeds of the best loss that a budget finds.
func best(t *testing.T, s space.Space, f func(space.Point) float64, budget, batch int) float64 {
	t.Helper()
	var found []float64
	for seed := range int64(9) {
		low := math.Inf(1)
		for _, o := range explore(t, s, f, seed, budget, batch) {
			low = min(low, o.Values[0])
		}
		found = append(found, low)
	}
	slices.Sort(found)
	return found[len(found)/2]
}

func explore(t *testing.T, s space.Space, f func(space.Point) float64, seed int64, budget, batch int) []sampler.Observation {
	t.Helper()
	c, err := New(sampler.Problem{Space: s, Seed: seed, Objectives: []task.Objective{{Metric: "loss", Direction: task.Minimize}}})
	if err != nil {
		t.Fatal(err)
	}
	var obs []sampler.Observation
	for len(obs) < budget {
		points, err := c.Propose(context.Background(), obs, nil, batch)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range points {
			obs = append(obs, sampler.Observation{Number: len(obs) + 1, Point: p, Values: []float64{f(p)}, Outcome: experiment.OutcomeSuccess})
		}
	}
	return obs
}

// TestFindsTheBottom holds what it finds on functions whose bottom is 0 against
// bounds; uniform draws find about 29 on the sphere.
func TestFindsTheBottom(t *testing.T) {
	for _, c := range []struct {
		name   string
		space  space.Space
		f      func(space.Point) float64
		budget int
		batch  int
		most   float64
	}{
		{"sphere", box(space.Continuous, 5), sphere, 100, 1, 5},
		{"sphere", box(space.Continuous, 5), sphere, 400, 1, 1e-3},
		{"sphere of integers", box(space.Integer, 5), sphere, 100, 1, 8},
		{"sphere in batches", box(space.Continuous, 5), sphere, 400, 16, 2e-2},
		{"ellipsoid", box(space.Continuous, 5), ellipsoid, 1500, 1, 1e-3},
	} {
		got := best(t, c.space, c.f, c.budget, c.batch)
		t.Logf("%s, %d points in batches of %d: %.3g", c.name, c.budget, c.batch, got)
		if got > c.most {
			t.Errorf("%s: found %g, want %g", c.name, got, c.most)
		}
	}
}

// TestRestarts searches a function with many valleys for long: runs converge,
// and others begin.
func TestRestarts(t *testing.T) {
	rastrigin := func(p space.Point) float64 {
		sum := 0.0
		for _, v := range values(p) {
			sum += v*v/10 + 1 - math.Cos(2*math.Pi*v/3)
		}
		return sum
	}
	s := box(space.Continuous, 3)
	obs := explore(t, s, rastrigin, 1, 3000, 10)
	c, err := New(sampler.Problem{Space: s, Seed: 1, Objectives: []task.Objective{{Metric: "loss", Direction: task.Minimize}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Propose(context.Background(), obs, nil, 1); err != nil {
		t.Fatal(err)
	}
	low := math.Inf(1)
	for _, o := range obs {
		low = min(low, o.Values[0])
	}
	t.Logf("%d restarts, %d points in runs of small populations, found %.3g", c.search.restarts, c.search.small, low)
	if c.search.restarts < 3 || c.search.small == 0 || low > 0.01 {
		t.Errorf("%d restarts, %d points in runs of small populations, found %g", c.search.restarts, c.search.small, low)
	}
}

// TestMarginIsKept takes distributions of any width: the chance to leave the
// present value never falls below the margin.
func TestMarginIsKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(3, 20).Draw(t, "values")
		s := space.Space{Parameters: []space.Parameter{{Name: "a", Type: space.Integer, Low: 0, High: float64(size - 1)}}}
		c, err := New(sampler.Problem{Space: s})
		if err != nil {
			t.Fatal(err)
		}
		r := c.newSearch().newRun([]float64{0}, 8, math.Pow(10, rapid.Float64Range(-6, 0).Draw(t, "log sigma")))
		r.mean[0] = rapid.Float64Range(-0.2, 1.2).Draw(t, "mean")
		r.margins()
		low, high := c.axes[0].span(c.axes[0].coordinate(r.mean[0]))
		if out := normal((low-r.mean[0])/r.deviation(0)) + normal((r.mean[0]-high)/r.deviation(0)); out < 0.999/8 {
			t.Fatalf("the chance to leave the value is %v, want 1/8", out)
		}
	})
}

func TestPlacesAndCoordinatesAreInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		low := float64(rapid.IntRange(1, 9).Draw(t, "low"))
		p := space.Parameter{Name: "a", Type: space.Integer, Low: low, High: low + float64(rapid.IntRange(2, 5000).Draw(t, "width")), Log: rapid.Bool().Draw(t, "log")}
		c, err := New(sampler.Problem{Space: space.Space{Parameters: []space.Parameter{p}}})
		if err != nil {
			t.Fatal(err)
		}
		a := &c.axes[0]
		rank := float64(rapid.IntRange(0, int(a.size)-1).Draw(t, "rank"))
		if got := a.coordinate(a.place(rank)); got != rank {
			t.Fatalf("rank %v of %v lies at %v, where rank %v is", rank, a.size, a.place(rank), got)
		}
		low, high := a.span(rank)
		for _, u := range []float64{0, 0.3, 1} {
			at := within(a.place(rank), 0.1, low, high, u)
			if at < low || at > high {
				t.Fatalf("%v is outside %v to %v", at, low, high)
			}
		}
	})
}

// TestMarginIsKeptThroughout looks at the distribution along a search where one
// integer matters much and continuous parameters go on: it would settle on one
// value of the integer long before the end.
func TestMarginIsKeptThroughout(t *testing.T) {
	s := box(space.Continuous, 4)
	s.Parameters[0] = space.Parameter{Name: "a", Type: space.Integer, Low: -3, High: 3}
	steep := func(p space.Point) float64 { return 1e6*math.Abs(values(p)[0]-2) + ellipsoid(p) }
	obs := explore(t, s, steep, 1, 400, 1)
	for n := 30; n < len(obs); n += 10 {
		c, err := New(sampler.Problem{Space: s, Seed: 1, Objectives: []task.Objective{{Metric: "loss", Direction: task.Minimize}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Propose(context.Background(), obs[:n], nil, 1); err != nil {
			t.Fatal(err)
		}
		r := c.search.run
		if r.generation == 0 {
			continue // a run that has just begun
		}
		low, high := c.axes[0].span(c.axes[0].coordinate(r.mean[0]))
		out := normal((low-r.mean[0])/r.deviation(0)) + normal((r.mean[0]-high)/r.deviation(0))
		if least := 0.999 / float64(len(r.mean)*r.population); out < least {
			t.Fatalf("after %d points the chance to leave the value is %v, want %v", n, out, least)
		}
	}
}
