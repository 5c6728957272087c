package report

import (
	"strconv"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/shared/terminal"
)

// A Table lists the experiments.
type Table struct {
	Columns []Column `json:"columns"`
	Rows    []Row    `json:"rows"`
}

// A Column of it; those of numbers are sorted as such.
type Column struct {
	Title   string `json:"title"`
	Numbers bool   `json:"numbers,omitempty"`
}

// A Row is one experiment.
type Row struct {
	Class string  `json:"class,omitempty"`
	Cells []Entry `json:"cells"`
}

// An Entry is what stands in a row, and what it is sorted by.
type Entry struct {
	Text string `json:"text"`
	Key  string `json:"key"`
}

func table(in Input) Table {
	t := Table{Columns: []Column{{"#", true}, {"Purpose", false}, {"Outcome", false}, {metricName(in.Task), true}}, Rows: []Row{}}
	if in.Insight.Penalised {
		t.Columns = append(t.Columns, Column{"score", true})
	}
	for _, name := range in.Task.Parameters {
		t.Columns = append(t.Columns, Column{name, false})
	}
	t.Columns = append(t.Columns, Column{"Worker", false}, Column{"Took", true}, Column{"Error", false})
	u := unit(in.Experiments, metricName(in.Task))
	for _, e := range in.Experiments {
		t.Rows = append(t.Rows, row(in, e, u))
	}
	return t
}

func row(in Input, e v1.Experiment, unit string) Row {
	t, r := in.Task, Row{}
	switch {
	case t.Best != nil && t.Best.Number == e.Number:
		r.Class = "best"
	case t.Baseline != nil && t.Baseline.Number == e.Number:
		r.Class = "baseline"
	}
	add := func(text, key string) { r.Cells = append(r.Cells, Entry{text, key}) }
	plain := func(text string) { add(text, text) }
	add(strconv.Itoa(e.Number), strconv.Itoa(e.Number))
	plain(string(e.Purpose))
	outcome := e.Outcome
	if outcome == "" {
		outcome = string(e.Status)
	}
	plain(outcome)
	figure := func(v *float64) {
		if v == nil {
			add("", "")
			return
		}
		add(terminal.Quantity(*v, unit), strconv.FormatFloat(*v, 'g', -1, 64))
	}
	measured := e.Score
	if m, ok := e.Metrics[metricName(t)]; ok && in.Insight.Penalised {
		measured = &m.Median
	}
	figure(measured)
	if in.Insight.Penalised {
		figure(e.Score)
	}
	for _, name := range t.Parameters {
		text := ""
		if v, ok := e.Parameters[name]; ok {
			text = terminal.Value(v)
		}
		plain(text)
	}
	plain(e.Worker)
	if e.StartedAt != nil && e.FinishedAt != nil {
		took := e.FinishedAt.Sub(*e.StartedAt)
		add(terminal.Duration(took), strconv.FormatFloat(took.Seconds(), 'f', 3, 64))
	} else {
		add("", "")
	}
	if e.Error != nil {
		plain(e.Error.Phase + ": " + e.Error.Message)
	} else {
		plain("")
	}
	return r
}
