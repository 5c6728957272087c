// Package export writes a task's experiments as tables for other programs: CSV
// and XLSX with one column per parameter and metric, JSON with the task in
// front, JSON lines with one experiment each. Rows are written as they come,
// so that a task of any size passes through.
package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/fleetune/fleetune/manager/api/v1"
)

// A Format is a kind of file.
type Format string

// The formats.
const (
	CSV   Format = "csv"
	JSON  Format = "json"
	JSONL Format = "jsonl"
	XLSX  Format = "xlsx"
)

// ErrFormat says that there is no such format.
var ErrFormat = errors.New("unknown format")

// Formats lists every format.
func Formats() []Format { return []Format{CSV, JSON, JSONL, XLSX} }

// Parse reads a format's name. The error is ErrFormat.
func Parse(name string) (Format, error) {
	if f := Format(name); slices.Contains(Formats(), f) {
		return f, nil
	}
	return "", fmt.Errorf("%w %q: it is csv, json, jsonl or xlsx", ErrFormat, name)
}

// ContentType is the format's media type.
func (f Format) ContentType() string {
	switch f {
	case CSV:
		return "text/csv; charset=utf-8"
	case JSONL:
		return "application/x-ndjson"
	case XLSX:
		return "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
	default:
		return "application/json"
	}
}

// A Table is what is exported. Columns need to know the names before the first
// row is written.
type Table struct {
	Task v1.Task
	// Parameters in the order of the task file, Metrics in the order of the
	// columns.
	Parameters []string
	Metrics    []string
	Rows       iter.Seq2[v1.Experiment, error]
}

// Write writes the table. An error of Rows ends it.
func Write(w io.Writer, f Format, t Table) error {
	switch f {
	case CSV:
		return writeCSV(w, t)
	case XLSX:
		return writeXLSX(w, t)
	case JSON:
		return writeJSON(w, t)
	case JSONL:
		return writeJSONL(w, t)
	}
	return fmt.Errorf("%w %q", ErrFormat, f)
}

// Line writes a document as one line of JSON.
func Line(w io.Writer, document any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		return fmt.Errorf("writing a line: %w", err)
	}
	return nil
}

func writeJSONL(w io.Writer, t Table) error {
	for e, err := range t.Rows {
		if err != nil {
			return err
		}
		if err := Line(w, e); err != nil {
			return err
		}
	}
	return nil
}

// writeJSON writes {"task": …, "experiments": […]} with a line per experiment.
func writeJSON(w io.Writer, t Table) error {
	head, err := json.Marshal(t.Task)
	if err != nil {
		return fmt.Errorf("writing the task: %w", err)
	}
	out := &sticky{w: w}
	out.print(`{"task": %s, "experiments": [`, head)
	first := true
	for e, err := range t.Rows {
		if err != nil {
			return err
		}
		row, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("writing experiment %d: %w", e.Number, err)
		}
		separator := ",\n"
		if first {
			separator, first = "\n", false
		}
		out.print("%s%s", separator, row)
	}
	out.print("\n]}\n")
	return out.err
}

// sticky keeps the first error of a series of writes.
type sticky struct {
	w   io.Writer
	err error
}

func (s *sticky) print(format string, args ...any) {
	if s.err == nil {
		_, s.err = fmt.Fprintf(s.w, format, args...)
	}
}
