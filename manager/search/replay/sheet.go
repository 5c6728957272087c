package replay

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// A sheet is what a file holds, before it is settled what is searched and for
// what. Whatever a file says of itself stands here; the columns that a caller
// names go before it.
type sheet struct {
	name string
	// columns in the order of the file.
	columns []string
	records []record
	// parameters are the columns that the file says are; nil where it does not.
	parameters []string
	// space that the file describes; nil where it is inferred from the rows.
	space      *space.Space
	objectives []task.Objective
	// measured columns may be optimised; nil where the file does not say which.
	measured []string
}

// A record is one row. Values are numbers, truth values and texts; what is
// empty is not there.
type record struct {
	values  map[string]any
	outcome experiment.Outcome // "" where the file does not say
}

// tables makes the tables that the columns ask for, and says which parts it had
// to leave out.
func (s *sheet) tables(c *Columns) (tables []*Table, skipped []string, err error) {
	records, err := c.keep(s)
	if err != nil {
		return nil, nil, err
	}
	objectives, err := c.objectives(s)
	if err != nil {
		return nil, nil, err
	}
	if c.Levels != nil {
		if err := s.knows(c.Levels.Column); err != nil {
			return nil, nil, err
		}
	}
	parameters, err := c.parameters(s, records, objectives)
	if err != nil {
		return nil, nil, err
	}
	failed, err := c.failures(s)
	if err != nil {
		return nil, nil, err
	}
	parts := c.parts(records)
	for _, part := range parts {
		t := &Table{Name: s.name + part.suffix, Guessed: c.Parameters == nil && s.parameters == nil, Objectives: make([]task.Objective, len(objectives))}
		for i, o := range objectives {
			t.Objectives[i] = o.Objective
		}
		if s.space != nil {
			t.Space = *s.space
		}
		if err := t.fill(part.records, parameters, objectives, failed, c.Levels); err != nil {
			if errors.Is(err, errNothing) && len(parts) > 1 {
				skipped = append(skipped, fmt.Sprintf("%s: %v", t.Name, err))
				continue
			}
			return nil, nil, fmt.Errorf("%s: %w", t.Name, err)
		}
		tables = append(tables, t)
	}
	if len(tables) == 0 {
		return nil, nil, fmt.Errorf("%s: %w", s.name, errNothing)
	}
	return tables, skipped, nil
}

// fill makes the rows and prepares the table.
func (t *Table) fill(records []record, parameters []string, objectives []objective, failed *expression, levels *Levels) error {
	var texts []string
	for _, rec := range records {
		r, use := row(rec, parameters, objectives, failed)
		if !use {
			continue
		}
		t.Rows = append(t.Rows, r)
		if levels != nil {
			texts = append(texts, fmt.Sprint(rec.values[levels.Column]))
		}
	}
	if levels != nil {
		t.Rows, t.Fidelity = levels.fold(t.Rows, texts), levels.fidelity()
	}
	if len(t.Rows) == 0 {
		return errNothing
	}
	if len(t.Space.Parameters) == 0 {
		t.infer(parameters)
	}
	return t.prepare()
}

// row reads one record; use is false when it says nothing of its
// configuration.
func row(rec record, parameters []string, objectives []objective, failed *expression) (r Row, use bool) {
	if o := rec.outcome; o.Transient() || o == experiment.OutcomeCancelled || o == experiment.OutcomeNotStarted {
		return r, false
	}
	r = Row{Point: make(space.Point, len(parameters)), Outcome: cmp.Or(rec.outcome, experiment.OutcomeSuccess)}
	for _, name := range parameters {
		if v, ok := rec.values[name]; ok {
			r.Point[parameterName(name)] = v
		}
	}
	if r.Outcome == experiment.OutcomeStoppedEarly {
		r.Outcome = experiment.OutcomeSuccess // it has its median, and is surely worse than another
	}
	if r.Outcome != experiment.OutcomeSuccess {
		return r, true
	}
	if failed != nil {
		v, known := failed.value(rec)
		if wrong, _ := v.(bool); known && wrong {
			r.Outcome = experiment.OutcomeFailed
			return r, true
		}
	}
	values := make([]float64, len(objectives))
	for i, o := range objectives {
		v, ok := numeric(o.of(rec))
		if !ok || math.IsNaN(v) || math.IsInf(v, 0) {
			r.Outcome = experiment.OutcomeNoMetric
			return r, true
		}
		values[i] = v
	}
	r.Values = values
	return r, true
}

// parameterName is a column's name with "_" for what no parameter's name has.
func parameterName(column string) string {
	name := strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, column)
	if name == "" || strings.IndexByte("-.0123456789", name[0]) >= 0 {
		return "_" + name
	}
	return name
}

// absent stands where a parameter exists in some rows only.
const absent = "absent"

// infer makes a space of choices from the rows' values.
func (t *Table) infer(parameters []string) {
	for _, column := range parameters {
		name, seen := parameterName(column), map[any]bool{}
		for i := range t.Rows {
			v, ok := t.Rows[i].Point[name]
			if !ok {
				v = absent
				t.Rows[i].Point[name] = v
			}
			seen[v] = true
		}
		t.Space.Parameters = append(t.Space.Parameters, space.Parameter{Name: name, Type: space.Choice,
			Values: slices.SortedFunc(maps.Keys(seen), order)})
	}
}

// order sorts numbers by amount, before everything else by text.
func order(a, b any) int {
	x, xok := numeric(a)
	y, yok := numeric(b)
	switch {
	case xok && yok:
		return cmp.Compare(x, y)
	case xok:
		return -1
	case yok:
		return 1
	}
	return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b))
}

func numeric(v any) (float64, bool) {
	switch n := v.(type) {
	case int64:
		return float64(n), true
	case float64:
		return n, true
	}
	return math.NaN(), false
}

// knows says whether there is a column of that name, and else which is meant.
func (s *sheet) knows(column string) error {
	if slices.Contains(s.columns, column) {
		return nil
	}
	if near := space.Nearest(column, s.columns); near != "" {
		return mistakef("%s has no column %q; did you mean %q?", s.name, column, near)
	}
	return mistakef("%s has no column %q; it has %s", s.name, column, strings.Join(s.columns, ", "))
}
