package export

import (
	"fmt"
	"strings"
	"time"

	"github.com/fleetune/fleetune/manager/api/v1"
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
	h = append(h, "error_phase", "error_message", "error_timeout", "exit_code", "record", "fidelity")
	if t.Task.Simulated != "" {
		h = append(h, "simulated")
	}
	return h
}

func columns(t Table, e v1.Experiment) []any {
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
	row = append(row, optional(e.Record), optional(e.Fidelity))
	if t.Task.Simulated != "" {
		row = append(row, e.Simulated)
	}
	return row
}

// cellHeader names the columns of a table of cells.
func cellHeader(t Cells) []string {
	h := []string{"number", "purpose", "confirms", "outcome", "side", "scenario", "concurrency", "missing", "requests",
		"errors", "errors_by_class", "slo_missed"}
	for _, p := range t.Parameters {
		h = append(h, "parameter:"+p)
	}
	for _, m := range t.Metrics {
		h = append(h, "metric:"+m, "spread:"+m, "count:"+m, "unit:"+m)
	}
	if t.Task.Simulated != "" {
		h = append(h, "simulated")
	}
	return h
}

func cellColumns(t Cells, c Cell) []any {
	row := []any{c.Number, c.Purpose, optional(c.Confirms), c.Outcome, c.Side, c.Scenario, c.Concurrency, c.Missing,
		c.Requests, c.Errors, classes(c.ErrorsByClass), missedPromises(c.Promises)}
	for _, p := range t.Parameters {
		row = append(row, c.Parameters[p])
	}
	for _, name := range t.Metrics {
		if m, ok := c.Metrics[name]; ok {
			row = append(row, m.Median, m.Spread, len(m.Samples), m.Unit)
		} else {
			row = append(row, nil, nil, nil, nil)
		}
	}
	if t.Task.Simulated != "" {
		row = append(row, c.Simulated)
	}
	return row
}

// classes writes counts of errors: "refused=2 timeout=1".
func classes(counts map[string]int) string {
	var words []string
	for _, name := range sorted(counts) {
		words = append(words, fmt.Sprintf("%s=%d", name, counts[name]))
	}
	return strings.Join(words, " ")
}

// missedPromises names the SLO's metrics that a cell misses.
func missedPromises(list []v1.Promise) string {
	var words []string
	for _, p := range list {
		if p.Margin > 0 {
			words = append(words, p.Metric)
		}
	}
	return strings.Join(words, " ")
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
