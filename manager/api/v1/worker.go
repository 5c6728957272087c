package v1

import (
	"time"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/google/uuid"
)

// A Worker as its last beat described it.
type Worker struct {
	Name       string            `json:"name"`
	Status     string            `json:"status" enum:"online,draining,lost,left"`
	Drain      bool              `json:"drain" doc:"it was asked to finish what it runs and leave"`
	Trouble    string            `json:"trouble" doc:"why it takes no work; empty when it does"`
	Host       string            `json:"host"`
	Pool       string            `json:"pool"`
	Labels     map[string]string `json:"labels" nullable:"false"`
	Kinds      []string          `json:"kinds" nullable:"false"`
	Launchers  []string          `json:"launchers" nullable:"false" doc:"how it can start engines"`
	Engines    map[string]string `json:"engines" nullable:"false" doc:"engines that are installed, with their versions; empty where one does not tell it"`
	Models     []string          `json:"models" nullable:"false" doc:"models that are complete on its node"`
	Version    string            `json:"version"`
	Devices    []Device          `json:"devices" nullable:"false"`
	Running    []Held            `json:"running" nullable:"false" doc:"attempts in its hands"`
	FirstSeen  time.Time         `json:"first_seen"`
	StartedAt  time.Time         `json:"started_at"`
	LastBeatAt time.Time         `json:"last_beat_at"`
}

// A Device of a worker.
type Device struct {
	ID     string      `json:"id"`
	Vendor string      `json:"vendor"`
	Model  string      `json:"model"`
	Memory int64       `json:"memory" doc:"bytes"`
	Driver string      `json:"driver"`
	Cores  []int       `json:"cores,omitempty"`
	Health node.Health `json:"health" enum:"ok,missing,foreign,quarantined"`
	Reason string      `json:"reason" doc:"explains every health but ok"`
	Busy   bool        `json:"busy" doc:"an attempt holds it"`
}

// Held is an attempt in a worker's hands.
type Held struct {
	Experiment uuid.UUID `json:"experiment"`
	Task       string    `json:"task" doc:"name; empty when the experiment is not known"`
	Number     int       `json:"number"`
	Worker     string    `json:"worker"`
	Epoch      int64     `json:"epoch"`
	Phase      string    `json:"phase"`
	Detail     string    `json:"detail,omitempty" doc:"how far the phase is, in words"`
	Devices    []string  `json:"devices" nullable:"false"`
}

// Credentials let a worker on another node join.
type Credentials struct {
	URL      string `json:"url" doc:"of the bus"`
	User     string `json:"user"`
	Password string `json:"password"`
}
