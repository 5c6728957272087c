package search_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
)

// ten is a space of ten parameters, about ten million valid points.
func ten() space.Space {
	var s space.Space
	for i := range 5 {
		s.Parameters = append(s.Parameters, space.Parameter{Name: fmt.Sprintf("t%d", i), Type: space.Choice, Values: []any{int64(1), int64(2), int64(4), int64(8), int64(16), int64(32)}})
	}
	for i := range 3 {
		s.Parameters = append(s.Parameters, space.Parameter{Name: fmt.Sprintf("n%d", i), Type: space.Integer, Low: 1, High: 8})
	}
	s.Parameters = append(s.Parameters, space.Parameter{Name: "fast", Type: space.Boolean},
		space.Parameter{Name: "algo", Type: space.Choice, Values: []any{"a", "b", "c", "d"}})
	s.Constraints = []string{"t0 * t1 <= 256", "t2 % t3 == 0", "t3 * t4 <= 128 or fast", "n0 * n1 <= 32"}
	return s
}

// BenchmarkAsk asks for points after so many results: cold as after a restart,
// warm as in a running task.
func BenchmarkAsk(b *testing.B) {
	set, err := valid.Of(ten())
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var all []search.Observation
	for i := range 10_064 {
		v, _ := set.Sample(rng)
		p := set.Point(v)
		o := search.Observation{Number: i + 1, Point: p, Outcome: experiment.OutcomeFailed}
		if rng.IntN(10) > 0 {
			o.Outcome, o.Values = experiment.OutcomeSuccess, []float64{loss(p)}
		}
		all = append(all, o)
	}
	p := problem(ten(), 1)
	for _, strategy := range search.Strategies() {
		for _, n := range []int{100, 1000, 10_000} {
			for _, batch := range []int{1, 32} {
				name := fmt.Sprintf("%s/results=%d/batch=%d", strategy.Name, n, batch)
				b.Run(name+"/warm", func(b *testing.B) {
					s, err := search.New(strategy.Name, p)
					if err != nil {
						b.Fatal(err)
					}
					k := 0
					for b.Loop() {
						if _, err := s.Propose(context.Background(), all[:n+k%64], nil, batch); err != nil {
							b.Fatal(err)
						}
						k++
					}
				})
				if batch == 1 {
					b.Run(name+"/cold", func(b *testing.B) {
						for b.Loop() {
							s, err := search.New(strategy.Name, p)
							if err != nil {
								b.Fatal(err)
							}
							if _, err := s.Propose(context.Background(), all[:n], nil, batch); err != nil {
								b.Fatal(err)
							}
						}
					})
				}
			}
		}
	}
}

// BenchmarkOpen prepares the valid set of a space of ten million points.
func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		set, err := valid.Of(ten())
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(set.Count().Valid, "points")
	}
}
