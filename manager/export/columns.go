package export

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/xuri/excelize/v2"
)

// header names the columns: first what every experiment has, then a column per
// parameter, then three per metric.
func header(t Table) []string {
	h := []string{"number", "purpose", "confirms", "status", "outcome", "attempts", "worker", "devices",
		"queued_at", "started_at", "finished_at", "score"}
	if len(t.Task.Objectives) > 1 {
		for _, o := range t.Task.Objectives {
			h = append(h, "score:"+o.Metric)
		}
	}
	for _, p := range t.Parameters {
		h = append(h, "parameter:"+p)
	}
	for _, m := range t.Metrics {
		h = append(h, "metric:"+m, "spread:"+m, "unit:"+m)
	}
	return append(h, "error_phase", "error_message", "error_timeout", "exit_code", "record", "fidelity")
}

// cells is one row: nil, bool, int, int64, float64, string or time.Time each.
func cells(t Table, e v1.Experiment) []any {
	row := []any{e.Number, string(e.Purpose), optional(e.Confirms), string(e.Status), e.Outcome, e.Attempts, e.Worker,
		strings.Join(e.Devices, " "), e.QueuedAt, instant(e.StartedAt), instant(e.FinishedAt), optional(e.Score)}
	if len(t.Task.Objectives) > 1 {
		for i := range t.Task.Objectives {
			if i < len(e.Scores) {
				row = append(row, e.Scores[i])
			} else {
				row = append(row, nil)
			}
		}
	}
	for _, p := range t.Parameters {
		row = append(row, e.Parameters[p]) // nil where its condition is false
	}
	for _, name := range t.Metrics {
		if m, ok := e.Metrics[name]; ok {
			row = append(row, m.Median, m.Spread, m.Unit)
		} else {
			row = append(row, nil, nil, nil)
		}
	}
	if e.Error == nil {
		row = append(row, nil, nil, nil, nil)
	} else {
		row = append(row, e.Error.Phase, e.Error.Message, e.Error.Timeout, optional(e.Error.ExitCode))
	}
	return append(row, optional(e.Record), optional(e.Fidelity))
}

func optional[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

func instant(t *time.Time) any {
	if t == nil {
		return nil
	}
	return *t
}

func writeCSV(w io.Writer, t Table) error {
	out := csv.NewWriter(w)
	head := header(t)
	for i := range head {
		head[i] = harmless(head[i])
	}
	if err := out.Write(head); err != nil {
		return fmt.Errorf("writing the header: %w", err)
	}
	record := make([]string, len(head))
	for e, err := range t.Rows {
		if err != nil {
			return err
		}
		for i, c := range cells(t, e) {
			record[i] = text(c)
		}
		if err := out.Write(record); err != nil {
			return fmt.Errorf("writing experiment %d: %w", e.Number, err)
		}
	}
	out.Flush()
	return out.Error()
}

func text(cell any) string {
	switch v := cell.(type) {
	case nil:
		return ""
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case string:
		return harmless(v)
	default:
		return harmless(fmt.Sprint(v))
	}
}

// harmless keeps a spreadsheet from taking text for a formula: a quote goes in
// front of what begins like one. A leading sign alone is let through where only
// letters, digits and plain punctuation follow, because compiler flags look
// like that.
func harmless(s string) string {
	if s == "" {
		return s
	}
	switch s[0] {
	case '=', '@', '\t', '\r':
		return "'" + s
	case '+', '-':
		if strings.Trim(s[1:], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-+_=.,:/ ") != "" {
			return "'" + s
		}
	}
	return s
}

// sheet is the name of the one sheet of a workbook.
const sheet = "experiments"

func writeXLSX(w io.Writer, t Table) error {
	book := excelize.NewFile()
	defer func() { _ = book.Close() }() // removes its temporary files
	if err := book.SetSheetName("Sheet1", sheet); err != nil {
		return fmt.Errorf("naming the sheet: %w", err)
	}
	out, err := book.NewStreamWriter(sheet)
	if err != nil {
		return fmt.Errorf("opening the sheet: %w", err)
	}
	var head []any
	for _, h := range header(t) {
		head = append(head, h)
	}
	if err := out.SetRow("A1", head); err != nil {
		return fmt.Errorf("writing the header: %w", err)
	}
	line := 1
	for e, err := range t.Rows {
		if err != nil {
			return err
		}
		line++
		row := cells(t, e)
		for i, c := range row {
			if at, ok := c.(time.Time); ok {
				row[i] = at.UTC().Format(time.RFC3339Nano) // a spreadsheet's own dates know no zone
			}
		}
		if err := out.SetRow("A"+strconv.Itoa(line), row); err != nil {
			return fmt.Errorf("writing experiment %d: %w", e.Number, err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("closing the sheet: %w", err)
	}
	if err := book.Write(w); err != nil {
		return fmt.Errorf("writing the workbook: %w", err)
	}
	return nil
}
