package task

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/fleetune/fleetune/proto/task/internal/document"
)

// Records say under which key a task's measurements are kept, and which
// earlier ones serve it.
type Records struct {
	Operation string `json:"operation"`
	Version   string `json:"version,omitempty"`
	// Extras and Workload hold a text, a number, a boolean or a list of those.
	Extras   map[string]json.RawMessage `json:"extras,omitempty"`
	Workload map[string]json.RawMessage `json:"workload,omitempty"`
	// Labels of the worker that belong to the environment.
	Labels   []string `json:"environment,omitempty"`
	Reuse    Reuse    `json:"reuse,omitempty"`
	Transfer Transfer `json:"transfer,omitempty"`
}

// Reuse says whether records answer experiments.
type Reuse string

// The ways to reuse records. Off is the default: a task measures for itself.
const (
	ReuseOff   Reuse = "off"
	ReuseExact Reuse = "exact"
)

// Transfer says whether similar tasks' records start the search.
type Transfer string

// The ways to transfer. Off is the default: the same file and seed choose the
// same points, whatever was tuned before.
const (
	TransferOff     Transfer = "off"
	TransferRelated Transfer = "related"
)

// Recorded returns the task's records section with its defaults: the task's
// name is the operation.
func (t *Task) Recorded() Records {
	var r Records
	if t.Records != nil {
		r = *t.Records
	}
	if r.Operation == "" {
		r.Operation = t.Name
	}
	if r.Reuse == "" {
		r.Reuse = ReuseOff
	}
	if r.Transfer == "" {
		r.Transfer = TransferOff
	}
	return r
}

// Rename gives the task another name. Its operation keeps the old one: a task
// that is handed in again under a new name still is the same work.
func (t *Task) Rename(name string) {
	r := t.Recorded()
	t.Name, t.Records = name, &r
}

// Runner is the digest of what runs: programs, files, environment and
// correctness gate, or the engine and what it is loaded with. Two tasks with
// the same runner measure a point in the same way; what only orders the search
// (budget, time-outs, finalists, thresholds, apply) does not count.
func (t *Task) Runner() (string, error) {
	type runner struct {
		Kind    string   `json:"kind"`
		Command *Command `json:"command,omitempty"`
		Serving *Serving `json:"serving,omitempty"`
	}
	r := runner{Kind: t.Kind()}
	if t.Command != nil {
		c := *t.Command
		c.Baseline, c.Finalists, c.Thresholds, c.Apply = nil, 0, Thresholds{}, nil
		c.Warmups, c.MinDuration, c.Cooldown, c.Measure = 0, 0, 0, ""
		for _, step := range []**Step{&c.Build, &c.Inputs, &c.Reference, &c.Check} {
			*step = untimed(*step)
		}
		c.Run = *untimed(&c.Run)
		r.Command = &c
	}
	if t.Serving != nil {
		s := *t.Serving
		s.NoBaseline, s.Baseline, s.Finalists, s.Thresholds = false, nil, 0, Thresholds{}
		s.LoadTimeout, s.BenchmarkTimeout, s.CostPerDeviceHour = 0, 0, 0
		r.Serving = &s
	}
	data, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("encoding what the task runs: %w", err)
	}
	digest := sha256.Sum256(data)
	return r.Kind + ":" + hex.EncodeToString(digest[:16]), nil
}

// untimed is a step without its time-out, which bounds it and is no part of it.
func untimed(s *Step) *Step {
	if s == nil {
		return nil
	}
	return &Step{Argv: s.Argv}
}

// factBytes bounds one fact of a workload, as JSON.
const factBytes = 4096

func (d *decoder) records(t *Task) {
	f := d.form.Records
	if f == nil {
		return
	}
	r := &Records{Operation: f.Operation, Version: string(f.Version), Extras: f.Extras, Workload: f.Workload,
		Reuse: Reuse(f.Reuse), Transfer: Transfer(f.Transfer)}
	for i, label := range f.Environment {
		switch at := document.Item("records.environment", i); {
		case label == "":
			d.Fail(at, "is empty", "the name of a worker's label")
		case slices.Contains(r.Labels, label):
			d.Fail(at, fmt.Sprintf("names %q a second time", document.Clip(label)), "every label once")
		}
		r.Labels = append(r.Labels, label)
	}
	slices.Sort(r.Labels)
	d.facts("records.extras", r.Extras)
	d.facts("records.workload", r.Workload)
	for _, name := range slices.Sorted(maps.Keys(r.Extras)) {
		if _, both := r.Workload[name]; both {
			d.Fail(document.Join("records.extras", name), "is in the workload too", "a fact of the runner that no shape of the workload changes")
		}
	}
	t.Records = r
	if t.Kind() == KindNoop && (r.Reuse == ReuseExact || r.Transfer == TransferRelated) {
		d.warn("records", "has no effect on a noop task, which measures nothing", "")
	}
}

// facts refuses what is neither a scalar nor a list of them: a key has to
// compare equal wherever it is written.
func (d *decoder) facts(at string, facts map[string]json.RawMessage) {
	for name, data := range facts {
		path := document.Join(at, name)
		if name == "" {
			d.Fail(at, "has a fact without a name", "a name for every value")
		}
		if len(data) > factBytes {
			d.Fail(path, fmt.Sprintf("takes %d bytes", len(data)), fmt.Sprintf("at most %d", factBytes))
			continue
		}
		if !flat(data) {
			d.Fail(path, "is neither a text, a number, a boolean nor a list of those", "as in m: 4096 or shape: [64, 128]")
		}
	}
}

func flat(data json.RawMessage) bool {
	data = bytes.TrimSpace(data)
	if len(data) == 0 || data[0] == '{' || string(data) == "null" {
		return false
	}
	if data[0] != '[' {
		return true
	}
	var items []json.RawMessage
	if json.Unmarshal(data, &items) != nil {
		return false
	}
	for _, item := range items {
		if item = bytes.TrimSpace(item); len(item) == 0 || item[0] == '{' || item[0] == '[' || string(item) == "null" {
			return false
		}
	}
	return true
}
