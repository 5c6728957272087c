package search_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// kernel is a space with constraints, a condition and every kind of domain.
func kernel() space.Space {
	return space.Space{
		Parameters: []space.Parameter{
			{Name: "tile_m", Type: space.Choice, Values: []any{int64(16), int64(32), int64(64), int64(128)}},
			{Name: "tile_n", Type: space.Integer, Low: 8, High: 64, Step: 8},
			{Name: "algo", Type: space.Choice, Values: []any{"direct", "fft", "winograd"}},
			{Name: "radix", Type: space.Choice, Values: []any{int64(2), int64(4), int64(8)}, When: `algo == "fft"`},
			{Name: "unroll", Type: space.Boolean},
		},
		Constraints: []string{"tile_m * tile_n <= 2048", `unroll or algo != "winograd"`},
	}
}

func mixed() space.Space {
	s := kernel()
	s.Parameters = append(s.Parameters, space.Parameter{Name: "rate", Type: space.Continuous, Low: 0.001, High: 1, Log: true})
	s.Constraints = append(s.Constraints, "rate * tile_m < 16")
	return s
}

func huge() space.Space {
	var s space.Space
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		s.Parameters = append(s.Parameters, space.Parameter{Name: name, Type: space.Integer, Low: 1, High: 100})
	}
	s.Constraints = []string{"a * b <= 5000", "c % d == 0 or e > f"}
	return s
}

func single() space.Space {
	return space.Space{Parameters: []space.Parameter{{Name: "a", Type: space.Integer, Low: 1, High: 8}}, Constraints: []string{"a == 3"}}
}

// loss is a made-up landscape.
func loss(p space.Point) float64 {
	sum := 1.0
	for _, v := range p {
		switch v := v.(type) {
		case int64:
			sum += math.Abs(math.Log2(float64(v)) - 4)
		case float64:
			sum += math.Abs(v - 0.1)
		case string:
			sum += float64(len(v)) / 10
		}
	}
	return sum
}

// history runs a sampler against loss: some points fail, some give NaN.
func history(t *testing.T, s search.Sampler, from []search.Observation, rounds, n int, objectives int) []search.Observation {
	t.Helper()
	for range rounds {
		points, err := s.Propose(context.Background(), from, nil, n)
		if errors.Is(err, search.ErrExhausted) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range points {
			from = append(from, observe(len(from)+1, p, objectives))
		}
	}
	return from
}

func observe(number int, p space.Point, objectives int) search.Observation {
	// Samplers pass constraints over where the problem names none.
	o := search.Observation{Number: number, Point: p, Outcome: experiment.OutcomeSuccess, Constraints: missed(number, p)}
	switch {
	case number%7 == 3:
		o.Outcome, o.Constraints = experiment.OutcomeOutOfMemory, nil
		return o
	case number%11 == 5:
		o.Outcome, o.Constraints = experiment.OutcomeLost, nil
		return o
	case number%13 == 6:
		o.Values = slices.Repeat([]float64{math.NaN()}, objectives)
		return o
	case number%5 == 0:
		o.Values = slices.Repeat([]float64{2}, objectives) // ties
		return o
	}
	for i := range objectives {
		o.Values = append(o.Values, loss(p)*float64(1-2*i)+float64(i))
	}
	return o
}

// bounded adds two measured constraints.
func bounded(p search.Problem) search.Problem {
	p.Constraints = []string{"latency", "memory"}
	return p
}

// missed are the constraints of a point, some of them not measured.
func missed(number int, p space.Point) []float64 {
	switch {
	case number%9 == 2:
		return nil
	case number%8 == 1:
		return []float64{math.NaN(), 0.5}
	}
	return []float64{loss(p)/8 - 1, 1 - loss(p)/4}
}

func problem(s space.Space, objectives int) search.Problem {
	p := search.Problem{Space: s, Seed: 7, Budget: 100}
	for range objectives {
		p.Objectives = append(p.Objectives, task.Objective{Metric: "time", Direction: task.Minimize})
	}
	return p
}

// each runs a test on every strategy, in every space, with one objective and
// several, with and without measured constraints.
func each(t *testing.T, f func(t *testing.T, strategy string, p search.Problem)) {
	for _, strategy := range search.Strategies() {
		t.Run(strategy.Name, func(t *testing.T) {
			for name, s := range map[string]space.Space{"kernel": kernel(), "mixed": mixed(), "huge": huge(), "single": single()} {
				t.Run(name, func(t *testing.T) { f(t, strategy.Name, problem(s, 1)) })
			}
			t.Run("two objectives", func(t *testing.T) { f(t, strategy.Name, problem(kernel(), 2)) })
			t.Run("three objectives", func(t *testing.T) { f(t, strategy.Name, problem(kernel(), 3)) })
			t.Run("five objectives", func(t *testing.T) { f(t, strategy.Name, problem(kernel(), 5)) })
			t.Run("constraints", func(t *testing.T) { f(t, strategy.Name, bounded(problem(kernel(), 1))) })
			t.Run("two objectives and constraints", func(t *testing.T) { f(t, strategy.Name, bounded(problem(kernel(), 2))) })
		})
	}
}

func create(t *testing.T, strategy string, p search.Problem) search.Sampler {
	t.Helper()
	if i := slices.IndexFunc(search.Strategies(), func(s search.Strategy) bool { return s.Name == strategy }); search.Strategies()[i].Levels {
		p.Fidelity = levels()
	}
	s, err := search.New(strategy, p)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func keys(s space.Space, points []space.Point) []string {
	out := make([]string, len(points))
	for i, p := range points {
		out[i] = s.Key(p)
	}
	return out
}

func TestProposalsAreValidAndNew(t *testing.T) {
	each(t, func(t *testing.T, strategy string, p search.Problem) {
		compiled, err := space.Compile(p.Space)
		if err != nil {
			t.Fatal(err)
		}
		obs := history(t, create(t, strategy, p), nil, 12, 3, len(p.Objectives))
		seen := map[string]bool{}
		for _, o := range obs {
			if err := compiled.Contains(o.Point); err != nil {
				t.Fatalf("%v: %v", o.Point, err)
			}
			if key := p.Space.Key(o.Point); seen[key] {
				t.Fatalf("%s was proposed twice", key)
			} else {
				seen[key] = true
			}
		}
		if len(obs) == 0 {
			t.Fatal("nothing was proposed")
		}
		// With points in flight: neither those nor what is measured, and valid.
		s := create(t, strategy, p)
		var flight []space.Point
		for range 3 {
			points, err := s.Propose(context.Background(), obs, flight, 4)
			if err != nil && !errors.Is(err, search.ErrExhausted) {
				t.Fatal(err)
			}
			for i, key := range keys(p.Space, points) {
				if seen[key] {
					t.Fatalf("%s was proposed while it is in flight, or after it was measured", key)
				}
				seen[key] = true
				if err := compiled.Contains(points[i]); err != nil {
					t.Fatalf("%v: %v", points[i], err)
				}
			}
			flight = append(flight, points...)
		}
	})
}

func TestProposalsArePure(t *testing.T) {
	each(t, func(t *testing.T, strategy string, p search.Problem) {
		ctx := context.Background()
		s := create(t, strategy, p)
		obs := history(t, s, nil, 9, 3, len(p.Objectives))
		pending, err := s.Propose(ctx, obs, nil, 2)
		if err != nil && !errors.Is(err, search.ErrExhausted) {
			t.Fatal(err)
		}
		want, wantErr := s.Propose(ctx, obs, pending, 4)

		shuffled := make([]search.Observation, len(obs))
		for i, k := range rand.New(rand.NewPCG(1, 2)).Perm(len(obs)) {
			shuffled[i] = obs[k]
		}
		reloaded := slices.Clone(obs)
		for i := range reloaded { // as after a restart: other maps, same values
			point := space.Point{}
			for k, v := range obs[i].Point {
				point[k] = v
			}
			reloaded[i].Point = point
		}
		used := create(t, strategy, p)
		history(t, used, nil, 3, 5, len(p.Objectives)) // another history first
		if _, err := used.Propose(ctx, obs[:len(obs)/2], nil, 1); err != nil && !errors.Is(err, search.ErrExhausted) {
			t.Fatal(err)
		}
		slices.Reverse(pending)
		for name, got := range map[string]func() ([]space.Point, error){
			"again":     func() ([]space.Point, error) { return s.Propose(ctx, obs, pending, 4) },
			"fresh":     func() ([]space.Point, error) { return create(t, strategy, p).Propose(ctx, reloaded, pending, 4) },
			"shuffled":  func() ([]space.Point, error) { return create(t, strategy, p).Propose(ctx, shuffled, pending, 4) },
			"used":      func() ([]space.Point, error) { return used.Propose(ctx, obs, pending, 4) },
			"re-loaded": func() ([]space.Point, error) { return s.Propose(ctx, reloaded, pending, 4) },
		} {
			points, err := got()
			if !errors.Is(err, wantErr) || !slices.Equal(keys(p.Space, points), keys(p.Space, want)) {
				t.Errorf("%s: %v %v\nwant %v %v", name, keys(p.Space, points), err, keys(p.Space, want), wantErr)
			}
		}
	})
}

// TestMemoIsNoState asks one sampler about histories that do not continue each
// other, and a fresh one about each. Some tell the same points, the very maps,
// with other values, other constraints or other outcomes.
func TestMemoIsNoState(t *testing.T) {
	for _, strategy := range search.Strategies() {
		t.Run(strategy.Name, func(t *testing.T) {
			p := bounded(problem(kernel(), 1))
			s := create(t, strategy.Name, p)
			obs := history(t, s, nil, 9, 3, 1)
			retold := func(change func(*search.Observation)) []search.Observation {
				out := slices.Clone(obs)
				for i := range out {
					change(&out[i])
				}
				return out
			}
			for _, h := range []struct {
				name string
				obs  []search.Observation
			}{{"nothing", nil}, {"a part", obs[5:20]}, {"all", obs},
				{"other values", retold(func(o *search.Observation) {
					if o.Values != nil {
						o.Values = []float64{100 - loss(o.Point)}
					}
				})}, {"all again", obs},
				{"other constraints", retold(func(o *search.Observation) {
					if o.Constraints != nil {
						o.Constraints = []float64{-loss(o.Point) / 8, loss(o.Point) - 3}
					}
				})}, {"all once more", obs},
				{"other outcomes", retold(func(o *search.Observation) {
					switch o.Outcome {
					case experiment.OutcomeLost:
						o.Outcome = experiment.OutcomeFailed
					case experiment.OutcomeOutOfMemory:
						o.Outcome = experiment.OutcomeLost
					default:
					}
				})}} {
				got, err := s.Propose(context.Background(), h.obs, nil, 4)
				if err != nil {
					t.Fatal(err)
				}
				want, err := create(t, strategy.Name, p).Propose(context.Background(), h.obs, nil, 4)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(keys(p.Space, got), keys(p.Space, want)) {
					t.Errorf("%s: %v, a fresh sampler gives %v", h.name, keys(p.Space, got), keys(p.Space, want))
				}
			}
		})
	}
}

func TestSeedChangesTheChoice(t *testing.T) {
	for _, strategy := range search.Strategies() {
		if strategy.Name == "grid_search" {
			continue
		}
		p := problem(kernel(), 1)
		a, err := create(t, strategy.Name, p).Propose(context.Background(), nil, nil, 10)
		if err != nil {
			t.Fatal(err)
		}
		p.Seed++
		b, err := create(t, strategy.Name, p).Propose(context.Background(), nil, nil, 10)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Equal(keys(p.Space, a), keys(p.Space, b)) {
			t.Errorf("%s: seeds 7 and 8 give the same points", strategy.Name)
		}
	}
}

func TestSpacesAreExhausted(t *testing.T) {
	for _, strategy := range search.Strategies() {
		t.Run(strategy.Name, func(t *testing.T) {
			p := problem(kernel(), 1)
			count, err := search.Count(p.Space)
			if err != nil {
				t.Fatal(err)
			}
			s := create(t, strategy.Name, p)
			obs := history(t, s, nil, 1000, 16, 1)
			if float64(len(obs)) != count.Valid {
				t.Errorf("%d of %v points were proposed", len(obs), count.Valid)
			}
			if _, err := s.Propose(context.Background(), obs, nil, 1); !errors.Is(err, search.ErrExhausted) {
				t.Errorf("after the last point: %v", err)
			}
		})
	}
}

func TestThousandsOfPendingPoints(t *testing.T) {
	for _, strategy := range search.Strategies() {
		t.Run(strategy.Name, func(t *testing.T) {
			p := problem(huge(), 1)
			s := create(t, strategy.Name, p)
			pending, err := s.Propose(context.Background(), nil, nil, 4096)
			if err != nil || len(pending) != 4096 {
				t.Fatalf("%d points, %v", len(pending), err)
			}
			more, err := s.Propose(context.Background(), nil, pending, 64)
			if err != nil || len(more) != 64 {
				t.Fatalf("%d points, %v", len(more), err)
			}
			seen := map[string]bool{}
			for _, key := range keys(p.Space, append(pending, more...)) {
				if seen[key] {
					t.Fatalf("%s is pending twice", key)
				}
				seen[key] = true
			}
		})
	}
}

func TestBaselineOutsideTheSpaceIsTolerated(t *testing.T) {
	for _, strategy := range search.Strategies() {
		s := create(t, strategy.Name, problem(kernel(), 1))
		obs := []search.Observation{{Number: 1, Point: space.Point{"tile_m": int64(7)}, Values: []float64{1}, Outcome: experiment.OutcomeSuccess}}
		if points, err := s.Propose(context.Background(), obs, nil, 3); err != nil || len(points) != 3 {
			t.Errorf("%s: %v, %v", strategy.Name, points, err)
		}
	}
}

func TestGridFollowsTheFile(t *testing.T) {
	s := space.Space{
		Parameters: []space.Parameter{
			{Name: "b", Type: space.Choice, Values: []any{int64(8), int64(2)}},
			{Name: "a", Type: space.Continuous, Low: 1, High: 100, Log: true},
		},
		Constraints: []string{"a > 5 or b == 2"},
	}
	points, err := create(t, "grid_search", problem(s, 1)).Propose(context.Background(), nil, nil, 100)
	if err != nil {
		t.Fatal(err)
	}
	if got := keys(s, points)[:2]; !slices.Equal(got, []string{`{"b":8,"a":7.742636827}`, `{"b":8,"a":12.91549665}`}) || len(points) != 16 {
		t.Errorf("%d points, first %v", len(points), got)
	}
}

func TestUnknownNamesAreSuggested(t *testing.T) {
	if _, err := search.New("gird_search", problem(kernel(), 1)); err == nil || err.Error() != `no strategy is named "gird_search"; did you mean "grid_search"?` {
		t.Error(err)
	}
	p := problem(kernel(), 1)
	p.Options = map[string]json.RawMessage{"resolutoin": []byte("3")}
	if _, err := search.New("grid_search", p); err == nil || err.Error() != `preparing grid_search: the sampler has no option "resolutoin"; did you mean "resolution"?` {
		t.Error(err)
	}
}
