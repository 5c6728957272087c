package export

import (
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/xuri/excelize/v2"
)

func writeCSV[T any](w io.Writer, s sheet[T]) error {
	out := csv.NewWriter(w)
	head := slices.Clone(s.head)
	for i := range head {
		head[i] = harmless(head[i])
	}
	if err := out.Write(head); err != nil {
		return fmt.Errorf("writing the header: %w", err)
	}
	record := make([]string, len(head))
	line := 1
	for row, err := range s.rows {
		if err != nil {
			return err
		}
		line++
		for i, c := range s.cells(row) {
			record[i] = text(c)
		}
		if err := out.Write(record); err != nil {
			return fmt.Errorf("writing line %d: %w", line, err)
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

func writeXLSX[T any](w io.Writer, s sheet[T]) error {
	book := excelize.NewFile()
	defer func() { _ = book.Close() }() // removes its temporary files
	if err := book.SetSheetName("Sheet1", s.name); err != nil {
		return fmt.Errorf("naming the sheet: %w", err)
	}
	out, err := book.NewStreamWriter(s.name)
	if err != nil {
		return fmt.Errorf("opening the sheet: %w", err)
	}
	var head []any
	for _, h := range s.head {
		head = append(head, h)
	}
	if err := out.SetRow("A1", head); err != nil {
		return fmt.Errorf("writing the header: %w", err)
	}
	line := 1
	for row, err := range s.rows {
		if err != nil {
			return err
		}
		line++
		cells := s.cells(row)
		for i, c := range cells {
			if at, ok := c.(time.Time); ok {
				cells[i] = at.UTC().Format(time.RFC3339Nano) // a spreadsheet's own dates know no zone
			}
		}
		if err := out.SetRow("A"+strconv.Itoa(line), cells); err != nil {
			return fmt.Errorf("writing line %d: %w", line, err)
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

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
