package replay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/experiment"
)

// Settings of a comparison.
type Settings struct {
	Samplers []string
	// Seeds are how many runs each has: with FirstSeed and those after it.
	Seeds     int
	FirstSeed int64
	// Budget of evaluations. On a table with levels it is a cost: a rough
	// measurement is a part of an evaluation.
	Budget int
	// Batch points are proposed together and their results told together.
	Batch int
	// Jobs are how many runs go on at a time; 1 when 0. Latencies and memory are
	// those of a run by itself only when it is 1.
	Jobs int
	// Progress is told of every run that has ended, one at a time; nil for nobody.
	Progress func(table, sampler string, done, of int)
}

// A Course is what one run evaluated, in order.
type Course struct {
	Evaluations []Evaluation
	// Asks are what each batch took to choose, in milliseconds.
	Asks []float64
	// Violations and Repeats are proposals that are no evaluations of their own:
	// of no row of the table, or made before.
	Violations int
	Repeats    int
	// MemoryMB is the heap in use at the end.
	MemoryMB float64
}

// An Evaluation is one row looked up, at a level or in full (0).
type Evaluation struct {
	Row   int // position in the table; -1 when it has no such point
	Level float64
}

// Compare runs every sampler on a table.
func Compare(ctx context.Context, t *Table, s Settings) ([]Result, error) {
	var out []Result
	for _, name := range s.Samplers {
		r, err := compare(ctx, t, name, s)
		if err != nil {
			return nil, fmt.Errorf("replaying %s on %s: %w", name, t.Name, err)
		}
		out = append(out, r)
	}
	return out, nil
}

func compare(ctx context.Context, t *Table, name string, s Settings) (Result, error) {
	begin := time.Now()
	courses := make([]Course, s.Seeds)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(s.Jobs, 1))
	var mu sync.Mutex
	done := 0
	for seed := range s.Seeds {
		group.Go(func() (err error) {
			if courses[seed], err = t.run(ctx, name, s.FirstSeed+int64(seed), s); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if done++; s.Progress != nil {
				s.Progress(t.Name, name, done, s.Seeds)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return Result{}, err
	}
	r := t.Judge(name, s, courses)
	r.Seconds = time.Since(begin).Seconds()
	return r, nil
}

// run searches the table once.
func (t *Table) run(ctx context.Context, name string, seed int64, s Settings) (c Course, err error) {
	problem := search.Problem{Space: t.Space, Objectives: t.Objectives, Seed: seed, Budget: s.Budget, Points: t.set}
	if climbs(name) && t.Fidelity != nil {
		problem.Fidelity, problem.Budget = t.Fidelity, 0 // its budget is a cost
	}
	sampler, err := search.New(name, problem)
	if err != nil {
		return c, mistake{err}
	}
	var history []search.Observation
	seen := map[look]bool{}
	spent := 0.0
	for spent < float64(s.Budget) {
		begin := time.Now()
		points, err := search.Propose(ctx, sampler, history, nil, min(s.Batch, int(math.Ceil(float64(s.Budget)-spent))))
		c.Asks = append(c.Asks, time.Since(begin).Seconds()*1000)
		if errors.Is(err, search.ErrExhausted) {
			break
		}
		if err != nil {
			return c, err
		}
		if len(points) == 0 {
			return c, errors.New("the sampler waits, and nothing is pending")
		}
		for _, p := range points {
			o, l, at := t.look(p, len(history)+1)
			if at < 0 {
				if c.Violations++; c.Violations > 100*s.Budget {
					return c, errors.New("the sampler proposes hardly any point of the table")
				}
			}
			if seen[l] {
				c.Repeats++
			}
			seen[l] = true
			history = append(history, o)
			c.Evaluations = append(c.Evaluations, Evaluation{at, p.Fidelity})
			spent += t.price(p.Fidelity)
		}
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	c.MemoryMB = float64(memory.HeapInuse) / (1 << 20)
	return c, nil
}

// climbs says whether a sampler measures at several levels.
func climbs(name string) bool {
	return slices.ContainsFunc(search.Strategies(), func(s search.Strategy) bool { return s.Name == name && s.Levels })
}

// A look is a point with the level that it is looked up at.
type look struct {
	key   valid.Key
	level float64
}

// look finds a point's row, and what its measurement tells the sampler; the
// position is -1 when the table has no such point.
func (t *Table) look(p search.Proposal, number int) (search.Observation, look, int) {
	o := search.Observation{Number: number, Point: p.Point, Fidelity: p.Fidelity, Outcome: experiment.OutcomeFailed}
	vec, err := t.set.Vec(p.Point)
	if err != nil {
		return o, look{level: p.Fidelity}, -1
	}
	l := look{t.set.Key(vec), p.Fidelity}
	i, ok := t.row[l.key]
	if !ok {
		return o, l, -1
	}
	o.Outcome = t.Rows[i].Outcome
	if v := t.rough(&t.Rows[i], p.Fidelity); v != nil {
		o.Outcome, o.Values = experiment.OutcomeSuccess, v
	}
	return o, l, i
}
