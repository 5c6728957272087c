package v1

import (
	"time"

	"github.com/google/uuid"
)

// A Deletion says what goes with a task and what stays.
type Deletion struct {
	ID          uuid.UUID  `json:"id"`
	Name        string     `json:"name"`
	Status      string     `json:"status" enum:"completed,failed,cancelled"`
	FinishedAt  *time.Time `json:"finished_at"`
	Experiments int        `json:"experiments" doc:"gone with it, confirmations included; so are its attempts, metrics, output and events, and its files where no other task refers to them"`
	Attempts    int        `json:"attempts"`
	Records     int        `json:"records" doc:"tuning records that its experiments made; they are kept"`
	Deleted     bool       `json:"deleted" doc:"false after a dry run"`
}

// A Retry hands a task's file in again.
type Retry struct {
	Name     string `json:"name,omitempty" maxLength:"63" doc:"of the new task; the next free NAME-runN where there is none"`
	Paused   bool   `json:"paused,omitempty" doc:"store it paused, so that nothing starts until it is resumed"`
	Failures bool   `json:"failures,omitempty" doc:"measure only what did not succeed: tuning records answer the rest, as with records.reuse: exact"`
}
