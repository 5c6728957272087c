package replay

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
)

// exportedRow is one experiment of our own export.
type exportedRow struct {
	Outcome    experiment.Outcome         `json:"outcome"`
	Parameters space.Point                `json:"parameters"`
	Metrics    map[string]json.RawMessage `json:"metrics"`
}

// exported recognises an export: an array of experiments, an object that holds
// one, or one experiment a line.
func exported(data []byte) ([]exportedRow, bool) {
	var rows []exportedRow
	var wrapped struct {
		Experiments []exportedRow `json:"experiments"`
	}
	switch {
	case json.Unmarshal(data, &rows) == nil:
	case json.Unmarshal(data, &wrapped) == nil && len(wrapped.Experiments) > 0:
		rows = wrapped.Experiments
	default:
		rows = lines(data)
	}
	return rows, len(rows) > 0 && rows[0].Parameters != nil
}

func lines(data []byte) []exportedRow {
	var rows []exportedRow
	for line := range bytes.Lines(data) {
		var row exportedRow
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

func fromExport(rows []exportedRow, c Columns) (*Table, error) {
	t := &Table{Objective: c.objective("")}
	if t.Objective.Metric == "" {
		return nil, errors.New("name the metric to optimise")
	}
	for _, e := range rows {
		r := Row{Point: e.Parameters, Value: math.NaN(), Outcome: e.Outcome}
		if v, ok := metric(e.Metrics[t.Objective.Metric]); ok && cmp.Or(e.Outcome, experiment.OutcomeSuccess) == experiment.OutcomeSuccess {
			r.Value, r.Outcome = v, experiment.OutcomeSuccess
		} else if e.Outcome == experiment.OutcomeSuccess || e.Outcome == "" {
			r.Outcome = experiment.OutcomeNoMetric
		}
		if experiment.Outcome.Transient(r.Outcome) || r.Outcome == experiment.OutcomeCancelled || r.Outcome == experiment.OutcomeNotStarted {
			continue // says nothing of the configuration
		}
		t.Rows = append(t.Rows, r)
	}
	return t, nil
}

// metric reads a number, or the median of a metric object.
func metric(raw json.RawMessage) (float64, bool) {
	var number float64
	if json.Unmarshal(raw, &number) == nil {
		return number, true
	}
	var object experiment.Metric
	if json.Unmarshal(raw, &object) == nil && len(raw) > 0 {
		return object.Median, true
	}
	return 0, false
}

// repaired closes a cache that ends after an entry.
func repaired(data []byte) []byte {
	data = bytes.TrimRight(bytes.TrimSpace(data), ",")
	return append(bytes.Clone(data), "}}"...)
}

// fromCache reads a Kernel Tuner cache: settings, and one entry a
// configuration whose objective is a number, or the name of a failure.
func fromCache(data []byte, c Columns) (*Table, error) {
	var file struct {
		Kernel    string           `json:"kernel_name"`
		Device    string           `json:"device_name"`
		Objective string           `json:"objective"`
		Keys      []string         `json:"tune_params_keys"`
		Entries   map[string]entry `json:"cache"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("reading the cache: %w", err)
	}
	t := &Table{Name: file.Kernel, Objective: c.objective(cmp.Or(file.Objective, "time"))}
	if file.Device != "" {
		t.Name += " on " + file.Device
	}
	for key, e := range file.Entries {
		r := Row{Point: space.Point{}, Value: math.NaN(), Outcome: experiment.OutcomeFailed}
		for _, name := range file.Keys {
			v, ok := e[name]
			if !ok {
				return nil, fmt.Errorf("entry %q has no %s", key, name)
			}
			value, err := scalar(v)
			if err != nil {
				return nil, fmt.Errorf("entry %q: %s: %w", key, name, err)
			}
			r.Point[name] = value
		}
		if v, ok := metric(e[t.Objective.Metric]); ok {
			r.Value, r.Outcome = v, experiment.OutcomeSuccess
		}
		t.Rows = append(t.Rows, r)
	}
	return t, nil
}

type entry map[string]json.RawMessage

// scalar reads one parameter value.
func scalar(raw json.RawMessage) (any, error) {
	var p space.Point
	if err := json.Unmarshal(append(append([]byte(`{"v":`), raw...), '}'), &p); err != nil {
		return nil, err
	}
	return p["v"], nil
}

// fromT4 reads a T4 result file (the auto-tuning community's exchange format):
// a configuration, why it is invalid or "correct", and measurements by name.
func fromT4(data []byte, c Columns) (*Table, error) {
	var file struct {
		Results []struct {
			Configuration space.Point `json:"configuration"`
			Invalidity    string      `json:"invalidity"`
			Objectives    []string    `json:"objectives"`
			Measurements  []struct {
				Name  string          `json:"name"`
				Value json.RawMessage `json:"value"`
			} `json:"measurements"`
		} `json:"results"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("reading the results: %w", err)
	}
	t := &Table{Objective: c.objective("")}
	for _, result := range file.Results {
		if t.Objective.Metric == "" && len(result.Objectives) > 0 {
			t.Objective.Metric = result.Objectives[0]
		}
		if result.Invalidity == "constraints" {
			continue // never run
		}
		r := Row{Point: result.Configuration, Value: math.NaN(), Outcome: experiment.OutcomeFailed}
		for _, m := range result.Measurements {
			if v, ok := metric(m.Value); ok && m.Name == t.Objective.Metric && result.Invalidity == "correct" {
				r.Value, r.Outcome = v, experiment.OutcomeSuccess
			}
		}
		t.Rows = append(t.Rows, r)
	}
	return t, nil
}
