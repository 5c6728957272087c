package replay

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// readJSON reads a JSON file of any known form.
func readJSON(path string) (_ *sheet, err error) {
	r, err := open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	s, err := parseJSON(data)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(s.records) == 0 {
		return nil, fmt.Errorf("%s has no rows", path)
	}
	s.name = cmp.Or(s.name, title(path))
	return s, nil
}

// parseJSON finds out which of the known files it is.
func parseJSON(data []byte) (*sheet, error) {
	if s, ok := fromExport(data); ok {
		return s, nil
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
		return fromCache(data)
	case probe.Results != nil:
		return fromT4(data)
	}
	return nil, errors.New("this is neither an export of experiments, a Kernel Tuner cache nor a T4 file")
}

// exported is one experiment of our own export.
type exported struct {
	Purpose    experiment.Purpose         `json:"purpose"`
	Outcome    experiment.Outcome         `json:"outcome"`
	Fidelity   *float64                   `json:"fidelity"`
	Parameters space.Point                `json:"parameters"`
	Metrics    map[string]json.RawMessage `json:"metrics"`
}

// fromExport recognises an export: the task with its experiments, an array of
// experiments, or one a line.
func fromExport(data []byte) (*sheet, bool) {
	var file struct {
		Task struct {
			Name       string           `json:"name"`
			Parameters []string         `json:"parameters"`
			Objectives []task.Objective `json:"objectives"`
		} `json:"task"`
		Experiments []exported `json:"experiments"`
	}
	switch {
	case json.Unmarshal(data, &file) == nil && len(file.Experiments) > 0:
	case json.Unmarshal(data, &file.Experiments) == nil:
	default:
		file.Experiments = lines(data)
	}
	if len(file.Experiments) == 0 || file.Experiments[0].Parameters == nil {
		return nil, false
	}
	s := &sheet{name: file.Task.Name, parameters: file.Task.Parameters, objectives: file.Task.Objectives}
	for _, e := range file.Experiments {
		s.learn(&s.parameters, slices.Sorted(maps.Keys(e.Parameters)))
		s.learn(&s.measured, slices.Sorted(maps.Keys(e.Metrics)))
		if e.Outcome == "" || e.Purpose == experiment.Confirm || e.Fidelity != nil {
			continue // not ended, or no full measurement of its own
		}
		rec := record{values: make(map[string]any, len(e.Parameters)+len(e.Metrics)), outcome: e.Outcome}
		for name, raw := range e.Metrics {
			if v, ok := measurement(raw); ok {
				rec.values[name] = v
			}
		}
		for name, v := range e.Parameters {
			rec.values[name] = v
		}
		s.records = append(s.records, rec)
	}
	s.columns = slices.Concat(s.parameters, s.measured)
	return s, true
}

// learn adds names that are new.
func (s *sheet) learn(list *[]string, names []string) {
	for _, name := range names {
		if !slices.Contains(*list, name) {
			*list = append(*list, name)
		}
	}
}

func lines(data []byte) []exported {
	var rows []exported
	for line := range bytes.Lines(data) {
		var row exported
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if json.Unmarshal(line, &row) != nil {
			return nil
		}
		rows = append(rows, row)
	}
	return rows
}

// measurement reads a number, the median of a list of numbers, or that of a
// metric object.
func measurement(raw json.RawMessage) (float64, bool) {
	var number float64
	var list []float64
	var object experiment.Metric
	switch {
	case len(raw) == 0 || bytes.Equal(raw, []byte("null")):
		return 0, false
	case json.Unmarshal(raw, &number) == nil:
		return number, true
	case json.Unmarshal(raw, &list) == nil && len(list) > 0:
		slices.Sort(list)
		return quantile(list, 0.5), true
	case json.Unmarshal(raw, &object) == nil:
		return object.Median, true
	}
	return 0, false
}
