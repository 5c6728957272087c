package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// cost is what asking takes once so many results are known.
type cost struct {
	Sampler string `json:"sampler"`
	Results int    `json:"results"`
	Batch   int    `json:"batch"`
	// Ask is the median time of asking after one more result, Most the longest:
	// some samplers learn every few results only. First is that of the first
	// question after a restart, which reads the whole history; in ms.
	Ask   float64 `json:"ask_ms"`
	Most  float64 `json:"most_ask_ms"`
	First float64 `json:"first_ask_ms"`
	// Memory in use behind it, in MB.
	Memory float64 `json:"memory_mb"`
}

// asks is how many questions are timed: more than the points of a generation of
// cma_es, which learns once in so many.
const asks = 15

// made is a space like that of a kernel: eight ordinal parameters and two
// constraints, a few hundred thousand valid points.
func made() space.Space {
	var s space.Space
	for i := range 8 {
		p := space.Parameter{Name: fmt.Sprintf("p%d", i), Type: space.Choice}
		for v := range 6 {
			p.Values = append(p.Values, int64(1)<<v)
		}
		s.Parameters = append(s.Parameters, p)
	}
	s.Constraints = []string{"p0 * p1 <= 256", "p2 * p3 * p4 <= 4096"}
	return s
}

func value(p space.Point, rng *rand.Rand) float64 {
	sum := 1.0
	for i := range 8 {
		v, _ := p[fmt.Sprintf("p%d", i)].(int64)
		d := math.Log2(float64(v)) - float64(i%5)
		sum += d * d * float64(1+i%3)
	}
	return sum * (1 + 0.02*rng.NormFloat64())
}

func costs(ctx context.Context, samplers []string) ([]cost, error) {
	history, err := results(ctx, 10_000+2*asks)
	if err != nil {
		return nil, err
	}
	var list []cost
	for _, name := range samplers {
		for _, n := range []int{100, 1000, 10_000} {
			for _, batch := range []int{1, 32} {
				c, err := ask(ctx, name, history, n, batch)
				if err != nil {
					return nil, fmt.Errorf("%s with %d results: %w", name, n, err)
				}
				list = append(list, c)
			}
		}
	}
	return list, nil
}

func problem(budget int) search.Problem {
	return search.Problem{Space: made(), Objectives: []task.Objective{{Metric: "time", Direction: task.Minimize}}, Seed: 1, Budget: budget}
}

func results(ctx context.Context, n int) ([]search.Observation, error) {
	s, err := search.New("random", problem(n))
	if err != nil {
		return nil, err
	}
	points, err := s.Propose(ctx, nil, nil, n)
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(1, 2))
	list := make([]search.Observation, len(points))
	for i, p := range points {
		list[i] = search.Observation{Number: i + 1, Point: p, Values: []float64{value(p, rng)}, Outcome: experiment.OutcomeSuccess}
	}
	return list, nil
}

func ask(ctx context.Context, name string, history []search.Observation, n, batch int) (cost, error) {
	c := cost{Sampler: name, Results: n, Batch: batch}
	s, err := search.New(name, problem(2*len(history)))
	if err != nil {
		return c, err
	}
	var times []float64
	for i := range asks + 1 {
		begin := time.Now()
		if _, err := s.Propose(ctx, history[:n+i], nil, batch); err != nil {
			return c, err
		}
		times = append(times, float64(time.Since(begin).Microseconds())/1000)
	}
	c.First = times[0]
	slices.Sort(times[1:])
	c.Ask, c.Most = times[1+asks/2], times[asks]
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	c.Memory = float64(m.HeapAlloc) / (1 << 20)
	runtime.KeepAlive(s)
	return c, nil
}

// opening is what it takes until the first point of a large space.
type opening struct {
	Points       float64 `json:"valid_points"`
	Milliseconds float64 `json:"ms"`
}

func open() (opening, error) {
	var s space.Space
	for i := range 12 {
		p := space.Parameter{Name: fmt.Sprintf("p%d", i), Type: space.Choice}
		for v := range 5 {
			p.Values = append(p.Values, int64(1)<<v)
		}
		s.Parameters = append(s.Parameters, p)
	}
	s.Constraints = []string{"p0 * p1 * p2 <= 64", "p3 * p4 <= 32", "p5 + p6 + p7 <= 24", "p8 * p9 * p10 <= 128"}
	begin := time.Now()
	n, err := search.Count(s)
	if err != nil {
		return opening{}, err
	}
	points, err := search.First(s)
	if err != nil {
		return opening{}, err
	}
	for range points {
		break
	}
	return opening{Points: n.Valid, Milliseconds: float64(time.Since(begin).Microseconds()) / 1000}, nil
}

func costTargets(list []cost, o opening) []target {
	var out []target
	for _, c := range list {
		switch {
		case c.Sampler == "tpe" && c.Results == 10_000 && c.Batch == 1:
			out = append(out, atMost("tpe, ms at 10,000 results", 5, c.Ask))
		case c.Sampler == "bayesian" && c.Results == 1000 && c.Batch == 1:
			out = append(out, atMost("bayesian, ms at 1,000 results", 100, c.Ask))
		case c.Sampler == "bayesian" && c.Results == 10_000 && c.Batch == 1:
			out = append(out, atMost("bayesian, ms at 10,000 results", 250, c.Ask))
		}
	}
	return append(out, atMost("opening a large space, ms", 1000, o.Milliseconds))
}
