package v1

import (
	"time"

	"github.com/fleetune/fleetune/manager/records"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/google/uuid"
)

// A Record is one measurement of one point, and what it is a measurement of.
type Record struct {
	Number      int64             `json:"number" doc:"by which people name it; another manager gives it another one"`
	ID          uuid.UUID         `json:"id" doc:"of the experiment that measured it; the same everywhere"`
	Key         string            `json:"key" doc:"SHA-256 of operation, workload, environment and measurement"`
	Operation   string            `json:"operation"`
	Version     string            `json:"version" doc:"of the operation's meaning; may be empty"`
	Runner      string            `json:"runner" doc:"digest of what ran"`
	Extras      records.Facts     `json:"extras" nullable:"false"`
	Workload    records.Facts     `json:"workload" nullable:"false"`
	Environment records.Facts     `json:"environment" nullable:"false" doc:"null for a fact that is not known"`
	Measurement records.Facts     `json:"measurement" nullable:"false" doc:"how it was measured and what for"`
	Parameters  space.Point       `json:"parameters"`
	Outcome     string            `json:"outcome"`
	Score       *float64          `json:"score" doc:"value of the first objective; null when the configuration failed"`
	Metrics     map[string]Metric `json:"metrics" nullable:"false"`
	Confirmed   bool              `json:"confirmed" doc:"its task measured it again beside the baseline and named it its best"`
	Pinned      bool              `json:"pinned" doc:"an operator lets it serve before every winner"`
	Imported    bool              `json:"imported"`
	Task        string            `json:"task" doc:"that measured it"`
	MeasuredAt  time.Time         `json:"measured_at"`
}

// RecordOf tells of a record, wherever it is kept.
func RecordOf(r records.Record) Record {
	metrics := make(map[string]Metric, len(r.Metrics))
	for name, m := range r.Metrics {
		metrics[name] = Metric(m)
	}
	o := r.Key.Operation
	d := Record{ID: r.ID, Key: r.Key.Digest(), Operation: o.Name, Version: o.Version, Runner: o.Runner,
		Extras: known(o.Extras), Workload: known(r.Key.Workload), Environment: known(r.Key.Environment), Measurement: known(r.Key.Measurement),
		Parameters: r.Point, Outcome: string(r.Outcome), Metrics: metrics, Confirmed: r.Confirmed, Task: r.Task, MeasuredAt: r.MeasuredAt.UTC()}
	if len(r.Scores) > 0 {
		d.Score = &r.Scores[0]
	}
	return d
}

func known(f records.Facts) records.Facts {
	if f == nil {
		return records.Facts{}
	}
	return f
}

// A Winner is the record that serves a question.
type Winner struct {
	Record
	Match       string               `json:"match" enum:"exact,soft,nearest" doc:"exact: every fact agrees; soft: some are not known to; nearest: numbers of the workload differ"`
	Differences []records.Difference `json:"differences" nullable:"false" doc:"what is not known to agree, or differs"`
	Distance    float64              `json:"distance" doc:"doublings between the workload asked for and the one recorded; 0 unless nearest"`
	Median      float64              `json:"median" doc:"of the point's measurements under the key"`
	Points      int                  `json:"points" doc:"points measured under the key"`
}

// A RecordFile carries a file of records.
type RecordFile struct {
	File string `json:"file" minLength:"1" maxLength:"16000000" doc:"text of the file, as export wrote it"`
}

// An Import tells what became of records that were handed in.
type Import struct {
	Added     int               `json:"added"`
	Known     int               `json:"known" doc:"were there before"`
	Conflicts []uuid.UUID       `json:"conflicts" nullable:"false" doc:"were there before, told otherwise; what was there stays"`
	Dropped   []records.Dropped `json:"dropped" nullable:"false" doc:"lines that are damaged or no records"`
}

// A Pin says why a record is pinned.
type Pin struct {
	Note string `json:"note,omitempty" maxLength:"500" doc:"kept with the pin"`
}

// Served says how records serve a task.
type Served struct {
	Answers int      `json:"answers" doc:"points that records can answer"`
	Starts  int      `json:"starts" doc:"points of similar tasks that the search starts with"`
	Sources []string `json:"sources" nullable:"false" doc:"tasks that the starts come from"`
	Note    string   `json:"note" doc:"why there is nothing; may be empty"`
}
