package replay

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/fleetune/fleetune/proto/experiment"
)

// Columns of an export of experiments.
const (
	parameterColumn = "parameter:"
	metricColumn    = "metric:"
)

// isOutcome says whether a column tells how a row ended.
func isOutcome(column string) bool { return column == "outcome" || column == "status" }

// readCSV reads any CSV file. In an export of experiments, columns say whether
// they are parameters or metrics; they go by their plain names here.
func readCSV(path string) (s *sheet, err error) {
	r, err := open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	reader := csv.NewReader(r)
	reader.ReuseRecord = true
	header, err := reader.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s is empty", path)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	s = &sheet{name: title(path)}
	s.head(slices.Clone(header))
	for {
		fields, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		if rec, ok := s.read(fields); ok {
			s.records = append(s.records, rec)
		}
	}
	if len(s.records) == 0 {
		return nil, fmt.Errorf("%s has no rows", path)
	}
	return s, nil
}

// head names the columns.
func (s *sheet) head(header []string) {
	s.columns = header
	for i, column := range header {
		if name, ok := strings.CutPrefix(column, parameterColumn); ok {
			s.columns[i], s.parameters = name, append(s.parameters, name)
		}
		name, ok := strings.CutPrefix(column, metricColumn)
		if !ok {
			continue
		}
		if !slices.Contains(header, name) { // else a parameter has that name
			s.columns[i] = name
		}
		s.measured = append(s.measured, s.columns[i])
	}
}

// read reads a line; false for one of an export that is no full measurement.
func (s *sheet) read(fields []string) (record, bool) {
	rec := record{values: make(map[string]any, len(fields))}
	for i, column := range s.columns {
		if fields[i] != "" {
			rec.values[column] = parseValue(fields[i])
		}
		if isOutcome(column) && rec.outcome == "" {
			rec.outcome = outcome(fields[i])
		}
	}
	exported := s.parameters != nil
	if exported && (rec.values["purpose"] == string(experiment.Confirm) || rec.values["fidelity"] != nil) {
		return rec, false
	}
	if exported { // a status is less than its outcome
		rec.outcome = outcome(text(rec.values["outcome"]))
		if rec.outcome == "" {
			return rec, false // it has not ended
		}
	}
	return rec, true
}

// outcome reads how a row ended: "ok", "success" and "correct" in any writing
// are a success, an empty text says nothing, anything else is a failure.
func outcome(text string) experiment.Outcome {
	switch strings.ToLower(text) {
	case "":
		return ""
	case "ok", "success", "correct":
		return experiment.OutcomeSuccess
	}
	if o := experiment.Outcome(text); slices.Contains(experiment.Outcomes(), o) {
		return o
	}
	return experiment.OutcomeFailed
}

// parseValue reads a value as a whole number, a number, a truth value or text.
func parseValue(text string) any {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
		return f
	}
	switch text {
	case "true", "True":
		return true
	case "false", "False":
		return false
	}
	return text
}
