// Package replay runs samplers on recorded tables: every point a sampler
// proposes is looked up instead of measured, so that samplers can be compared
// at full speed and over many seeds before a GPU-hour is spent.
package replay

import (
	"fmt"
	"slices"

	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// A Row is one recorded configuration.
type Row struct {
	Point space.Point
	// Values holds one number per objective; nil when the configuration failed.
	Values  []float64
	Outcome experiment.Outcome
	// Rough are the values at lower levels, by level.
	Rough map[float64][]float64
}

// A Table is a recorded space.
type Table struct {
	Name       string
	Space      space.Space
	Objectives []task.Objective
	Rows       []Row
	// Fidelity is what the table was measured with less of; nil for most. Its
	// levels are what a measurement costs.
	Fidelity *task.Fidelity
	// Guessed says that nobody told which columns are parameters.
	Guessed bool

	set *valid.Set
	// exact says that the constraints of Space leave the rows and no others.
	exact bool
	row   map[valid.Key]int
	scale scale
}

// prepare finds out what may be proposed and indexes the rows.
func (t *Table) prepare() error {
	t.unite()
	var err error
	if t.scale, err = scaleOf(t.Objectives, t.Rows); err != nil {
		return err
	}
	compiled, err := space.Compile(t.Space)
	if err != nil {
		return err
	}
	points := make([]space.Point, len(t.Rows))
	for i := range t.Rows {
		points[i] = t.Rows[i].Point
	}
	if t.set, err = valid.Table(compiled, points); err != nil {
		return err
	}
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
			return fmt.Errorf("row %d: %w", i+1, err)
		}
		t.row[t.set.Key(vec)] = i
	}
	return nil
}

// unite makes one row of all that measured the same point: each objective's
// median over those that succeeded.
func (t *Table) unite() {
	at := make(map[string]int, len(t.Rows))
	same := map[int][]Row{}
	kept := t.Rows[:0:0]
	for _, r := range t.Rows {
		key := t.Space.Key(r.Point)
		k, known := at[key]
		if !known {
			at[key] = len(kept)
			kept = append(kept, r)
			continue
		}
		if same[k] == nil {
			same[k] = []Row{kept[k]}
		}
		same[k] = append(same[k], r)
	}
	for k, rows := range same {
		kept[k] = median(rows)
	}
	t.Rows = kept
}

// median is of rows that measured one point.
func median(rows []Row) Row {
	good := slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return r.Values == nil })
	if len(good) == 0 {
		return rows[0]
	}
	r := good[0]
	r.Values = slices.Clone(r.Values)
	for i := range r.Values {
		values := make([]float64, len(good))
		for k := range good {
			values[k] = good[k].Values[i]
		}
		slices.Sort(values)
		r.Values[i] = quantile(values, 0.5)
	}
	return r
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

// rough is a row's values at a level, or at the next higher one that the table
// has.
func (t *Table) rough(r *Row, level float64) []float64 {
	if level != 0 {
		for _, l := range t.Fidelity.Levels {
			if v, ok := r.Rough[l]; ok && l >= level {
				return v
			}
		}
	}
	return r.Values
}

// price is what a measurement at a level costs, in full ones.
func (t *Table) price(level float64) float64 {
	if level == 0 {
		return 1
	}
	return level / t.Fidelity.Full()
}
