// Package reuse decides, when a task is handed in, which records serve it:
// answers for points that were measured under the very same key, and points of
// similar tasks for the search to start at. What it decides is stored with the
// task and does not change after, so that the task's points follow from its
// row, whatever else is measured meanwhile.
package reuse

import (
	"context"
	"fmt"
	"slices"

	"github.com/fleetune/fleetune/manager/records"
	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/manager/search/warm"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

const (
	// answers bounds the records that a task takes along.
	answers = 10_000
	// sources bounds the keys that starts are taken from; looked is how many of
	// each one's best points are tried, since not all need lie in this space.
	sources = 3
	looked  = 64
)

// None is the note of a task that asks for answers where there are none yet.
const None = "no record has the same key"

// Freeze decides what serves a task. Nothing does unless its file asks for it.
func Freeze(ctx context.Context, db *store.Store, t *task.Task) (*store.Served, store.Frozen, error) {
	r := t.Recorded()
	wanted := records.Measurable(t) && (r.Reuse == task.ReuseExact || r.Transfer == task.TransferRelated)
	if !wanted {
		return nil, store.Frozen{}, nil
	}
	served, frozen := &store.Served{}, store.Frozen{}
	places, err := placesOf(ctx, db, t)
	if err != nil {
		return nil, frozen, err
	}
	var place records.Facts
	if len(places) == 1 {
		place = places[0]
	}
	key, err := records.KeyOf(t, place)
	if err != nil {
		return nil, frozen, err
	}
	if r.Reuse == task.ReuseExact {
		if served.Note = doubt(places); served.Note == "" {
			if frozen.Answers, err = answersOf(ctx, db, t, key); err != nil {
				return nil, frozen, err
			}
			if served.Answers = len(frozen.Answers); served.Answers == 0 {
				served.Note = None
			}
		}
	}
	if r.Transfer == task.TransferRelated && adaptive(t.Optimization.Strategy) {
		if frozen.Starts, served.Sources, err = startsOf(ctx, db, t, key); err != nil {
			return nil, frozen, err
		}
		served.Starts = len(frozen.Starts)
	}
	return served, frozen, nil
}

func adaptive(strategy string) bool {
	return slices.ContainsFunc(search.Strategies(), func(s search.Strategy) bool { return s.Name == strategy && s.Adaptive })
}

// placesOf lists the environments that the fleet as it is offers the task.
func placesOf(ctx context.Context, db *store.Store, t *task.Task) ([]records.Facts, error) {
	workers, err := db.Workers(ctx)
	if err != nil {
		return nil, err
	}
	var nodes []node.Advertisement
	for _, w := range workers {
		if w.State == store.WorkerOnline {
			nodes = append(nodes, w.Node)
		}
	}
	return records.Places(t, nodes), nil
}

// doubt says why no record can be known to be the same measurement.
func doubt(places []records.Facts) string {
	switch {
	case len(places) == 0:
		return "no worker that could run the task is online, so its environment is not known"
	case len(places) > 1:
		return fmt.Sprintf("the workers that could run the task are of %d different environments, such as %s and %s",
			len(places), places[0], places[1])
	case !places[0].Known():
		return "the environment is not fully known: " + places[0].String()
	}
	return ""
}

func answersOf(ctx context.Context, db *store.Store, t *task.Task, key records.Key) ([]store.Answer, error) {
	list, err := db.RecordAnswers(ctx, key.Digest(), answers)
	if err != nil {
		return nil, err
	}
	var out []store.Answer
	for _, r := range list {
		// The row's key is compared whole, not by its digest alone.
		if r.Key.Digest() != key.Digest() || len(r.Scores) != len(t.Optimization.Objectives) {
			continue
		}
		a := store.Answer{Record: r.Number, Point: r.Point, Scores: r.Scores, Metrics: map[string]store.Summary{}}
		for name, m := range r.Metrics {
			a.Metrics[name] = store.Summary(m)
		}
		out = append(out, a)
	}
	return out, nil
}

// startsOf takes turns between the nearest keys, best points first.
func startsOf(ctx context.Context, db *store.Store, t *task.Task, key records.Key) (starts []space.Point, names []string, err error) {
	set, err := valid.Of(t.Space)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the space: %w", err)
	}
	winners, err := db.Winners(ctx, key.Operation.Name)
	if err != nil {
		return nil, nil, err
	}
	keys := make([]records.Key, len(winners))
	for i, w := range winners {
		keys[i] = w.Key
	}
	var lists [][]space.Point
	for _, near := range records.Related(key, keys) {
		if len(lists) == sources {
			break
		}
		points, tasks, err := db.BestPoints(ctx, near.Digest(), looked)
		if err != nil {
			return nil, nil, err
		}
		if points = within(set, points); len(points) == 0 {
			continue
		}
		lists = append(lists, points)
		if len(tasks) > 0 && !slices.Contains(names, tasks[0]) {
			names = append(names, tasks[0])
		}
	}
	return takeTurns(set, lists, warm.Count(t.Optimization.MaxIterations)), names, nil
}

// within keeps the points that are in the set once parameters that the space
// does not have are dropped.
func within(set *valid.Set, points []space.Point) []space.Point {
	var out []space.Point
	for _, p := range points {
		own := space.Point{}
		for _, parameter := range set.Space().Space().Parameters {
			if v, ok := p[parameter.Name]; ok {
				own[parameter.Name] = v
			}
		}
		if vec, err := set.Vec(own); err == nil {
			out = append(out, set.Point(vec))
		}
	}
	return out
}

func takeTurns(set *valid.Set, lists [][]space.Point, n int) []space.Point {
	var out []space.Point
	taken := map[valid.Key]bool{}
	for rank := range looked {
		for _, list := range lists {
			if rank >= len(list) || len(out) >= n {
				continue
			}
			vec, err := set.Vec(list[rank])
			if err != nil || taken[set.Key(vec)] {
				continue
			}
			taken[set.Key(vec)] = true
			out = append(out, list[rank])
		}
	}
	return out
}
