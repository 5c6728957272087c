package replay

import (
	"fmt"
	"math"
	"slices"

	"github.com/fleetune/fleetune/proto/task"
)

// A Result is what one sampler did on one table over all seeds.
type Result struct {
	Table   string `json:"table"`
	Sampler string `json:"sampler"`
	// Objectives of the table. With one, shares are of the optimum: optimum over
	// best so far, turned where more is better. With several they are of the
	// hypervolume of the table's front, whose reference is the worst value of each.
	Objectives []task.Objective `json:"objectives"`
	Size       int              `json:"size"`
	Seeds      int              `json:"seeds"`
	FirstSeed  int64            `json:"first_seed"`
	Budget     int              `json:"budget"`
	Batch      int              `json:"batch"`
	// EvaluationsTo tells, for 10, 5 and 1 percent, how many evaluations it
	// took to come that close; on a table with levels, what they cost in full
	// measurements until one of these was that close.
	EvaluationsTo map[string]Reach `json:"evaluations_to"`
	// BestAt is the share that was found after so many evaluations, the mean over
	// the seeds; 0 until something succeeded.
	BestAt map[string]float64 `json:"best_at"`
	Ask    Latency            `json:"ask_ms"`
	// MemoryMB is the largest heap in use seen at the end of a run.
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

// Judge sums up what a sampler evaluated in its runs.
func (t *Table) Judge(name string, s Settings, courses []Course) Result {
	total := Result{Table: t.Name, Sampler: name, Objectives: t.Objectives, Size: len(t.row), Seeds: len(courses), FirstSeed: s.FirstSeed, Budget: s.Budget, Batch: s.Batch,
		EvaluationsTo: map[string]Reach{}, BestAt: map[string]float64{}}
	reached := map[int][]float64{}
	var asks []float64
	for _, c := range courses {
		m := t.measure(c)
		for _, goal := range goals() {
			reached[goal] = append(reached[goal], m.reached(float64(goal)))
		}
		for _, at := range checkpoints() {
			if at <= s.Budget {
				total.BestAt[fmt.Sprint(at)] += m.at(at) / float64(len(courses))
			}
		}
		asks = append(asks, c.Asks...)
		total.Violations += c.Violations
		total.Repeats += c.Repeats
		total.MemoryMB = max(total.MemoryMB, c.MemoryMB)
	}
	for _, goal := range goals() {
		total.EvaluationsTo[fmt.Sprint(goal)] = summarize(reached[goal])
	}
	slices.Sort(asks)
	total.Ask = Latency{P50: orZero(quantile(asks, 0.5)), P99: orZero(quantile(asks, 0.99))}
	return total
}

// measured is the share found after each evaluation of a run, and what all have
// cost until then, in full measurements.
type measured struct {
	share []float64
	cost  []float64
}

func (t *Table) measure(c Course) measured {
	m := measured{share: make([]float64, len(c.Evaluations)), cost: make([]float64, len(c.Evaluations))}
	found := finding{scale: &t.scale}
	spent := 0.0
	for i, e := range c.Evaluations {
		if e.Row >= 0 && e.Level == 0 {
			found.add(t.Rows[e.Row].Values)
		}
		spent += t.price(e.Level)
		m.share[i], m.cost[i] = found.share, spent
	}
	return m
}

// at is the share after n evaluations.
func (m *measured) at(n int) float64 {
	share := 0.0
	for i, s := range m.share {
		if m.cost[i] > float64(n)+1e-9 {
			break
		}
		share = s
	}
	return share
}

// reached is the number of evaluations until within percent.
func (m *measured) reached(percent float64) float64 {
	for i, s := range m.share {
		if s >= 1/(1+percent/100) {
			return m.cost[i]
		}
	}
	return math.Inf(1)
}

func summarize(reached []float64) Reach {
	slices.Sort(reached)
	r := Reach{Median: finite(quantile(reached, 0.5)), Q1: finite(quantile(reached, 0.25)), Q3: finite(quantile(reached, 0.75))}
	got := 0
	for _, n := range reached {
		if !math.IsInf(n, 1) {
			got++
		}
	}
	r.Share = float64(got) / float64(max(len(reached), 1))
	return r
}

func finite(v float64) *float64 {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return nil
	}
	return &v
}

func orZero(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return v
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
