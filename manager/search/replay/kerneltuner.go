package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// repaired closes a cache that an interrupted run left open: after an entry, or
// within one, which is dropped.
func repaired(data []byte) []byte {
	closed := func(data []byte) []byte {
		return slices.Concat(bytes.TrimRight(bytes.TrimSpace(data), ","), []byte("}}"))
	}
	if whole := closed(data); json.Valid(whole) {
		return whole
	}
	if end := bytes.LastIndex(data, []byte("},\n")); end >= 0 {
		data = data[:end+1]
	}
	return closed(data)
}

// fromCache reads a Kernel Tuner cache: settings, and one entry a configuration
// whose objective is a number, or the name of a failure.
func fromCache(data []byte) (*sheet, error) {
	var file struct {
		Kernel    string                                `json:"kernel_name"`
		Device    string                                `json:"device_name"`
		Objective json.RawMessage                       `json:"objective"`
		Keys      []string                              `json:"tune_params_keys"`
		Entries   map[string]map[string]json.RawMessage `json:"cache"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("reading the cache: %w", err)
	}
	if len(file.Keys) == 0 {
		return nil, fmt.Errorf("reading the cache: it names no parameters (tune_params_keys)")
	}
	s := &sheet{name: file.Kernel, parameters: file.Keys}
	if file.Device != "" {
		s.name += " on " + file.Device
	}
	var name string
	if json.Unmarshal(file.Objective, &name) == nil && name != "" {
		s.objectives = []task.Objective{{Metric: name}}
	}
	for _, key := range slices.Sorted(maps.Keys(file.Entries)) {
		e := file.Entries[key]
		rec := record{values: make(map[string]any, len(e)), outcome: experiment.OutcomeSuccess}
		if isMark(e["__error__"], "InvalidConfig") || isMark(e[name], "InvalidConfig") {
			continue // never run
		}
		for _, name := range file.Keys {
			v, ok := e[name]
			if !ok {
				return nil, fmt.Errorf("entry %q has no %s", key, name)
			}
			value, err := scalar(v)
			if err != nil {
				return nil, fmt.Errorf("entry %q: %s: %w", key, name, err)
			}
			rec.values[name] = value
		}
		for name, raw := range e {
			if slices.Contains(file.Keys, name) {
				continue
			}
			if isMark(raw, "ErrorConfig", "CompilationFailedConfig", "RuntimeFailedConfig") {
				rec.outcome = experiment.OutcomeFailed
			}
			if v, ok := measurement(raw); ok {
				rec.values[name] = v
				s.learn(&s.measured, []string{name})
			}
		}
		s.records = append(s.records, rec)
	}
	slices.Sort(s.measured)
	s.columns = slices.Concat(s.parameters, s.measured)
	return s, nil
}

// isMark says whether a value is the mark of a configuration that failed, one
// of those.
func isMark(raw json.RawMessage, marks ...string) bool {
	var mark string
	return len(raw) > 0 && json.Unmarshal(raw, &mark) == nil && slices.Contains(marks, mark)
}

// scalar reads one parameter value.
func scalar(raw json.RawMessage) (any, error) {
	var p space.Point
	if err := json.Unmarshal(slices.Concat([]byte(`{"v":`), raw, []byte(`}`)), &p); err != nil {
		return nil, err
	}
	return p["v"], nil
}

// fromT4 reads a T4 result file (the auto-tuning community's exchange format): a
// configuration, why it is invalid or "correct", and measurements by name.
func fromT4(data []byte) (*sheet, error) {
	var file struct {
		Results []struct {
			Configuration map[string]json.RawMessage `json:"configuration"`
			Invalidity    string                     `json:"invalidity"`
			Objectives    []string                   `json:"objectives"`
			Measurements  []struct {
				Name  string          `json:"name"`
				Value json.RawMessage `json:"value"`
			} `json:"measurements"`
		} `json:"results"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("reading the results: %w", err)
	}
	s := &sheet{}
	for i, result := range file.Results {
		if s.objectives == nil {
			for _, name := range result.Objectives {
				s.objectives = append(s.objectives, task.Objective{Metric: name})
			}
		}
		if result.Invalidity == "constraints" {
			continue // never run
		}
		rec := record{values: map[string]any{}, outcome: experiment.OutcomeFailed}
		if result.Invalidity == "correct" {
			rec.outcome = experiment.OutcomeSuccess
		}
		for _, m := range result.Measurements {
			if v, ok := measurement(m.Value); ok {
				rec.values[m.Name] = v
				s.learn(&s.measured, []string{m.Name})
			}
		}
		for name, raw := range result.Configuration {
			v, err := scalar(raw)
			if err != nil {
				return nil, fmt.Errorf("result %d: %s: %w", i+1, name, err)
			}
			rec.values[name] = v
		}
		s.learn(&s.parameters, slices.Sorted(maps.Keys(result.Configuration)))
		s.records = append(s.records, rec)
	}
	if len(s.parameters) == 0 && len(s.records) > 0 {
		return nil, fmt.Errorf("reading the results: no configuration names a parameter")
	}
	s.columns = slices.Concat(s.parameters, s.measured)
	return s, nil
}
