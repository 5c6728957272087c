package search_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

func levels() *task.Fidelity {
	return &task.Fidelity{Name: "requests", Levels: []float64{10, 30, 90, 270}, Eta: 3}
}

// eachLevels runs a test on every strategy that climbs levels.
func eachLevels(t *testing.T, f func(t *testing.T, strategy string)) {
	for _, strategy := range search.Strategies() {
		if strategy.Levels {
			t.Run(strategy.Name, func(t *testing.T) { f(t, strategy.Name) })
		}
	}
}

// climb runs a sampler with a window: n points are asked for at a time, and of
// those in flight the oldest ends.
func climb(t *testing.T, s search.Sampler, p search.Problem, n int, end func(search.Observation) search.Observation) []search.Observation {
	t.Helper()
	var history, flight []search.Observation
	for number := 1; ; {
		room := min(n-len(flight), p.Budget-number+1)
		if room > 0 {
			chosen, err := search.Propose(context.Background(), s, history, flight, room)
			if err != nil && !errors.Is(err, search.ErrExhausted) {
				t.Fatal(err)
			}
			if len(chosen) > room {
				t.Fatalf("%d points, %d were asked for", len(chosen), room)
			}
			for _, c := range chosen {
				flight = append(flight, search.Observation{Number: number, Point: c.Point, Fidelity: c.Fidelity})
				number++
			}
		}
		if len(flight) == 0 {
			return history
		}
		history = append(history, end(flight[0]))
		flight = flight[1:]
	}
}

// rough measures a point: little fidelity shifts the value, and hides a little.
func rough(o search.Observation) search.Observation {
	o.Outcome, o.Values = experiment.OutcomeSuccess, []float64{loss(o.Point)}
	if o.Fidelity > 0 {
		o.Values[0] = o.Values[0]*1.3 + float64(o.Number%3)/o.Fidelity
	}
	if o.Number%7 == 3 {
		o.Outcome, o.Values = experiment.OutcomeOutOfMemory, nil
	}
	return o
}

// sound measures a point, at any level alike.
func sound(o search.Observation) search.Observation {
	o.Outcome, o.Values = experiment.OutcomeSuccess, []float64{loss(o.Point)}
	return o
}

func levelProblem(s space.Space, budget int) search.Problem {
	p := problem(s, 1)
	p.Fidelity, p.Budget = levels(), budget
	return p
}

func TestLevelsAreClimbed(t *testing.T) {
	eachLevels(t, func(t *testing.T, strategy string) {
		for _, n := range []int{1, 8} {
			p := levelProblem(huge(), 120)
			compiled, err := space.Compile(p.Space)
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			count := map[float64]int{}
			for _, o := range climb(t, create(t, strategy, p), p, n, rough) {
				if err := compiled.Contains(o.Point); err != nil {
					t.Fatal(err)
				}
				key := fmt.Sprint(p.Space.Key(o.Point), o.Fidelity)
				if seen[key] {
					t.Fatalf("%s was measured twice at that level", key)
				}
				seen[key] = true
				count[o.Fidelity]++
			}
			if count[10] <= count[30] || count[30] <= count[90] || count[90] <= 0 || count[0] == 0 {
				t.Errorf("measured by level: %v", count)
			}
			if len(seen) != p.Budget {
				t.Errorf("%d of %d experiments", len(seen), p.Budget)
			}
		}
	})
}

func TestLevelsArePure(t *testing.T) {
	eachLevels(t, func(t *testing.T, strategy string) {
		p := levelProblem(kernel(), 200)
		used := create(t, strategy, p)
		all := climb(t, used, p, 4, rough)
		for _, at := range []int{0, 1, 9, 30, len(all) / 2, len(all) - 3} {
			history, flight := all[:at], slices.Clone(all[at:at+3])
			for i := range flight {
				flight[i].Values, flight[i].Outcome = nil, ""
			}
			want, wantErr := search.Propose(context.Background(), used, history, flight, 5)
			shuffled := slices.Clone(history)
			rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			for i := range shuffled { // as after a restart
				shuffled[i].Point = clone(shuffled[i].Point)
			}
			slices.Reverse(flight)
			got, err := search.Propose(context.Background(), create(t, strategy, p), shuffled, flight, 5)
			if !errors.Is(err, wantErr) || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("after %d: %v %v\nwant %v %v", at, got, err, want, wantErr)
			}
		}
	})
}

func clone(p space.Point) space.Point {
	out := space.Point{}
	for k, v := range p {
		out[k] = v
	}
	return out
}

// Where the budget is larger than the space, every point is measured in full in
// the end; a space of one point too.
func TestLevelsOfSmallSpaces(t *testing.T) {
	eachLevels(t, func(t *testing.T, strategy string) {
		few := space.Space{Parameters: []space.Parameter{{Name: "a", Type: space.Integer, Low: 1, High: 5}}}
		for name, s := range map[string]space.Space{"one": single(), "five": few, "kernel": kernel()} {
			p := levelProblem(s, 1000)
			count, err := search.Count(s)
			if err != nil {
				t.Fatal(err)
			}
			full := 0
			for _, o := range climb(t, create(t, strategy, p), p, 3, sound) {
				if o.Fidelity == 0 {
					full++
				}
			}
			if float64(full) != count.Valid {
				t.Errorf("%s: %d of %v points were measured in full", name, full, count.Valid)
			}
		}
	})
}

// However short the budget, it buys one full measurement, if it buys the way
// up to it.
func TestLevelsReachTheTopInTime(t *testing.T) {
	eachLevels(t, func(t *testing.T, strategy string) {
		for budget := 4; budget < 30; budget += 6 {
			for _, n := range []int{1, 4, 16} {
				p := levelProblem(huge(), budget)
				full := 0
				all := climb(t, create(t, strategy, p), p, n, sound)
				for _, o := range all {
					if o.Fidelity == 0 {
						full++
					}
				}
				if full == 0 || len(all) != budget {
					t.Errorf("budget %d, %d at a time: %d of %d in full", budget, n, full, len(all))
				}
			}
		}
	})
}

// Where everything fails, the search goes on at the lowest level; it does not
// wait for what cannot come.
func TestLevelsWhereAllFails(t *testing.T) {
	eachLevels(t, func(t *testing.T, strategy string) {
		p := levelProblem(huge(), 60)
		all := climb(t, create(t, strategy, p), p, 5, func(o search.Observation) search.Observation {
			o.Outcome = experiment.OutcomeFailed
			return o
		})
		if len(all) != p.Budget {
			t.Errorf("%d of %d experiments", len(all), p.Budget)
		}
	})
}

func TestLevelsWithThousandsPending(t *testing.T) {
	eachLevels(t, func(t *testing.T, strategy string) {
		p := levelProblem(huge(), 0)
		s := create(t, strategy, p)
		var flight []search.Observation
		for range 4 {
			chosen, err := search.Propose(context.Background(), s, nil, flight, 1000)
			if err != nil || len(chosen) != 1000 {
				t.Fatalf("%d points, %v", len(chosen), err)
			}
			for _, c := range chosen {
				flight = append(flight, search.Observation{Number: len(flight) + 1, Point: c.Point, Fidelity: c.Fidelity})
			}
		}
		seen := map[string]bool{}
		for _, o := range flight {
			if key := p.Space.Key(o.Point); seen[key] {
				t.Fatalf("%s is pending twice", key)
			} else {
				seen[key] = true
			}
		}
	})
}

// A baseline is measured in full before anything else, and is no part of a
// bracket.
func TestLevelsBesideABaseline(t *testing.T) {
	eachLevels(t, func(t *testing.T, strategy string) {
		p := levelProblem(huge(), 60)
		s := create(t, strategy, p)
		base := []search.Observation{{Number: 1, Point: space.Point{"a": int64(1), "b": int64(1), "c": int64(1), "d": int64(1), "e": int64(2), "f": int64(1)},
			Outcome: experiment.OutcomeSuccess, Values: []float64{9}}}
		chosen, err := search.Propose(context.Background(), s, base, nil, 4)
		if err != nil || len(chosen) != 4 {
			t.Fatal(chosen, err)
		}
		for _, c := range chosen {
			if c.Fidelity != 10 {
				t.Errorf("a new point at %v", c.Fidelity)
			}
		}
	})
}

func TestFidelityAndStrategyMustFit(t *testing.T) {
	p := problem(kernel(), 1)
	if _, err := search.New("asha", p); err == nil {
		t.Error("asha without a fidelity")
	}
	p.Fidelity = levels()
	if _, err := search.New("bayesian", p); err == nil {
		t.Error("a fidelity that nothing uses")
	}
	p.Options = map[string]json.RawMessage{"sampler": json.RawMessage(`"hyperband"`)}
	if _, err := search.New("asha", p); err == nil {
		t.Error("a ladder on a ladder")
	}
	p.Options = map[string]json.RawMessage{"sampler": json.RawMessage(`"random"`)}
	if _, err := search.New("asha", p); err != nil {
		t.Error(err)
	}
}
