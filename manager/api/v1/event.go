package v1

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// An Event is something that happened to a task: kind "task" (its status
// changed; payload state, cause, name), "experiments" (results came in;
// payload numbers) or "deleted" (it is gone; payload name, cause and what went).
type Event struct {
	ID      int64           `json:"id" doc:"what Last-Event-ID resumes behind"`
	Task    *uuid.UUID      `json:"task"`
	Kind    string          `json:"kind"`
	Payload json.RawMessage `json:"payload"`
	At      time.Time       `json:"at"`
}
