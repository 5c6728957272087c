package warm_test

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/manager/search/replay"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/manager/search/warm"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// bowl is a made-up kernel time over three parameters with its optimum at a.
func bowl(t *testing.T, a, b, c float64) *table {
	t.Helper()
	r := &replay.Table{Name: "bowl", Objectives: []task.Objective{{Metric: "time", Direction: task.Minimize}}}
	for _, name := range []string{"a", "b", "c"} {
		r.Space.Parameters = append(r.Space.Parameters, space.Parameter{Name: name, Type: space.Integer, Low: 0, High: 9})
	}
	for i := range int64(1000) {
		x, y, z := i/100, i/10%10, i%10
		value := 1 + math.Abs(float64(x)-a) + 0.5*math.Abs(float64(y)-b) + 0.2*(float64(z)-c)*(float64(z)-c) + 0.3*float64((x*y+z)%3)
		r.Rows = append(r.Rows, replay.Row{Point: space.Point{"a": x, "b": y, "c": z}, Values: []float64{value}, Outcome: experiment.OutcomeSuccess})
	}
	return load(t, r)
}

// Whatever the starts are, the search is nowhere worse than a cold one a batch
// before: it is that very search, a batch later, until the cold one would choose
// a start by itself, which this one knows already.
func TestNeverWorseThanTheFirstBatch(t *testing.T) {
	l := bowl(t, 3, 6, 2)
	const budget = 40
	for kind, starts := range map[string][]space.Point{
		"best":     l.top(warm.Most, 0),
		"inverted": l.top(warm.Most, 1),
		"misled":   l.top(warm.Most, 0.8),
		"similar":  bowl(t, 4, 6, 2).top(warm.Most, 0),
	} {
		k := warm.New(nil, l.set, starts).Starts()
		if k != warm.Most {
			t.Fatalf("%d starts", k)
		}
		for _, batch := range []int{1, 4} {
			for seed := range int64(3) {
				cold, chosen := l.search(t, seed, budget, batch, nil)
				got := l.run(t, seed, budget+k, batch, starts)
				for i := range cold {
					if slices.ContainsFunc(starts, func(p space.Point) bool { return maps.Equal(p, chosen[i].Point) }) {
						break
					}
					if got[i+k] < cold[i] && kind != "similar" && kind != "best" {
						t.Fatalf("%s, seed %d, batch %d: %.3f after %d, cold %.3f after %d", kind, seed, batch, got[i+k], i+1+k, cold[i], i+1)
					}
				}
				if kind == "best" && got[0] != 1 {
					t.Fatalf("the best point of the source is not measured first: %v", got[:k])
				}
			}
		}
	}
}

// A sampler is a function of its arguments: one that is made anew, at any
// moment, goes on alike, and the order of the history does not matter.
func TestPure(t *testing.T) {
	l := bowl(t, 3, 6, 2)
	starts := l.top(5, 0.3)
	fresh := func() *warm.Sampler {
		inner, err := search.New("bayesian", search.Problem{Space: l.Space, Objectives: l.Objectives, Seed: 3, Budget: 40, Points: l.set})
		if err != nil {
			t.Fatal(err)
		}
		return warm.New(inner, l.set, starts)
	}
	kept := fresh()
	var history []search.Observation
	for len(history) < 24 {
		pending := []space.Point{{"a": int64(9), "b": int64(9), "c": int64(9)}}
		points, err := kept.Propose(context.Background(), history, pending, 3)
		if err != nil {
			t.Fatal(err)
		}
		backwards := slices.Clone(history)
		slices.Reverse(backwards)
		again, err := fresh().Propose(context.Background(), backwards, pending, 3)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(points, again, space.Point.Equal) {
			t.Fatalf("after %d: %v, made anew %v", len(history), points, again)
		}
		for _, p := range points {
			if slices.ContainsFunc(history, func(o search.Observation) bool { return o.Point.Equal(p) }) {
				t.Fatalf("%v is proposed again", p)
			}
			vec, err := l.set.Vec(p)
			if err != nil {
				t.Fatal(err)
			}
			history = append(history, search.Observation{Number: len(history) + 1, Point: p, Outcome: experiment.OutcomeSuccess,
				Values: []float64{l.value[l.set.Key(vec)]}})
		}
	}
}

// A search that has starts covers all of its space, each point once.
func TestExhausts(t *testing.T) {
	s := space.Space{Parameters: []space.Parameter{{Name: "a", Type: space.Integer, Low: 1, High: 12}}}
	set, err := valid.Of(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, strategy := range []string{"bayesian", "tpe", "random", "local_search", "genetic"} {
		inner, err := search.New(strategy, search.Problem{Space: s, Objectives: []task.Objective{{Metric: "m", Direction: task.Minimize}}, Points: set})
		if err != nil {
			t.Fatal(err)
		}
		w := warm.New(inner, set, []space.Point{{"a": int64(7)}, {"a": int64(99)}, {"a": int64(7)}, {"a": int64(2)}})
		if w.Starts() != 2 {
			t.Fatalf("%d starts", w.Starts())
		}
		var history []search.Observation
		seen := map[any]bool{}
		for {
			points, err := w.Propose(context.Background(), history, nil, 5)
			if err != nil {
				if !errors.Is(err, search.ErrExhausted) {
					t.Fatal(err)
				}
				break
			}
			if len(points) == 0 {
				t.Fatalf("%s proposes nothing, with %d of 12 points measured", strategy, len(seen))
			}
			for _, p := range points {
				if seen[p["a"]] {
					t.Fatalf("%s proposes %v again", strategy, p)
				}
				seen[p["a"]] = true
				history = append(history, search.Observation{Number: len(history) + 1, Point: p, Outcome: experiment.OutcomeSuccess,
					Values: []float64{float64(p["a"].(int64))}})
			}
		}
		if len(seen) != 12 || history[0].Point["a"] != int64(7) || history[1].Point["a"] != int64(2) {
			t.Fatalf("%s: %d of 12 points, first %v", strategy, len(seen), history[:2])
		}
	}
}

// A listener keeps what another sampler was last asked with.
type listener struct {
	search.Sampler
	history []search.Observation
	flight  []space.Point
}

func (l *listener) Propose(ctx context.Context, history []search.Observation, pending []space.Point, n int) ([]space.Point, error) {
	l.history, l.flight = history, pending
	return l.Sampler.Propose(ctx, history, pending, n)
}

// A start that the sampler chooses by itself is told to it as it stands: with
// its result once there is one, in flight before.
func TestChosenStartsAreTold(t *testing.T) {
	s := space.Space{Parameters: []space.Parameter{{Name: "a", Type: space.Integer, Low: 1, High: 12}}}
	set, err := valid.Of(s)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := search.New("grid_search", search.Problem{Space: s, Points: set})
	if err != nil {
		t.Fatal(err)
	}
	first := space.Point{"a": int64(1)} // where a grid begins
	l := &listener{Sampler: inner}
	w := warm.New(l, set, []space.Point{first, {"a": int64(9)}})
	ask := func(history []search.Observation, pending []space.Point) {
		t.Helper()
		points, err := w.Propose(context.Background(), history, pending, 1)
		if err != nil || len(points) != 1 || points[0]["a"] != int64(2) {
			t.Fatalf("proposes %v, %v, want what the grid has after the start", points, err)
		}
	}
	nine := search.Observation{Number: 2, Point: space.Point{"a": int64(9)}, Values: []float64{9}, Outcome: experiment.OutcomeSuccess}
	ask([]search.Observation{nine}, []space.Point{first})
	if len(l.history) != 0 || len(l.flight) != 1 || !l.flight[0].Equal(first) {
		t.Errorf("of a start in flight it is told %v, in flight %v", l.history, l.flight)
	}
	ask([]search.Observation{{Number: 1, Point: first, Values: []float64{1}, Outcome: experiment.OutcomeSuccess}, nine}, nil)
	if len(l.flight) != 0 || len(l.history) != 1 || l.history[0].Number != 1 || len(l.history[0].Values) != 1 {
		t.Errorf("of a start with a result it is told %v, in flight %v", l.history, l.flight)
	}
}
