package api

import (
	"encoding/json"
	"math"
	"time"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/google/uuid"
)

// taskDocument says how a task stands.
func taskDocument(t store.Task, c store.Counts, l store.Landmarks) v1.Task {
	d := v1.Task{
		ID: t.ID, Name: t.Name, Status: string(t.State), Cause: t.Cause, Kind: t.Kind, Priority: t.Priority,
		Parameters: []string{}, Objectives: []task.Objective{}, DependsOn: []string{},
		Experiments: v1.Counts{Total: c.Total, Planned: t.Planned, Queued: c.Queued, Running: c.Running, Success: c.Success,
			Failed: c.Failed, Cancelled: c.Cancelled, Confirmations: c.Confirmations, Confirmed: c.Confirmed},
		CreatedAt: t.CreatedAt.UTC(), StartedAt: utc(t.StartedAt), FinishedAt: utc(t.FinishedAt), DeadlineAt: utc(t.DeadlineAt),
	}
	var direction task.Direction
	if t.Spec != nil {
		o := t.Spec.Optimization
		d.Description, d.Strategy, d.MaxParallel, d.Resources = t.Spec.Description, o.Strategy, o.MaxParallel, t.Spec.Resources
		for _, parameter := range t.Spec.Space.Parameters {
			d.Parameters = append(d.Parameters, parameter.Name)
		}
		d.Objectives = append(d.Objectives, o.Objectives...)
		d.DependsOn = append(d.DependsOn, t.Spec.DependsOn...)
		d.Simulated = t.Simulated
		d.Applicable = t.Spec.Command != nil && t.Spec.Command.Apply != nil
		if o.Fidelity != nil {
			d.Fidelity = o.Fidelity.Name
		}
		if len(o.Objectives) > 0 {
			direction = o.Objectives[0].Direction
		}
	}
	if b := l.Baseline; b != nil {
		d.Baseline = &v1.Baseline{Number: b.Number, Parameters: b.Parameters, Metrics: metricsDocument(b.Metrics), Score: firstScore(b.Scores)}
	}
	d.Best = bestDocument(t, l, direction)
	if s := t.Search; s != nil {
		d.Search = &v1.Search{How: s.How, Points: s.Points, Valid: s.Valid, Exact: s.Exact}
	}
	if s := t.Stopped; s != nil {
		d.Stopped = &v1.Stopped{Rule: s.Rule, Message: s.Message}
	}
	if r := t.Records; r != nil {
		d.Records = &v1.Served{Answers: r.Answers, Starts: r.Starts, Sources: orEmpty(r.Sources), Note: r.Note}
	}
	return d
}

func bestDocument(t store.Task, l store.Landmarks, direction task.Direction) *v1.Best {
	if l.Best == nil {
		return nil
	}
	score := firstScore(l.Best.Scores)
	if score == nil {
		return nil
	}
	best := &v1.Best{Number: l.Best.Number, Parameters: l.Best.Parameters, Metrics: metricsDocument(l.Best.Metrics), Score: *score,
		Simulated: t.Simulated}
	if len(t.Speedup) > 0 && string(t.Speedup) != "null" {
		var s v1.Speedup
		if json.Unmarshal(t.Speedup, &s) == nil {
			best.Speedup = &s
		}
	}
	if best.Speedup == nil && l.Baseline != nil {
		if base := firstScore(l.Baseline.Scores); base != nil {
			best.Speedup = ratio(*base, *score, direction)
		}
	}
	return best
}

// ratio is the speed-up that two scores suggest, before it is confirmed:
// baseline ÷ score when less is better, score ÷ baseline when more is. It has
// a meaning for positive scores only.
func ratio(baseline, score float64, direction task.Direction) *v1.Speedup {
	if baseline <= 0 || score <= 0 {
		return nil
	}
	r := baseline / score
	if direction == task.Maximize {
		r = score / baseline
	}
	return &v1.Speedup{Ratio: r}
}

// firstScore is the first score where it is a number that JSON can carry.
func firstScore(scores []float64) *float64 {
	if len(scores) == 0 || math.IsNaN(scores[0]) || math.IsInf(scores[0], 0) {
		return nil
	}
	return &scores[0]
}

func metricsDocument(metrics map[string]store.Summary) map[string]v1.Metric {
	d := make(map[string]v1.Metric, len(metrics))
	for name, m := range metrics {
		d[name] = v1.Metric{Unit: m.Unit, Median: m.Median, Spread: m.Spread, Count: m.Count}
	}
	return d
}

// experimentDocument says how an experiment stands.
func experimentDocument(t store.Task, e store.Experiment) v1.Experiment {
	d := v1.Experiment{
		ID: e.ID, Number: e.Number, Purpose: e.Purpose, Confirms: e.Confirms, Status: e.State, Parameters: e.Parameters,
		Metrics: metricsDocument(e.Metrics), Score: firstScore(e.Scores), Fidelity: e.Fidelity, Attempts: e.Attempts, Devices: orEmpty(e.Devices),
		QueuedAt: e.QueuedAt.UTC(), StartedAt: utc(e.StartedAt), FinishedAt: utc(e.FinishedAt), Simulated: t.Simulated, Record: e.Record, Error: errorDocument(e.Failure),
	}
	if e.Outcome != nil {
		d.Outcome = string(*e.Outcome)
	}
	if e.Worker != nil {
		d.Worker = *e.Worker
	}
	if len(e.Scores) > 1 && d.Score != nil {
		d.Scores = e.Scores
	}
	return d
}

func errorDocument(f *experiment.Failure) *v1.Error {
	if f == nil {
		return nil
	}
	return &v1.Error{Phase: f.Phase, Cause: f.Cause, Message: f.Message, Hint: f.Hint, ExitCode: f.ExitCode, Signal: f.Signal,
		Timeout: f.Timeout, LogTail: f.LogTail}
}

func attemptDocument(t store.Task, a store.Attempt) v1.Attempt {
	d := v1.Attempt{Attempt: a.Attempt, Epoch: a.Epoch, Worker: a.Worker, Devices: orEmpty(a.Devices), StartedAt: utc(a.StartedAt),
		FinishedAt: a.FinishedAt.UTC(), Outcome: a.Outcome, Accepted: a.Accepted, Metrics: map[string]v1.Sampled{},
		Checks: []experiment.Check{}, Serving: servingDocument(t, a.Measurement), Seconds: map[string]float64{}, Error: errorDocument(a.Failure)}
	if m := a.Measurement; m != nil {
		d.Metrics, d.Checks = sampled(m.Metrics), orEmpty(m.Checks)
		if len(m.Reference) > 0 {
			d.Reference = sampled(m.Reference)
		}
	}
	for part, took := range a.Timings {
		d.Seconds[part] = took.Seconds()
	}
	return d
}

func sampled(metrics map[string]experiment.Metric) map[string]v1.Sampled {
	d := make(map[string]v1.Sampled, len(metrics))
	for name, m := range metrics {
		d[name] = v1.Sampled{Unit: m.Unit, Median: m.Median, Spread: m.Spread, Samples: orEmpty(m.Samples)}
	}
	return d
}

// workerDocument describes a worker; named tells what its attempts belong to.
func workerDocument(w store.Worker, named map[uuid.UUID]place) v1.Worker {
	n := w.Node
	d := v1.Worker{Name: w.Name, Status: string(w.State), Drain: w.Drain, Trouble: w.Trouble, Host: n.Host,
		Pool: n.Pool, Labels: n.Labels, Kinds: orEmpty(n.Kinds), Launchers: orEmpty(n.Launchers), Engines: n.Engines, Models: orEmpty(n.Models), Version: n.Version, Devices: []v1.Device{}, Running: []v1.Held{},
		FirstSeen: w.FirstSeen.UTC(), StartedAt: n.StartedAt.UTC(), LastBeatAt: w.LastBeatAt.UTC()}
	if d.Pool == "" {
		d.Pool = node.DefaultPool
	}
	if d.Labels == nil {
		d.Labels = map[string]string{}
	}
	if d.Engines == nil {
		d.Engines = map[string]string{}
	}
	busy := map[string]bool{}
	for _, h := range w.Held {
		p := named[h.Experiment]
		d.Running = append(d.Running, heldDocument(w.Name, h, p))
		for _, device := range h.Devices {
			busy[device] = true
		}
	}
	for _, v := range n.Devices {
		d.Devices = append(d.Devices, v1.Device{ID: v.ID, Vendor: v.Vendor, Model: v.Model, Memory: v.Memory, Driver: v.Driver,
			Cores: v.Cores, Health: v.Health, Reason: v.Reason, Busy: busy[v.ID]})
	}
	return d
}

func heldDocument(worker string, h wire.Held, p place) v1.Held {
	return v1.Held{Experiment: h.Experiment, Task: p.task, Number: p.number, Worker: worker, Epoch: h.Epoch,
		Phase: h.Phase, Detail: h.Detail, Devices: orEmpty(h.Devices)}
}

// A place is where an experiment belongs.
type place struct {
	task    string
	number  int
	state   experiment.State
	purpose experiment.Purpose
}

func eventDocument(e store.Event) v1.Event {
	return v1.Event{ID: e.ID, Task: e.Task, Kind: e.Kind, Payload: e.Payload, At: e.At.UTC().Truncate(time.Millisecond)}
}

// orEmpty makes an empty list of none, so that JSON says [] and not null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// utc makes documents the same wherever the manager runs.
func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}
