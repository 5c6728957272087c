// Package replay runs samplers on recorded tables: every point a sampler
// proposes is looked up instead of measured, so that samplers can be compared
// at full speed and over many seeds before a GPU-hour is spent.
package replay

import (
	"fmt"
	"math"

	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// A Row is one recorded configuration.
type Row struct {
	Point space.Point
	// Value of the metric; NaN when the configuration failed.
	Value   float64
	Outcome experiment.Outcome
	// Rough are the values at lower levels, by level.
	Rough map[float64]float64
}

// A Table is a recorded space.
type Table struct {
	Name      string
	Space     space.Space
	Objective task.Objective
	Rows      []Row
	// Fidelity is what the table was measured with less of; nil for most. Its
	// levels are what a measurement costs.
	Fidelity *task.Fidelity

	set *valid.Set
	// exact says that the constraints of Space leave the rows and no others.
	exact bool
	row   map[valid.Key]int
	best  float64
}

// prepare finds out what may be proposed and indexes the rows.
func (t *Table) prepare() error {
	t.best = math.NaN()
	for i := range t.Rows {
		v := t.Rows[i].Value
		if math.IsNaN(t.best) || t.better(v, t.best) {
			t.best = v
		}
	}
	if math.IsNaN(t.best) {
		return fmt.Errorf("table %s: no configuration succeeded", t.Name)
	}
	compiled, err := space.Compile(t.Space)
	if err != nil {
		return fmt.Errorf("table %s: %w", t.Name, err)
	}
	points := make([]space.Point, len(t.Rows))
	for i := range t.Rows {
		points[i] = t.Rows[i].Point
	}
	table, err := valid.Table(compiled, points)
	if err != nil {
		return fmt.Errorf("table %s: %w", t.Name, err)
	}
	t.set = table
	if len(t.Space.Constraints) > 0 {
		ruled := valid.New(compiled)
		if ruled.Exact() && t.covers(ruled) {
			t.set, t.exact = ruled, true
		}
	}
	t.row = make(map[valid.Key]int, len(t.Rows))
	for i := range t.Rows {
		vec, err := t.set.Vec(t.Rows[i].Point)
		if err != nil {
			return fmt.Errorf("table %s: row %d: %w", t.Name, i+1, err)
		}
		key := t.set.Key(vec)
		if k, ok := t.row[key]; !ok || t.better(t.Rows[i].Value, t.Rows[k].Value) {
			t.row[key] = i
		}
	}
	return nil
}

// covers says whether a set has the table's rows and no others.
func (t *Table) covers(set *valid.Set) bool {
	distinct := map[valid.Key]bool{}
	for i := range t.Rows {
		vec, err := set.Vec(t.Rows[i].Point)
		if err != nil {
			return false
		}
		distinct[set.Key(vec)] = true
	}
	return int64(len(distinct)) == set.Len()
}

// better compares two values of the metric; a failure is never better.
func (t *Table) better(a, b float64) bool {
	if math.IsNaN(a) || math.IsNaN(b) {
		return math.IsNaN(b) && !math.IsNaN(a)
	}
	if t.Objective.Direction == task.Maximize {
		return a > b
	}
	return a < b
}

// relative is the value's share of the optimum: 1 is the best row, less is
// worse; 0 for a failure.
func (t *Table) relative(v float64) float64 {
	switch {
	case math.IsNaN(v):
		return 0
	case v == t.best:
		return 1
	case t.Objective.Direction == task.Maximize:
		return v / t.best
	default:
		return t.best / v
	}
}
