// Package export writes a task's experiments, or the cells that they measured,
// as tables for other programs: CSV and XLSX with one column per parameter and
// metric, JSON with the task in front, JSON lines with one row each. Rows are
// written as they come, so that a task of any size passes through.
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

// Write writes the experiments. An error of Rows ends it.
func Write(w io.Writer, f Format, t Table) error {
	return write(w, f, sheet[v1.Experiment]{task: t.Task, name: "experiments", head: header(t), rows: t.Rows,
		cells: func(e v1.Experiment) []any { return columns(t, e) }})
}

// A Cells table has a row for each cell of each experiment, those that could
// not be measured among them.
type Cells struct {
	Task       v1.Task
	Parameters []string
	// Metrics that cells have, in the order of the columns.
	Metrics []string
	Rows    iter.Seq2[Cell, error]
}

// A Cell is one row of a Cells table.
type Cell struct {
	Number     int            `json:"number"`
	Purpose    string         `json:"purpose"`
	Confirms   *int           `json:"confirms"`
	Outcome    string         `json:"outcome"`
	Simulated  string         `json:"simulated,omitempty"`
	Parameters map[string]any `json:"parameters"`
	// Side is candidate, or reference for the baseline in a confirmation.
	Side string `json:"side"`
	v1.Cell
}

// The sides of a cell.
const (
	Candidate = "candidate"
	Reference = "reference"
)

// WriteCells writes the cells. An error of Rows ends it.
func WriteCells(w io.Writer, f Format, t Cells) error {
	return write(w, f, sheet[Cell]{task: t.Task, name: "cells", head: cellHeader(t), rows: t.Rows,
		cells: func(c Cell) []any { return cellColumns(t, c) }})
}

// A sheet is rows of documents with what makes columns of them.
type sheet[T any] struct {
	task v1.Task
	name string
	head []string
	rows iter.Seq2[T, error]
	// cells is one row: nil, bool, int, int64, float64, string or time.Time each.
	cells func(T) []any
}

func write[T any](w io.Writer, f Format, s sheet[T]) error {
	switch f {
	case CSV:
		return writeCSV(w, s)
	case XLSX:
		return writeXLSX(w, s)
	case JSON:
		return writeJSON(w, s)
	case JSONL:
		return writeJSONL(w, s)
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

func writeJSONL[T any](w io.Writer, s sheet[T]) error {
	for row, err := range s.rows {
		if err != nil {
			return err
		}
		if err := Line(w, row); err != nil {
			return err
		}
	}
	return nil
}

// writeJSON writes {"task": …, "experiments": […]} with a line per row.
func writeJSON[T any](w io.Writer, s sheet[T]) error {
	head, err := json.Marshal(s.task)
	if err != nil {
		return fmt.Errorf("writing the task: %w", err)
	}
	out := &sticky{w: w}
	out.print(`{"task": %s, %q: [`, head, s.name)
	first := true
	for row, err := range s.rows {
		if err != nil {
			return err
		}
		data, err := json.Marshal(row)
		if err != nil {
			return fmt.Errorf("writing a row: %w", err)
		}
		separator := ",\n"
		if first {
			separator, first = "\n", false
		}
		out.print("%s%s", separator, data)
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
