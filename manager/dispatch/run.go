package dispatch

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fleetune/fleetune/manager/place"
	"github.com/fleetune/fleetune/manager/score"
	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/google/uuid"
)

// A run is a live task as the planner sees it: the rows of its experiments,
// in the form that samplers read.
type run struct {
	task store.Task
	// classes are the queues that its experiments are offered on, by name.
	classes  map[string]*class
	sampler  search.Sampler
	adaptive bool
	// spec is the part of the task that every offer carries, by the level it is
	// measured at; 0 for a full measurement.
	spec map[float64]json.RawMessage

	// live holds what is queued or running.
	live map[uuid.UUID]*entry
	// history holds what has ended of baseline and search, by number.
	history []search.Observation
	// scores of what succeeded, by number, with the penalties that the history
	// is without.
	scores map[int][]float64
	// last is the highest number in use.
	last int
	// planned counts baseline and search experiments, confirmations not.
	planned int
	// baselinePoint is measured first; nil when there is nothing to compare with.
	baselinePoint space.Point
	baseline      *ended
	confirms      map[int]bool // numbers that have a confirmation, ended or not
	exhausted     bool         // the sampler has nothing left
	timedOut      bool         // the task's time is over
	dropped       bool         // a stopped search has left the queue
	expected      int          // length of history when the sampler's model was last asked
	// estimates are the objectives of what succeeded, by number, where
	// experiments race.
	estimates map[int][]score.Estimate
	// answers are the records that stand for measurements, by point.
	answers map[string]*store.Answer
}

// An entry is a live experiment.
type entry struct {
	id       uuid.UUID
	number   int
	purpose  experiment.Purpose
	confirms *int
	point    space.Point
	fidelity float64 // 0 for a full measurement
	class    *class
	claimed  bool
	since    time.Time // queued since
}

// ended is how the baseline ended.
type ended struct {
	number int
	ok     bool
}

// newRun reads a task as it stands.
func newRun(row store.Task, experiments []store.Experiment) (*run, error) {
	spec := row.Spec
	r := &run{
		task: row, classes: map[string]*class{},
		live: map[uuid.UUID]*entry{}, confirms: map[int]bool{}, estimates: map[int][]score.Estimate{}, scores: map[int][]float64{},
	}
	var err error
	if r.spec, err = kindSpecs(spec); err != nil {
		return nil, err
	}
	r.sampler, err = search.New(spec.Optimization.Strategy, search.ProblemOf(spec))
	if err != nil {
		return nil, err
	}
	for _, s := range search.Strategies() {
		if s.Name == spec.Optimization.Strategy {
			r.adaptive = s.Adaptive
		}
	}
	if r.baselinePoint, err = baselineOf(spec); err != nil {
		return nil, err
	}
	// A task is known to have a queue before its first experiment is.
	r.classOf(experiment.Search, r.baselinePoint)
	for _, e := range experiments {
		r.load(e)
	}
	return r, nil
}

// kindSpecs is the part of a task that its experiments' kind reads, for every
// level that they are measured at.
func kindSpecs(spec *task.Task) (map[float64]json.RawMessage, error) {
	levels := []float64{0}
	if f := spec.Optimization.Fidelity; f != nil {
		levels = append(levels, f.Levels...)
	}
	specs := make(map[float64]json.RawMessage, len(levels))
	for _, level := range levels {
		var err error
		if specs[level], err = kindSpec(spec, level); err != nil {
			return nil, err
		}
	}
	return specs, nil
}

func kindSpec(spec *task.Task, level float64) (json.RawMessage, error) {
	part := any(spec.Command)
	switch {
	case spec.Serving != nil:
		part = spec.ServingAt(level)
	case spec.Load != nil:
		part = spec.Load
	}
	data, err := json.Marshal(part)
	if err != nil {
		return nil, fmt.Errorf("encoding the task's %s: %w", spec.Kind(), err)
	}
	return data, nil
}

// baselineOf is the point that a task names; a command task that names none
// has the first of its space.
func baselineOf(spec *task.Task) (space.Point, error) {
	if s := spec.Serving; s != nil && !s.NoBaseline {
		return s.Baseline, nil
	}
	if spec.Command == nil {
		return nil, nil
	}
	if spec.Command.Baseline != nil {
		return spec.Command.Baseline, nil
	}
	points, err := search.First(spec.Space)
	if err != nil {
		return nil, fmt.Errorf("looking for the baseline: %w", err)
	}
	for p := range points {
		return p, nil
	}
	return nil, errors.New("no point of the space meets the constraints")
}

// staged says that experiments prepare before they need their devices: a
// command builds, an engine's model is fetched.
func (r *run) staged() bool {
	spec := r.task.Spec
	return spec.Serving != nil || spec.Command != nil && spec.Command.Build != nil
}

// A class is a queue of the task's: what its experiments of one need share.
type class struct {
	queue wire.Queue
	ready bool // known to the bus
}

// classOf finds the queue for a point. A confirmation measures the baseline
// too, so its place must serve both.
func (r *run) classOf(purpose experiment.Purpose, p space.Point) *class {
	points := []space.Point{p}
	if purpose == experiment.Confirm {
		points = append(points, r.baselinePoint)
	}
	need := place.Most(r.task.Spec, points...)
	queue := wire.Queue{Name: node.QueueName(need), Priority: string(r.task.Spec.Priority), Requirements: need, Staged: r.staged()}
	if queue.Staged {
		queue.Name += "_staged"
	}
	c := r.classes[queue.Name]
	if c == nil {
		c = &class{queue: queue}
		r.classes[queue.Name] = c
	}
	return c
}

// least is the need of the smallest class: how many of the task's experiments
// the fleet holds at most follows from it.
func (r *run) least() node.Requirements {
	var least *node.Requirements
	for _, c := range r.classes {
		if n := &c.queue.Requirements; least == nil || n.Devices < least.Devices {
			least = n
		}
	}
	return *least
}

// load takes in a row.
func (r *run) load(e store.Experiment) {
	r.last = max(r.last, e.Number)
	if e.Purpose == experiment.Confirm {
		r.confirms[*e.Confirms] = true
	} else {
		r.planned++
	}
	entry := &entry{
		id: e.ID, number: e.Number, purpose: e.Purpose, confirms: e.Confirms, point: e.Parameters,
		class:   r.classOf(e.Purpose, e.Parameters),
		claimed: e.State == experiment.Running, since: e.QueuedAt,
	}
	if e.Fidelity != nil {
		entry.fidelity = *e.Fidelity
	}
	if e.Outcome == nil {
		r.live[e.ID] = entry
		return
	}
	r.end(entry, *e.Outcome, e.Scores, e.Metrics)
}

// add takes in an experiment that was just stored.
func (r *run) add(n store.NewExperiment, now time.Time) *entry {
	r.last = max(r.last, n.Number)
	if n.Purpose == experiment.Confirm {
		r.confirms[*n.Confirms] = true
	} else {
		r.planned++
	}
	e := &entry{id: n.ID, number: n.Number, purpose: n.Purpose, confirms: n.Confirms, point: n.Parameters,
		class: r.classOf(n.Purpose, n.Parameters), since: now}
	if n.Fidelity != nil {
		e.fidelity = *n.Fidelity
	}
	r.live[n.ID] = e
	return e
}

// finish moves an experiment from live to history.
func (r *run) finish(f finished) {
	e := r.live[f.Experiment]
	if e == nil {
		return // it ended in the database before we read it
	}
	delete(r.live, f.Experiment)
	r.end(e, *f.Outcome, f.scores, f.metrics)
}

func (r *run) end(e *entry, outcome experiment.Outcome, scores []float64, metrics map[string]store.Summary) {
	if e.purpose == experiment.Confirm {
		return
	}
	if e.purpose == experiment.Baseline {
		r.baseline = &ended{number: e.number, ok: outcome == experiment.OutcomeSuccess}
	}
	o := search.Observation{Number: e.number, Point: e.point, Fidelity: e.fidelity, Outcome: outcome}
	r.told(&o, scores, metrics)
	if len(scores) > 0 && outcome == experiment.OutcomeSuccess {
		r.scores[e.number] = scores
	}
	if spec := r.task.Spec.Optimization; spec.Racing != nil && outcome == experiment.OutcomeSuccess {
		r.estimates[e.number] = estimatesOf(spec.Objectives, metrics)
	}
	at, _ := slices.BinarySearchFunc(r.history, o.Number, func(o search.Observation, n int) int { return cmp.Compare(o.Number, n) })
	r.history = slices.Insert(r.history, at, o)
}

// told fills in what samplers are told of a measurement. Where the task has
// SLOs they get the values without penalties, with the margins as constraints,
// of those that break a hard limit too: a model of each is learned more easily
// than one of their mixture.
func (r *run) told(o *search.Observation, scores []float64, metrics map[string]store.Summary) {
	switch o.Outcome {
	case experiment.OutcomeSuccess, experiment.OutcomeStoppedEarly: // of fewer samples, but measured
		o.Values = scores
	case experiment.OutcomeInfeasible:
	default:
		return
	}
	s := r.task.Spec.Serving
	if s == nil || s.SLO == nil || s.Scoring == task.ScoringLegacy {
		return
	}
	values := make([]float64, 0, len(r.task.Spec.Optimization.Objectives))
	for _, objective := range r.task.Spec.Optimization.Objectives {
		if m, ok := metrics[objective.Metric]; ok {
			values = append(values, m.Median)
		}
	}
	margins := make([]float64, 0, len(s.SLO.Terms))
	for _, term := range s.SLO.Terms {
		if m, ok := metrics[score.MarginMetric(term)]; ok {
			margins = append(margins, m.Median)
		}
	}
	if len(values) == len(r.task.Spec.Optimization.Objectives) && len(margins) == len(s.SLO.Terms) {
		o.Values, o.Constraints = values, margins
	}
}

// pending returns what is being measured, by number.
func (r *run) pending() []search.Observation {
	entries := make([]*entry, 0, len(r.live))
	for _, e := range r.live {
		if e.purpose != experiment.Confirm {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b *entry) int { return cmp.Compare(a.number, b.number) })
	list := make([]search.Observation, len(entries))
	for i, e := range entries {
		list[i] = search.Observation{Number: e.number, Point: e.point, Fidelity: e.fidelity}
	}
	return list
}

// queued returns what waits to be claimed.
func (r *run) queued() []*entry {
	var entries []*entry
	for _, e := range r.live {
		if !e.claimed {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b *entry) int { return cmp.Compare(a.number, b.number) })
	return entries
}

// offer writes an experiment's offer.
func (r *run) offer(e *entry) wire.Offer {
	spec := r.task.Spec
	o := wire.Offer{
		Version: wire.Version, Experiment: e.id, Task: r.task.ID, TaskName: r.task.Name, Number: e.number,
		Purpose: e.purpose, Queue: e.class.queue.Name, Kind: r.task.Kind, Parameters: spec.At(e.point, e.fidelity),
		Seed: r.task.Spec.Optimization.Seed + int64(e.number), Repeats: r.task.Spec.Optimization.Repeats,
		Spec: r.spec[e.fidelity], Staged: e.class.queue.Staged, Requirements: e.class.queue.Requirements,
	}
	for _, objective := range r.task.Spec.Optimization.Objectives {
		o.Metrics = append(o.Metrics, objective.Metric)
	}
	if e.purpose == experiment.Confirm {
		o.Baseline = spec.At(r.baselinePoint, 0)
	}
	if f := spec.Optimization.Fidelity; f != nil {
		o.Fidelity = &wire.Fidelity{Name: f.Name, Level: cmp.Or(e.fidelity, f.Full()), Full: f.Full()}
	}
	o.Model = place.Model(spec, e.point)
	o.Race = spec.Optimization.Racing != nil && e.purpose == experiment.Search
	return o
}

// direction is the first objective's.
func (r *run) direction() task.Direction { return r.task.Spec.Optimization.Objectives[0].Direction }

// ranking returns what was measured in full, best first; ties go to the lower
// number.
func (r *run) ranking() []search.Observation {
	var list []search.Observation
	for _, o := range r.history {
		if scores := r.scores[o.Number]; len(scores) > 0 && o.Fidelity == 0 {
			o.Values = scores
			list = append(list, o)
		}
	}
	slices.SortStableFunc(list, func(a, b search.Observation) int {
		switch {
		case score.Better(r.direction(), a.Values[0], b.Values[0]):
			return -1
		case score.Better(r.direction(), b.Values[0], a.Values[0]):
			return 1
		default:
			return 0
		}
	})
	return list
}
