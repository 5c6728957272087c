package terminal

import (
	"fmt"
	"slices"
	"strings"
)

// A Column of a table.
type Column struct {
	Title string
	// Right aligns numbers.
	Right bool
	// Least is what the column keeps when the table must shrink; one without
	// is never cut.
	Least int
	// Styled columns take the style of their text as a status.
	Styled bool
}

// A Table lines cells up. Cells are cleaned.
type Table struct {
	Columns []Column
	rows    [][]string
}

// Add adds a row of one cell per column.
func (t *Table) Add(cells ...string) {
	row := make([]string, len(t.Columns))
	for i := range row {
		if i < len(cells) {
			row[i] = Clean(cells[i])
		}
	}
	t.rows = append(t.rows, row)
}

// gap is the number of columns between two cells.
const gap = 2

// Print writes the table. Where it is wider than the screen, columns in which
// no row says anything are left out; then the widest are cut first, down to
// their least; then the line is cut.
func (t *Table) Print(s Screen) error {
	widths := t.widths()
	if s.Width > 0 && total(widths) > s.Width {
		t = t.saying()
		widths = t.widths()
		t.shrink(widths, s.Width)
	}
	head := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		head[i] = c.Title
	}
	if err := t.line(s, widths, head, true); err != nil {
		return err
	}
	for _, row := range t.rows {
		if err := t.line(s, widths, row, false); err != nil {
			return err
		}
	}
	return nil
}

func (t *Table) widths() []int {
	widths := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		widths[i] = Width(c.Title)
		for _, row := range t.rows {
			widths[i] = max(widths[i], Width(row[i]))
		}
	}
	return widths
}

// saying is the table without the columns that are empty in every row.
func (t *Table) saying() *Table {
	kept := &Table{rows: make([][]string, len(t.rows))}
	for i, c := range t.Columns {
		if len(t.rows) > 0 && !slices.ContainsFunc(t.rows, func(row []string) bool { return row[i] != "" }) {
			continue
		}
		kept.Columns = append(kept.Columns, c)
		for r, row := range t.rows {
			kept.rows[r] = append(kept.rows[r], row[i])
		}
	}
	return kept
}

// total is how wide a line is.
func total(widths []int) int {
	sum := gap * (len(widths) - 1)
	for _, w := range widths {
		sum += w
	}
	return sum
}

func (t *Table) shrink(widths []int, screen int) {
	for total := total(widths); total > screen; total-- {
		widest := -1
		for i, c := range t.Columns {
			if c.Least > 0 && widths[i] > c.Least && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
	}
}

func (t *Table) line(s Screen, widths []int, row []string, head bool) error {
	var b strings.Builder
	used := 0
	for i, c := range t.Columns {
		if i > 0 {
			b.WriteString(strings.Repeat(" ", gap))
			used += gap
		}
		room := widths[i]
		if s.Width > 0 {
			room = min(room, s.Width-used)
		}
		if room <= 0 {
			break
		}
		text := Cut(row[i], room)
		blank := strings.Repeat(" ", max(room-Width(text), 0))
		used += room
		style := Plain
		switch {
		case head:
			style = Bold
		case c.Styled:
			style = StatusStyle(row[i])
		}
		if c.Right {
			b.WriteString(blank + s.Paint(style, text))
		} else {
			b.WriteString(s.Paint(style, text) + blank)
		}
	}
	_, err := fmt.Fprintln(s, strings.TrimRight(b.String(), " "))
	return err
}
