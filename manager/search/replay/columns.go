package replay

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/proto/task"
)

// Columns say what is searched in a file and for what, where the file does not
// say it or where something else is meant.
type Columns struct {
	// Metrics to optimise, each a column or "NAME=EXPRESSION" over columns.
	Metrics []string
	// Directions to optimise them, one for all or one each; what the file says,
	// else Minimize, when empty.
	Directions []task.Direction
	// Parameters names the columns that are parameters.
	Parameters []string
	// Where keeps the rows with these values.
	Where map[string]string
	// By makes a table of its own of the rows with each combination of values of
	// these columns.
	By []string
	// Failed is an expression over columns that is true of rows that failed.
	Failed string
	// Levels of a file whose points were measured at several; nil for most.
	Levels *Levels
}

// keep returns the records that Where leaves.
func (c *Columns) keep(s *sheet) ([]record, error) {
	for column := range c.Where {
		if err := s.knows(column); err != nil {
			return nil, err
		}
	}
	var out []record
	for _, rec := range s.records {
		fits := true
		for column, want := range c.Where {
			fits = fits && text(rec.values[column]) == want
		}
		if fits {
			out = append(out, rec)
		}
	}
	if len(out) == 0 && len(s.records) > 0 {
		return nil, mistakef("no row of %s is as --where says", s.name)
	}
	return out, nil
}

// text is a value as a file has it; "" for none.
func text(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// An objective is a column, or an expression over columns.
type objective struct {
	task.Objective
	expression *expression
}

func (o *objective) of(rec record) any {
	if o.expression != nil {
		v, _ := o.expression.value(rec)
		return v
	}
	return rec.values[o.Metric]
}

// usual are the metrics that are taken where nobody names one.
var usual = []string{"time_ms", "time"}

func (c *Columns) objectives(s *sheet) ([]objective, error) {
	var out []objective
	for _, m := range c.Metrics {
		o := objective{Objective: task.Objective{Metric: m}}
		if name, source, ok := strings.Cut(m, "="); ok && !slices.Contains(s.columns, m) {
			var err error
			if o.expression, err = s.compile(source); err != nil {
				return nil, mistakef("--metric %s: %w", m, err)
			}
			o.Metric = strings.TrimSpace(name)
		} else if err := s.knows(m); err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	if len(out) == 0 {
		for _, o := range s.objectives {
			out = append(out, objective{Objective: o})
		}
	}
	for _, name := range usual {
		if len(out) == 0 && slices.Contains(s.columns, name) {
			out = []objective{{Objective: task.Objective{Metric: name}}}
		}
	}
	if len(out) == 0 && len(s.measured) == 1 {
		out = []objective{{Objective: task.Objective{Metric: s.measured[0]}}}
	}
	if len(out) == 0 {
		return nil, mistakef("%s does not say what to optimise: name it with --metric, one of %s", s.name, strings.Join(s.numbers(), ", "))
	}
	return out, c.direct(out, s.objectives)
}

// direct gives objectives their directions.
func (c *Columns) direct(list []objective, said []task.Objective) error {
	if n := len(c.Directions); n > 1 && n != len(list) {
		return mistakef("%d directions for %d metrics: give one for all, or one each", n, len(list))
	}
	for i := range list {
		o := &list[i]
		switch {
		case len(c.Directions) == 1:
			o.Direction = c.Directions[0]
		case len(c.Directions) > 1:
			o.Direction = c.Directions[i]
		case o.Direction == "":
			o.Direction = task.Minimize
			for _, known := range said {
				if known.Metric == o.Metric {
					o.Direction = known.Direction
				}
			}
		}
	}
	return nil
}

// numbers lists the columns that may be metrics: those that are measured, or
// hold numbers.
func (s *sheet) numbers() []string {
	if len(s.measured) > 0 {
		return s.measured
	}
	var out []string
	for _, column := range s.columns {
		for _, rec := range s.records {
			if v, ok := rec.values[column]; ok {
				if _, isNumber := numeric(v); isNumber && !slices.Contains(s.parameters, column) {
					out = append(out, column)
				}
				break
			}
		}
	}
	return out
}

// parameters are the columns named or those that the file names. Where nobody
// does they are the columns before the one that says how a row ended, or else the
// first ones that tell the rows apart. Of those, columns that a table is made of
// each value of, the one with the level, and such as have one value are left out.
func (c *Columns) parameters(s *sheet, records []record, objectives []objective) ([]string, error) {
	for _, column := range slices.Concat(c.Parameters, c.By) {
		if err := s.knows(column); err != nil {
			return nil, err
		}
	}
	if len(c.Parameters) > 0 {
		return c.Parameters, nil
	}
	if s.parameters != nil {
		return slices.DeleteFunc(slices.Clone(s.parameters), func(p string) bool { return slices.Contains(c.By, p) }), nil
	}
	marked := slices.ContainsFunc(s.columns, isOutcome)
	var out []string
	group, groups := make([]int, len(records)), 1
	for _, column := range s.columns {
		measured := slices.ContainsFunc(objectives, func(o objective) bool { return o.Metric == column })
		if measured || isOutcome(column) || !marked && groups == len(records) {
			break
		}
		group, groups = split(group, records, column)
		level := c.Levels != nil && c.Levels.Column == column
		if !level && !slices.Contains(c.By, column) && varies(records, column) {
			out = append(out, column)
		}
	}
	if len(out) == 0 {
		return nil, mistakef("%s does not say which columns are parameters: name them with --parameters, of %s", s.name, strings.Join(s.columns, ", "))
	}
	return out, nil
}

func varies(records []record, column string) bool {
	return slices.ContainsFunc(records, func(r record) bool { return r.values[column] != records[0].values[column] })
}

// split divides groups of records by the values of a column.
func split(group []int, records []record, column string) ([]int, int) {
	type part struct {
		group int
		value any
	}
	ids := map[part]int{}
	out := make([]int, len(group))
	for i := range records {
		p := part{group[i], records[i].values[column]}
		id, ok := ids[p]
		if !ok {
			id = len(ids)
			ids[p] = id
		}
		out[i] = id
	}
	return out, len(ids)
}

// A part is the rows of one table.
type part struct {
	suffix  string
	records []record
}

func (c *Columns) parts(records []record) []part {
	if len(c.By) == 0 {
		return []part{{"", records}}
	}
	var out []part
	at := map[string]int{}
	for _, rec := range records {
		values := make([]string, len(c.By))
		for i, column := range c.By {
			values[i] = text(rec.values[column])
		}
		suffix := "[" + strings.Join(values, ",") + "]"
		k, known := at[suffix]
		if !known {
			k = len(out)
			at[suffix] = k
			out = append(out, part{suffix: suffix})
		}
		out[k].records = append(out[k].records, rec)
	}
	return out
}

func (c *Columns) failures(s *sheet) (*expression, error) {
	if c.Failed == "" {
		return nil, nil
	}
	e, err := s.compile(c.Failed)
	if err != nil {
		return nil, mistakef("--failed %s: %w", c.Failed, err)
	}
	return e, nil
}
