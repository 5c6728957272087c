// Package wire holds every message that crosses the bus, one type per
// subject, and the subjects themselves. Messages are JSON; an unknown field is
// ignored so that workers and managers of neighbouring versions understand
// each other, and Version tells them apart.
package wire

import (
	"encoding/json"
	"time"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/google/uuid"
)

// Version is the version of the messages in this package.
const Version = 1

// An Offer says that an experiment is ready to be claimed. It is complete in
// itself: a worker needs nothing else but the bundle it names.
type Offer struct {
	Version    int                `json:"v"`
	Experiment uuid.UUID          `json:"experiment"`
	Task       uuid.UUID          `json:"task"`
	TaskName   string             `json:"task_name"`
	Number     int                `json:"number"`
	Purpose    experiment.Purpose `json:"purpose"`
	Queue      string             `json:"queue"`
	Kind       string             `json:"kind"`
	Parameters space.Point        `json:"parameters"`
	// Baseline is measured in alternation with Parameters; confirmations only. An
	// empty one is a baseline too, an engine's defaults: it is not left out.
	Baseline space.Point `json:"baseline,omitzero"`
	// Seed for fresh inputs.
	Seed    int64 `json:"seed"`
	Repeats int   `json:"repeats"`
	// Metrics the objectives need: a measurement without one is no_metric.
	Metrics []string `json:"metrics,omitempty"`
	// Spec is the kind's own part of the task, decoded by its runner.
	Spec json.RawMessage `json:"spec,omitempty"`
	// Staged says that the runner prepares (renders, builds) before it needs
	// its devices.
	Staged       bool              `json:"staged,omitempty"`
	Requirements node.Requirements `json:"requirements"`
	// Fidelity is the level to measure at; nil where the task names none. In
	// the parameters of a command experiment it stands under its name as well.
	Fidelity *Fidelity `json:"fidelity,omitempty"`
	// Race asks the worker to tell the samples of the metrics while it takes
	// them, since the manager may end the attempt by what they say.
	Race bool `json:"race,omitempty"`
	// Model is what the engine serves from the worker's own node: workers that
	// have it go first. Empty where no node has to have one.
	Model string `json:"model,omitempty"`
}

// Fidelity is how much of a full measurement an experiment is.
type Fidelity struct {
	Name  string  `json:"name"`
	Level float64 `json:"level"`
	// Full is the level of a full measurement.
	Full float64 `json:"full"`
}

// A Progress tells what an attempt has measured so far. Each one holds all of
// that, so loss, repeats and reordering cost time only: the next one says more.
// It carries no result; that is the report's part.
type Progress struct {
	Version    int       `json:"v"`
	Worker     string    `json:"worker"`
	Experiment uuid.UUID `json:"experiment"`
	Task       uuid.UUID `json:"task"`
	Epoch      int64     `json:"epoch"`
	// Samples by metric in the order they were taken, the first MaxSamples.
	Samples map[string][]float64 `json:"samples"`
}

// MaxSamples bounds the samples of a metric in a Progress. Whoever is not
// surely worse by then is not going to be.
const MaxSamples = 256

// A Claim asks the manager for experiments whose offers the worker holds, and
// for whose devices it holds leases (staged ones excepted).
type Claim struct {
	Version int         `json:"v"`
	Worker  string      `json:"worker"`
	Session uuid.UUID   `json:"session"`
	Items   []ClaimItem `json:"items"`
}

// A ClaimItem asks for one experiment. Asking again with the same ID gives the
// same answer, so a lost reply costs nothing.
type ClaimItem struct {
	ID         uuid.UUID `json:"id"`
	Experiment uuid.UUID `json:"experiment"`
	Devices    []string  `json:"devices,omitempty"`
	// Queue and Model are the offer's, Delivered says how often it was delivered
	// by now: the manager may ask to leave it to a worker that has the model, and
	// not for ever.
	Queue     string `json:"queue,omitempty"`
	Model     string `json:"model,omitempty"`
	Delivered uint64 `json:"delivered,omitempty"`
}

// A ClaimReply answers a claim, item by item in its order. A Retry reply says
// that the manager could not decide; the worker asks again.
type ClaimReply struct {
	Version int     `json:"v"`
	Retry   string  `json:"retry,omitempty"`
	Grants  []Grant `json:"grants"`
}

// A Grant gives an experiment to a worker under a new epoch, or refuses it.
type Grant struct {
	Experiment uuid.UUID `json:"experiment"`
	// Refused says why not; empty when granted.
	Refused string `json:"refused,omitempty"`
	// Later, when above 0, neither grants nor refuses: the offer goes back for so
	// long, since another worker that is free has the model already.
	Later   time.Duration `json:"later_ns,omitempty"`
	Epoch   int64         `json:"epoch,omitempty"`
	Attempt int           `json:"attempt,omitempty"`
	// Budget bounds the attempt on its devices; Total says that the task's
	// remaining time is what bounds it, not the experiment's own time-out.
	Budget time.Duration `json:"budget_ns,omitempty"`
	Total  bool          `json:"total,omitempty"`
	// Left is the task's remaining time at the claim; 0 when it has no bound.
	// Staging and waiting for devices use it up as well.
	Left time.Duration `json:"left_ns,omitempty"`
}

// A Beat says what a worker is and what it holds. It renews the leases of
// every attempt it lists, and of none that it does not.
type Beat struct {
	Version int       `json:"v"`
	Worker  string    `json:"worker"`
	Session uuid.UUID `json:"session"`
	// Sequence grows by one a beat within a session.
	Sequence uint64             `json:"seq"`
	Node     node.Advertisement `json:"node"`
	// Held lists attempts that run, or whose result is not yet confirmed.
	Held     []Held `json:"held,omitempty"`
	Draining bool   `json:"draining,omitempty"`
	// Leaving is the last beat of a session that has handed everything back.
	Leaving bool `json:"leaving,omitempty"`
	// Trouble explains why the worker takes no work (a full disk, say).
	Trouble string `json:"trouble,omitempty"`
}

// Held is an attempt in a worker's hands.
type Held struct {
	Experiment uuid.UUID `json:"experiment"`
	Epoch      int64     `json:"epoch"`
	// Phase is staging, waiting, running or reporting; while it runs, a serving
	// experiment says more: download, load, benchmark or stop.
	Phase string `json:"phase"`
	// Detail says how far the phase is, in words; may be empty.
	Detail  string   `json:"detail,omitempty"`
	Devices []string `json:"devices,omitempty"`
}

// A BeatReply renews leases and carries what the worker must know.
type BeatReply struct {
	Version int `json:"v"`
	// Lease is how long the renewed leases last from the moment the beat was sent.
	Lease time.Duration `json:"lease_ns"`
	// Every is how often to beat.
	Every time.Duration `json:"every_ns"`
	// Lost lists attempts that are no longer the worker's: stop them, free the devices.
	Lost []Held `json:"lost,omitempty"`
	// Cancel lists experiments whose task was cancelled: stop and report them.
	Cancel []uuid.UUID `json:"cancel,omitempty"`
	// Queues the worker may fetch from, those of larger device counts first
	// within a priority.
	Queues []Queue `json:"queues,omitempty"`
	// Hold, when above 1, asks the worker to keep its devices for offers that
	// need at least so many, so that a large request does not starve.
	Hold  int  `json:"hold,omitempty"`
	Drain bool `json:"drain,omitempty"`
	// Superseded says that a newer session of this worker's name is at work.
	Superseded bool `json:"superseded,omitempty"`
}

// A Queue is where offers of one kind of place wait.
type Queue struct {
	Name         string            `json:"name"`
	Priority     string            `json:"priority"`
	Requirements node.Requirements `json:"requirements"`
	// Staged offers are claimed before their devices are leased.
	Staged bool `json:"staged,omitempty"`
}

// A Report is the result of one attempt. A message carries the reports that
// became ready together, one a line.
type Report struct {
	Version    int                `json:"v"`
	Worker     string             `json:"worker"`
	Experiment uuid.UUID          `json:"experiment"`
	Task       uuid.UUID          `json:"task"`
	Epoch      int64              `json:"epoch"`
	Attempt    int                `json:"attempt"`
	Devices    []string           `json:"devices,omitempty"`
	StartedAt  time.Time          `json:"started_at"`
	FinishedAt time.Time          `json:"finished_at"`
	Outcome    experiment.Outcome `json:"outcome"`
	// HandedBack says that the worker gave the attempt up unfinished (drain,
	// fencing): the experiment is queued again and the attempt not counted
	// against it.
	HandedBack  bool                    `json:"handed_back,omitempty"`
	Measurement *experiment.Measurement `json:"measurement,omitempty"`
	Failure     *experiment.Failure     `json:"failure,omitempty"`
	// Timings of the attempt's parts: staging, waiting, running.
	Timings map[string]time.Duration `json:"timings_ns,omitempty"`
}

// A Confirm tells a worker that its reports are committed; it may drop them.
type Confirm struct {
	Reports []Attempted `json:"reports"`
}

// Attempted names an attempt.
type Attempted struct {
	Experiment uuid.UUID `json:"experiment"`
	Epoch      int64     `json:"epoch"`
}

// Enough says that an attempt need not go on, and why.
type Enough struct {
	Experiment uuid.UUID `json:"experiment"`
	Epoch      int64     `json:"epoch"`
	Reason     string    `json:"reason"`
}

// A Control is a message to one worker that cannot wait for its next beat.
type Control struct {
	Confirm *Confirm    `json:"confirm,omitempty"`
	Cancel  []uuid.UUID `json:"cancel,omitempty"`
	// Enough lists attempts whose samples say that they are surely worse than
	// the incumbent: stop them and report what they measured.
	Enough []Enough `json:"enough,omitempty"`
	// Beat asks for a beat now: queues have changed, or a drain is asked for.
	Beat bool `json:"beat,omitempty"`
}

// A Hint says that a queue has new offers. It may be lost; workers also look
// from time to time.
type Hint struct {
	Queue string `json:"queue"`
}

// A Fetch asks the manager for a part of a bundle.
type Fetch struct {
	Digest string `json:"digest"`
	Offset int64  `json:"offset"`
}

// A FetchReply carries that part. Size is the whole bundle's.
type FetchReply struct {
	Size  int64  `json:"size"`
	Data  []byte `json:"data"`
	Error string `json:"error,omitempty"`
}

// A LogChunk is a piece of an attempt's output.
type LogChunk struct {
	Attempt int    `json:"attempt"`
	Stream  string `json:"stream"` // phase and stream: "build stderr"
	// Offset in bytes within the stream as captured.
	Offset int64  `json:"offset"`
	Data   string `json:"data"`
	// Last ends the log of the attempt.
	Last bool `json:"last,omitempty"`
}
