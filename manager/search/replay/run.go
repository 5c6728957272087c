package replay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
)

// Settings of a comparison.
type Settings struct {
	Samplers []string
	Seeds    int
	// Budget of evaluations. On a table with levels it is a cost: a rough
	// measurement is a part of an evaluation.
	Budget int
	// Batch points are proposed together and their results told together.
	Batch int
}

// A Result is what one sampler did on one table over all seeds.
type Result struct {
	Table   string `json:"table"`
	Sampler string `json:"sampler"`
	Size    int    `json:"size"`
	Seeds   int    `json:"seeds"`
	Budget  int    `json:"budget"`
	Batch   int    `json:"batch"`
	// EvaluationsTo tells, for 10, 5 and 1 percent, how many evaluations it
	// took to come that close to the optimum; on a table with levels, what they
	// cost in full measurements until one of these was that close.
	EvaluationsTo map[string]Reach `json:"evaluations_to"`
	// BestAt is optimum over best so far after so many evaluations, the mean
	// over the seeds; 0 until something succeeded.
	BestAt map[string]float64 `json:"best_at"`
	Ask    Latency            `json:"ask_ms"`
	// MemoryMB is the largest heap in use seen during the runs.
	MemoryMB float64 `json:"memory_mb"`
	// Violations and Repeats count proposals outside the table and proposals
	// made before; a sound sampler has none.
	Violations int     `json:"violations"`
	Repeats    int     `json:"repeats"`
	Seconds    float64 `json:"seconds"`
}

// Reach says when a goal was reached: quartiles of the evaluations over all
// seeds (null where that share of seeds did not get there) and the share that did.
type Reach struct {
	Median *float64 `json:"median"`
	Q1     *float64 `json:"q1"`
	Q3     *float64 `json:"q3"`
	Share  float64  `json:"share"`
}

// Latency of asking for one batch, in milliseconds.
type Latency struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

func goals() []int       { return []int{10, 5, 1} }
func checkpoints() []int { return []int{10, 20, 50, 100, 200} }

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
	total := Result{Table: t.Name, Sampler: name, Size: len(t.row), Seeds: s.Seeds, Budget: s.Budget, Batch: s.Batch,
		EvaluationsTo: map[string]Reach{}, BestAt: map[string]float64{}}
	reached := map[int][]float64{}
	var asks []float64
	for seed := range s.Seeds {
		r, err := run(ctx, t, name, int64(seed), s)
		if err != nil {
			return Result{}, err
		}
		for _, goal := range goals() {
			reached[goal] = append(reached[goal], r.reached(float64(goal)))
		}
		for _, at := range checkpoints() {
			if at <= s.Budget {
				total.BestAt[fmt.Sprint(at)] += r.at(at) / float64(s.Seeds)
			}
		}
		asks = append(asks, r.asks...)
		total.Violations += r.violations
		total.Repeats += r.repeats
		total.MemoryMB = max(total.MemoryMB, r.memory)
	}
	for _, goal := range goals() {
		total.EvaluationsTo[fmt.Sprint(goal)] = summarize(reached[goal])
	}
	slices.Sort(asks)
	total.Ask = Latency{P50: quantile(asks, 0.5), P99: quantile(asks, 0.99)}
	total.Seconds = time.Since(begin).Seconds()
	return total, nil
}

// trace is one run: the best share of the optimum after each evaluation, and
// what all have cost until then, in full measurements.
type trace struct {
	best       []float64
	cost       []float64
	asks       []float64
	violations int
	repeats    int
	memory     float64
}

// at is the best share of the optimum after n evaluations.
func (r *trace) at(n int) float64 {
	share := 0.0
	for i, b := range r.best {
		if r.cost[i] > float64(n)+1e-9 {
			break
		}
		share = b
	}
	return share
}

// spent is what all evaluations have cost so far.
func (r *trace) spent() float64 {
	if len(r.cost) == 0 {
		return 0
	}
	return r.cost[len(r.cost)-1]
}

// reached is the number of evaluations until within percent of the optimum.
func (r *trace) reached(percent float64) float64 {
	for i, b := range r.best {
		if b >= 1/(1+percent/100) {
			return r.cost[i]
		}
	}
	return math.Inf(1)
}

func run(ctx context.Context, t *Table, name string, seed int64, s Settings) (*trace, error) {
	problem := search.Problem{Space: t.Space, Objectives: []task.Objective{t.Objective}, Seed: seed, Budget: s.Budget, Points: t.set}
	if climbs(name) && t.Fidelity != nil {
		problem.Fidelity, problem.Budget = t.Fidelity, 0 // its budget is a cost
	}
	sampler, err := search.New(name, problem)
	if err != nil {
		return nil, err
	}
	r := &trace{}
	var history []search.Observation
	best := 0.0
	for r.spent() < float64(s.Budget) {
		begin := time.Now()
		points, err := search.Propose(ctx, sampler, history, nil, min(s.Batch, int(math.Ceil(float64(s.Budget)-r.spent()))))
		r.asks = append(r.asks, time.Since(begin).Seconds()*1000)
		if errors.Is(err, search.ErrExhausted) {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(points) == 0 {
			return nil, errors.New("the sampler waits, and nothing is pending")
		}
		for _, p := range points {
			o, ok := t.look(p, len(history)+1)
			if !ok {
				if r.violations++; r.violations > 100*s.Budget {
					return nil, errors.New("the sampler proposes hardly any point of the table")
				}
			}
			if slices.ContainsFunc(history, func(h search.Observation) bool { return h.Point.Equal(p.Point) && h.Fidelity == p.Fidelity }) {
				r.repeats++
			}
			history = append(history, o)
			if len(o.Values) > 0 && p.Fidelity == 0 {
				best = max(best, t.relative(o.Values[0]))
			}
			r.best, r.cost = append(r.best, best), append(r.cost, r.spent()+t.price(p.Fidelity))
		}
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	r.memory = float64(memory.HeapInuse) / (1 << 20)
	return r, nil
}

// price is what a measurement at a level costs, in full ones.
func (t *Table) price(level float64) float64 {
	if level == 0 {
		return 1
	}
	return level / t.Fidelity.Full()
}

// climbs says whether a sampler measures at several levels.
func climbs(name string) bool {
	return slices.ContainsFunc(search.Strategies(), func(s search.Strategy) bool { return s.Name == name && s.Levels })
}

// look finds a point's row; ok is false when the table has none.
func (t *Table) look(p search.Proposal, number int) (o search.Observation, ok bool) {
	o = search.Observation{Number: number, Point: p.Point, Fidelity: p.Fidelity, Outcome: experiment.OutcomeFailed}
	vec, err := t.set.Vec(p.Point)
	if err != nil {
		return o, false
	}
	i, ok := t.row[t.set.Key(vec)]
	if !ok {
		return o, false
	}
	o.Outcome = t.Rows[i].Outcome
	if v := t.rough(&t.Rows[i], p.Fidelity); !math.IsNaN(v) {
		o.Outcome, o.Values = experiment.OutcomeSuccess, []float64{v}
	}
	return o, true
}

// rough is a row's value at a level, or at the next higher one that the table
// has.
func (t *Table) rough(r *Row, level float64) float64 {
	if level != 0 {
		for _, l := range t.Fidelity.Levels {
			if v, ok := r.Rough[l]; ok && l >= level {
				return v
			}
		}
	}
	return r.Value
}

func summarize(reached []float64) Reach {
	slices.Sort(reached)
	r := Reach{Median: finite(quantile(reached, 0.5)), Q1: finite(quantile(reached, 0.25)), Q3: finite(quantile(reached, 0.75))}
	for _, n := range reached {
		if !math.IsInf(n, 1) {
			r.Share += 1 / float64(len(reached))
		}
	}
	return r
}

func finite(v float64) *float64 {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return nil
	}
	return &v
}

// quantile of sorted values, linear between neighbours (the default of NumPy
// and R).
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	at := q * float64(len(sorted)-1)
	low := int(at)
	if low+1 >= len(sorted) || at == float64(low) {
		return sorted[low]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}
