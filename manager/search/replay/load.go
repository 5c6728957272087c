package replay

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// Columns say how to read a table whose file does not say it.
type Columns struct {
	// Metric is the column, or the metric's name, that is optimised.
	Metric string
	// Direction to optimise it; Minimize when empty.
	Direction task.Direction
	// Parameters names the columns of a CSV file that are parameters, for
	// files whose headers have no "parameters." prefix.
	Parameters []string
	// Where keeps the rows of a CSV file with these values.
	Where map[string]string
	// Levels of a CSV file that was measured at several; nil for most.
	Levels *Levels
}

// Load reads the tables of a path: a folder or index.json of described CSV
// files, one such CSV file, any other CSV file, an export of experiments as
// JSON, a Kernel Tuner cache, or a T4 result file; each may be compressed
// (.gz).
func Load(path string, c Columns) ([]*Table, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("opening the table: %w", err)
	}
	if info.IsDir() {
		path = filepath.Join(path, "index.json")
	}
	base := filepath.Base(path)
	if base == "index.json" {
		return loadIndex(path, "")
	}
	if strings.HasSuffix(strings.TrimSuffix(base, ".gz"), ".csv") {
		if index := filepath.Join(filepath.Dir(path), "index.json"); exists(index) {
			if tables, err := loadIndex(index, base); err != nil || len(tables) > 0 {
				return tables, err
			}
		}
		return one(loadCSV(path, c))
	}
	return one(loadJSON(path, c))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func one(t *Table, err error) ([]*Table, error) {
	if err != nil {
		return nil, err
	}
	return []*Table{t}, nil
}

// loadIndex reads the tables of an index, or only the one of a given file.
func loadIndex(path, file string) ([]*Table, error) {
	entries, err := readIndex(path)
	if err != nil {
		return nil, err
	}
	var out []*Table
	for i := range entries {
		if file != "" && entries[i].File != file {
			continue
		}
		t, err := entries[i].load(filepath.Dir(path))
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

func (c *Columns) objective(fallback string) task.Objective {
	return task.Objective{Metric: cmp.Or(c.Metric, fallback), Direction: cmp.Or(c.Direction, task.Minimize)}
}

func title(path string) string {
	name := strings.TrimSuffix(filepath.Base(path), ".gz")
	return strings.TrimSuffix(name, filepath.Ext(name))
}

// loadCSV reads a CSV file: an export with prefixed columns, or any file whose
// parameters are named.
func loadCSV(path string, c Columns) (*Table, error) {
	records, err := readCSV(path)
	if err != nil {
		return nil, err
	}
	t := &Table{Name: title(path), Objective: c.objective("time_ms")}
	if len(records) == 0 {
		return nil, fmt.Errorf("%s has no rows", path)
	}
	columns := map[string]string{} // parameter → column
	for _, name := range c.Parameters {
		if _, ok := records[0][name]; !ok {
			return nil, fmt.Errorf("%s has no column %q", path, name)
		}
		columns[name] = name
	}
	metric := t.Objective.Metric
	for column := range records[0] {
		for _, prefix := range []string{"parameters.", "param."} {
			if name, ok := strings.CutPrefix(column, prefix); ok && len(c.Parameters) == 0 {
				columns[name] = column
			}
		}
	}
	if len(columns) == 0 {
		return nil, fmt.Errorf("%s: name its parameters; no column starts with %q", path, "parameters.")
	}
	if _, ok := records[0]["metrics."+metric]; ok {
		metric = "metrics." + metric
	} else if _, ok := records[0][metric]; !ok {
		return nil, fmt.Errorf("%s has no column %q", path, metric)
	}
	var levels []string
	for _, record := range records {
		if !c.keeps(record) {
			continue
		}
		r := Row{Point: space.Point{}, Value: math.NaN(), Outcome: experiment.OutcomeFailed}
		for name, column := range columns {
			if record[column] != "" {
				r.Point[name] = parseValue(record[column])
			}
		}
		if failed := record["outcome"] != "" && record["outcome"] != string(experiment.OutcomeSuccess); failed {
			r.Outcome = experiment.Outcome(record["outcome"])
		} else if v, ok := numeric(parseValue(record[metric])); ok {
			r.Value, r.Outcome = v, experiment.OutcomeSuccess
		}
		t.Rows = append(t.Rows, r)
		if c.Levels != nil {
			levels = append(levels, record[c.Levels.Column])
		}
	}
	if c.Levels != nil {
		t.Rows, t.Fidelity = c.Levels.fold(t.Rows, levels), c.Levels.fidelity()
	}
	return t, t.infer()
}

func (c *Columns) keeps(record map[string]string) bool {
	for column, value := range c.Where {
		if record[column] != value {
			return false
		}
	}
	return true
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

// infer makes a space of choices from the rows' values, and prepares the table.
func (t *Table) infer() error {
	if len(t.Rows) == 0 {
		return fmt.Errorf("table %s has no rows", t.Name)
	}
	names := map[string][]any{}
	missing := map[string]bool{}
	for i := range t.Rows {
		for name, v := range t.Rows[i].Point {
			if !slices.Contains(names[name], v) {
				names[name] = append(names[name], v)
			}
		}
	}
	for i := range t.Rows {
		for name := range names {
			if _, ok := t.Rows[i].Point[name]; !ok {
				missing[name] = true
			}
		}
	}
	for name := range missing {
		// A parameter that some rows lack exists under an unknown condition.
		names[name] = append(names[name], "absent")
		for i := range t.Rows {
			if t.Rows[i].Point == nil {
				t.Rows[i].Point = space.Point{}
			}
			if _, ok := t.Rows[i].Point[name]; !ok {
				t.Rows[i].Point[name] = "absent"
			}
		}
	}
	for name, values := range names {
		slices.SortFunc(values, order)
		t.Space.Parameters = append(t.Space.Parameters, space.Parameter{Name: name, Type: space.Choice, Values: values})
	}
	slices.SortFunc(t.Space.Parameters, func(a, b space.Parameter) int { return cmp.Compare(a.Name, b.Name) })
	return t.prepare()
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

func loadJSON(path string, c Columns) (_ *Table, err error) {
	r, err := open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	t, err := parseJSON(data, c)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	t.Name = cmp.Or(t.Name, title(path))
	return t, t.infer()
}

// parseJSON finds out which of the known files it is.
func parseJSON(data []byte, c Columns) (*Table, error) {
	if rows, ok := exported(data); ok {
		return fromExport(rows, c)
	}
	var probe struct {
		Cache   map[string]json.RawMessage `json:"cache"`
		Results []json.RawMessage          `json:"results"`
	}
	if json.Unmarshal(data, &probe) != nil {
		// An interrupted run leaves the cache without its last brackets.
		data = repaired(data)
		if err := json.Unmarshal(data, &probe); err != nil {
			return nil, fmt.Errorf("this is no table: %w", err)
		}
	}
	switch {
	case probe.Cache != nil:
		return fromCache(data, c)
	case probe.Results != nil:
		return fromT4(data, c)
	}
	return nil, errors.New("this is neither an export of experiments, a Kernel Tuner cache nor a T4 file")
}
