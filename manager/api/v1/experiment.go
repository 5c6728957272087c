package v1

import (
	"math"
	"time"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/google/uuid"
)

// An Experiment as it stands.
type Experiment struct {
	ID         uuid.UUID          `json:"id"`
	Number     int                `json:"number"`
	Purpose    experiment.Purpose `json:"purpose" enum:"baseline,search,confirm"`
	Confirms   *int               `json:"confirms" doc:"the number that a confirmation measures again"`
	Status     experiment.State   `json:"status" enum:"queued,running,success,failed,cancelled"`
	Outcome    string             `json:"outcome" doc:"how it ended; empty until then"`
	Phase      string             `json:"phase,omitempty" doc:"what its worker does for it now, such as download, load or benchmark; while it runs"`
	Detail     string             `json:"detail,omitempty" doc:"how far that is, in words"`
	Parameters space.Point        `json:"parameters"`
	Metrics    map[string]Metric  `json:"metrics" nullable:"false"`
	Score      *float64           `json:"score" doc:"value of the first objective, with the penalty for missed promises"`
	Scores     []float64          `json:"scores,omitempty" doc:"one such value per objective, when there are several"`
	Fidelity   *float64           `json:"fidelity" doc:"the level it is measured at where that is less than a full measurement; null for those that are one"`
	Attempts   int                `json:"attempts" doc:"attempts that count; those handed back unfinished do not"`
	Worker     string             `json:"worker" doc:"of the present or the last attempt"`
	Devices    []string           `json:"devices" nullable:"false"`
	QueuedAt   time.Time          `json:"queued_at"`
	StartedAt  *time.Time         `json:"started_at"`
	FinishedAt *time.Time         `json:"finished_at"`
	Simulated  string             `json:"simulated,omitempty" doc:"the GPU that its figures are simulated for; absent where a real engine is measured"`
	Record     *int64             `json:"record" doc:"the record that answered it, which then was not measured; null for the others"`
	Error      *Error             `json:"error"`
}

// Final says that the experiment has ended.
func (e *Experiment) Final() bool { return e.Status.Final() }

// A Metric is the summary of one measured quantity.
type Metric struct {
	Unit   string  `json:"unit"`
	Median float64 `json:"median"`
	Spread float64 `json:"spread" doc:"interquartile range of the samples"`
	Count  int     `json:"count" doc:"number of samples"`
}

// Penalised says that a score is not the figure that was measured, for promises
// that were missed.
func Penalised(score float64, m Metric) bool {
	return math.Abs(score-m.Median) > 1e-9*math.Abs(m.Median)
}

// An Error is the evidence of an experiment or attempt that did not succeed.
type Error struct {
	Phase    string `json:"phase"`
	Cause    string `json:"cause,omitempty" doc:"what an engine died of, such as bad_flag or oom_at_load"`
	Message  string `json:"message"`
	Hint     string `json:"hint" doc:"what to do next; may be empty"`
	ExitCode *int   `json:"exit_code"`
	Signal   string `json:"signal"`
	Timeout  string `json:"timeout" doc:"which limit was hit; empty when none was"`
	LogTail  string `json:"log_tail" doc:"end of the failing program's output"`
}

// A Detailed experiment comes with its attempts.
type Detailed struct {
	Experiment
	History []Attempt `json:"history" nullable:"false" doc:"attempts that ended, in order, the rejected ones too"`
}

// An Attempt is one execution of an experiment that ended.
type Attempt struct {
	Attempt    int                `json:"attempt"`
	Epoch      int64              `json:"epoch"`
	Worker     string             `json:"worker"`
	Devices    []string           `json:"devices" nullable:"false"`
	StartedAt  *time.Time         `json:"started_at"`
	FinishedAt time.Time          `json:"finished_at"`
	Outcome    string             `json:"outcome" doc:"an experiment's outcome, or handed_back"`
	Accepted   bool               `json:"accepted" doc:"its result is the experiment's"`
	Metrics    map[string]Sampled `json:"metrics" nullable:"false"`
	Reference  map[string]Sampled `json:"reference,omitempty" doc:"the baseline, measured in alternation; confirmations only"`
	Checks     []experiment.Check `json:"checks" nullable:"false"`
	Serving    *Serving           `json:"serving,omitempty" doc:"what an engine measured, cell by cell, whatever the outcome; serving experiments only"`
	// Seconds of the attempt's parts: staging, waiting, running.
	Seconds map[string]float64 `json:"seconds" nullable:"false" doc:"time spent staging, waiting and running"`
	Error   *Error             `json:"error"`
}

// A Sampled metric comes with its samples in the order they were taken.
type Sampled struct {
	Unit    string    `json:"unit"`
	Median  float64   `json:"median"`
	Spread  float64   `json:"spread"`
	Samples []float64 `json:"samples" nullable:"false"`
}

// A LogChunk is a piece of an attempt's output.
type LogChunk struct {
	Sequence uint64    `json:"sequence" doc:"cursor: grows from piece to piece"`
	Worker   string    `json:"worker"`
	Attempt  int       `json:"attempt"`
	Stream   string    `json:"stream" doc:"phase and stream, such as 'build stderr'"`
	Offset   int64     `json:"offset" doc:"bytes before it in the stream as captured"`
	Data     string    `json:"data"`
	Last     bool      `json:"last" doc:"ends the output of the attempt"`
	At       time.Time `json:"at"`
}
