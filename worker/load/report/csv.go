package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/telemetry"
)

var columns = []string{"avg", "min", "max", "sum", "p1", "p5", "p10", "p25", "p50", "p75", "p90", "p95", "p99", "std"}

func (m Metric) column(name string) *float64 {
	switch name {
	case "avg":
		return &m.Avg
	case "min":
		return m.Min
	case "max":
		return m.Max
	case "sum":
		return m.Sum
	case "std":
		return m.Std
	case "p1":
		return m.P1
	case "p5":
		return m.P5
	case "p10":
		return m.P10
	case "p25":
		return m.P25
	case "p50":
		return m.P50
	case "p75":
		return m.P75
	case "p90":
		return m.P90
	case "p95":
		return m.P95
	case "p99":
		return m.P99
	}
	return nil
}

func tags(in map[string]Metric) []string {
	out := make([]string, 0, len(in))
	for tag := range in {
		out = append(out, tag)
	}
	slices.Sort(out)
	return out
}

// WriteCSV writes two sections: figures with a distribution, then figures of
// the whole run. Rows are sorted by tag and named for people, the unit in
// parentheses, with two decimals.
func (d *Document) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	rows := [][]string{append([]string{"Metric"}, columns...)}
	var single [][]string
	for _, tag := range tags(d.Metrics) {
		m := d.Metrics[tag]
		name := fmt.Sprintf("%s (%s)", metrics.Title(tag), m.Unit)
		if m.Count == nil {
			single = append(single, []string{name, decimals(m.Avg)})
			continue
		}
		row := []string{name}
		for _, col := range columns {
			row = append(row, decimals(*m.column(col)))
		}
		rows = append(rows, row)
	}
	if err := c.WriteAll(rows); err != nil {
		return fmt.Errorf("writing the CSV report: %w", err)
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return fmt.Errorf("writing the CSV report: %w", err)
	}
	if err := c.WriteAll(append([][]string{{"Metric", "Value"}}, single...)); err != nil {
		return fmt.Errorf("writing the CSV report: %w", err)
	}
	return d.writeGPUs(w)
}

// writeGPUs adds a row for every figure of every GPU, where there is any.
func (d *Document) writeGPUs(w io.Writer) error {
	if len(d.GPUs) == 0 {
		return nil
	}
	rows := [][]string{append([]string{"GPU", "Name", "UUID", "Metric"}, columns...)}
	for i, g := range d.GPUs {
		for _, tag := range slices.Sorted(maps.Keys(g.Figures)) {
			m := metric(metrics.Metric{Tag: tag, Unit: telemetry.Unit(tag), Stats: g.Figures[tag]})
			row := []string{strconv.Itoa(i), g.Name, g.ID, fmt.Sprintf("%s (%s)", metrics.Title(tag), m.Unit)}
			for _, col := range columns {
				row = append(row, decimals(*m.column(col)))
			}
			rows = append(rows, row)
		}
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return fmt.Errorf("writing the CSV report: %w", err)
	}
	if err := csv.NewWriter(w).WriteAll(rows); err != nil {
		return fmt.Errorf("writing the CSV report: %w", err)
	}
	return nil
}

// WriteSlicesCSV writes one figure of one slice a row.
func (d *Document) WriteSlicesCSV(w io.Writer) error {
	rows := [][]string{{"Timeslice", "Metric", "Unit", "Stat", "Value"}}
	for _, s := range d.Slices {
		for _, tag := range tags(s.Metrics) {
			m := s.Metrics[tag]
			for _, col := range columns {
				if x := m.column(col); x != nil {
					rows = append(rows, []string{strconv.FormatInt(s.Index, 10), metrics.Title(tag), m.Unit, col, decimals(*x)})
				}
			}
		}
	}
	if err := csv.NewWriter(w).WriteAll(rows); err != nil {
		return fmt.Errorf("writing the time slices: %w", err)
	}
	return nil
}

func decimals(x float64) string { return strconv.FormatFloat(finite(x), 'f', 2, 64) }
