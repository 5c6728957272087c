package warm_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/manager/search/replay"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/manager/search/warm"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// A table is a recorded landscape that can be asked for points.
type table struct {
	*replay.Table
	set   *valid.Set
	value map[valid.Key]float64
	best  float64
}

func load(t *testing.T, r *replay.Table) *table {
	t.Helper()
	compiled, err := space.Compile(r.Space)
	if err != nil {
		t.Fatal(err)
	}
	points := make([]space.Point, len(r.Rows))
	for i := range r.Rows {
		points[i] = r.Rows[i].Point
	}
	set, err := valid.Table(compiled, points)
	if err != nil {
		t.Fatal(err)
	}
	l := &table{Table: r, set: set, value: map[valid.Key]float64{}, best: math.Inf(1)}
	for i := range r.Rows {
		vec, err := set.Vec(r.Rows[i].Point)
		if err != nil {
			t.Fatal(err)
		}
		v := valueOf(r.Rows[i])
		if r.Objectives[0].Direction == task.Maximize {
			v = 1 / v
		}
		l.value[set.Key(vec)] = v
		if !math.IsNaN(v) {
			l.best = min(l.best, v)
		}
	}
	return l
}

// valueOf is NaN for a configuration that failed.
func valueOf(r replay.Row) float64 {
	if r.Values == nil {
		return math.NaN()
	}
	return r.Values[0]
}

// top lists the best rows, or with from > 0 those from that share of the
// ranking on.
func (l *table) top(n int, from float64) []space.Point {
	var rows []replay.Row
	for _, r := range l.Rows {
		if r.Values != nil {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b replay.Row) int {
		c := cmp.Compare(a.Values[0], b.Values[0])
		if l.Objectives[0].Direction == task.Maximize {
			c = -c
		}
		return c
	})
	start := min(int(from*float64(len(rows))), len(rows)-n)
	var points []space.Point
	for _, r := range rows[start:min(start+n, len(rows))] {
		points = append(points, r.Point)
	}
	return points
}

// run searches and returns the best share of the optimum after each evaluation.
func (l *table) run(t *testing.T, seed int64, budget, batch int, starts []space.Point) []float64 {
	t.Helper()
	course, _ := l.search(t, seed, budget, batch, starts)
	return course
}

// search also returns what was chosen, in order.
func (l *table) search(t *testing.T, seed int64, budget, batch int, starts []space.Point) (course []float64, history []search.Observation) {
	t.Helper()
	inner, err := search.New("bayesian", search.Problem{Space: l.Space, Objectives: l.Objectives, Seed: seed, Budget: budget, Points: l.set})
	if err != nil {
		t.Fatal(err)
	}
	s := inner
	if starts != nil {
		s = warm.New(inner, l.set, starts)
	}
	best := 0.0
	for len(course) < budget {
		points, err := s.Propose(context.Background(), history, nil, min(batch, budget-len(course)))
		if errors.Is(err, search.ErrExhausted) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range points {
			vec, err := l.set.Vec(p)
			if err != nil {
				t.Fatal(err)
			}
			o := search.Observation{Number: len(history) + 1, Point: p, Outcome: experiment.OutcomeFailed}
			if v := l.value[l.set.Key(vec)]; !math.IsNaN(v) {
				o.Outcome = experiment.OutcomeSuccess
				value := v
				if l.Objectives[0].Direction == task.Maximize {
					value = 1 / v
				}
				o.Values = []float64{value}
				best = max(best, l.best/v)
			}
			history = append(history, o)
			course = append(course, best)
		}
	}
	return course, history
}

// The tables that FLEETUNE_TUNING names are searched cold, with the best of
// each table of the same operation, and with the worst of their own: `go test
// -run Tables -v` with FLEETUNE_TUNING=FOLDER prints the means over the seeds.
func TestTables(t *testing.T) {
	folder := os.Getenv("FLEETUNE_TUNING")
	if folder == "" {
		t.Skip("FLEETUNE_TUNING names no folder of tables")
	}
	seeds := 5
	if s, err := strconv.Atoi(os.Getenv("FLEETUNE_SEEDS")); err == nil {
		seeds = s
	}
	tables, _, err := replay.Load(folder, replay.Columns{})
	if err != nil {
		t.Fatal(err)
	}
	const budget = 80
	var loaded []*table
	for _, r := range tables {
		loaded = append(loaded, load(t, r))
	}
	for _, l := range loaded {
		cold := l.mean(t, seeds, budget, nil)
		t.Log(line("cold", l.Name, cold))
		check := func(kind string, starts []space.Point) {
			k := warm.New(nil, l.set, starts).Starts()
			got := l.mean(t, seeds, budget, starts)
			t.Log(line(kind, l.Name, got))
			for _, at := range []int{20, 40, 60} {
				if got[at+k-1] < cold[at-1]-0.03 {
					t.Errorf("%s on %s: %.3f after %d, cold %.3f after %d", kind, l.Name, got[at+k-1], at+k, cold[at-1], at)
				}
			}
		}
		for _, other := range loaded {
			if other != l && operation(other.Name) == operation(l.Name) {
				check("from "+other.Name, other.top(warm.Most, 0))
			}
		}
		check("worst", l.top(warm.Most, 1))
		check("misled", l.top(warm.Most, 0.9))
	}
}

func operation(name string) string {
	head, _, _ := cutAny(name)
	return head
}

func cutAny(name string) (string, string, bool) {
	for i, c := range name {
		if c == '_' || c == ' ' {
			return name[:i], name[i+1:], true
		}
	}
	return name, "", false
}

func (l *table) mean(t *testing.T, seeds, budget int, starts []space.Point) []float64 {
	total := make([]float64, budget)
	for seed := range seeds {
		course := l.run(t, int64(seed), budget, 1, starts)
		for i := range total {
			total[i] += course[min(i, len(course)-1)] / float64(seeds)
		}
	}
	return total
}

func line(kind, name string, course []float64) string {
	s := fmt.Sprintf("%-28s %-24s", name, kind)
	for _, at := range []int{8, 10, 14, 20, 28, 40, 48, 60, 80} {
		s += fmt.Sprintf(" %d:%.3f", at, course[at-1])
	}
	return s
}
