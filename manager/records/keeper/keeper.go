// Package keeper turns the measurements of tasks that have ended into records.
// It may run in every manager at once: a record has its experiment's id, so
// that writing it twice is harmless, and a task is done only when all are
// written.
package keeper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fleetune/fleetune/manager/records"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/rs/zerolog"
)

const (
	// look is how often the keeper looks for tasks that have ended.
	look = 2 * time.Second
	// page is how many experiments one transaction records.
	page = 500
	// tasks is how many are read at once.
	tasks = 20
)

// Run records until ctx ends. A database that does not answer is asked again.
func Run(ctx context.Context, db *store.Store, log zerolog.Logger) {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		if err := Once(ctx, db, log); err != nil && ctx.Err() == nil {
			log.Warn().Err(err).Msg("measurements are not recorded yet")
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Once records every task that has ended and is not recorded yet, save those
// that have to wait for their workers to be known.
func Once(ctx context.Context, db *store.Store, log zerolog.Logger) error {
	for {
		list, err := db.UnrecordedTasks(ctx, tasks)
		if err != nil {
			return err
		}
		done := 0
		for _, t := range list {
			err := Task(ctx, db, t, log)
			if errors.Is(err, ErrEarly) {
				continue
			}
			if err != nil {
				return err
			}
			done++
		}
		if done == 0 {
			return nil
		}
	}
}

// Task records one task that has ended and of which nothing runs any more.
// ErrEarly says that it has to wait.
func Task(ctx context.Context, db *store.Store, t store.Task, log zerolog.Logger) error {
	added, err := record(ctx, db, t)
	switch {
	case errors.Is(err, errUnusable):
		log.Warn().Err(err).Str("task", t.Name).Msg("a task leaves no records")
	case err != nil:
		return fmt.Errorf("recording task %s: %w", t.Name, err)
	}
	if err := db.MarkRecorded(ctx, t.ID); err != nil {
		return err
	}
	if added > 0 {
		log.Info().Str("task", t.Name).Int("records", added).Msg("measurements recorded")
	}
	return nil
}

// settle is how long after a task's end its workers are waited for: what a
// worker's node is like is written some seconds after it joined.
const settle = time.Minute

// ErrEarly says that the place of an experiment may still become known.
var ErrEarly = errors.New("a worker of the task is not known yet")

// errUnusable says that a task's spec gives no key, now or ever.
var errUnusable = errors.New("the task has no key for records")

// record writes the records of one task and returns how many were new.
func record(ctx context.Context, db *store.Store, t store.Task) (int, error) {
	if t.Spec == nil || !records.Measurable(t.Spec) {
		return 0, nil
	}
	digest, err := records.SpaceDigest(t.Spec.Space)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errUnusable, err)
	}
	total := 0
	for after := 0; ; {
		list, err := db.MeasuredExperiments(ctx, t.ID, after, page)
		if err != nil || len(list) == 0 {
			return total, err
		}
		var batch []records.Record
		for _, m := range list {
			if m.Node == nil && m.Record == nil && m.Worker != nil && t.FinishedAt != nil && time.Since(*t.FinishedAt) < settle {
				return total, ErrEarly
			}
			r, ok, err := recordOf(t, m, digest)
			if err != nil {
				return total, fmt.Errorf("%w: %w", errUnusable, err)
			}
			if ok {
				batch = append(batch, r)
			}
		}
		result, err := db.AppendRecords(ctx, batch, false)
		if err != nil {
			return total, err
		}
		total += result.Added
		after = list[len(list)-1].Number
	}
}

// recordOf makes a record of an experiment, if there is one to be made: it was
// measured here, in full, in a known place, and how it ended says something of
// the configuration. Neither logs nor messages enter, which hold what programs
// print.
func recordOf(t store.Task, m store.Measured, digest string) (records.Record, bool, error) {
	if m.Record != nil || m.Fidelity != nil || m.Outcome == nil || m.FinishedAt == nil || !telling(*m.Outcome) {
		return records.Record{}, false, nil
	}
	environment := records.EnvironmentOf(t.Spec, m.Node, m.Devices)
	if environment == nil || environment[records.FactDevice] == nil {
		return records.Record{}, false, nil
	}
	key, err := records.KeyOf(t.Spec, environment)
	if err != nil {
		return records.Record{}, false, err
	}
	r := records.Record{
		ID: m.ID, Key: key, Point: m.Parameters, Outcome: *m.Outcome, Space: digest, Task: t.Name, MeasuredAt: m.FinishedAt.UTC(),
		Confirmed: t.State == store.TaskCompleted && t.Best != nil && *t.Best == m.Number && m.Purpose != experiment.Confirm,
	}
	if r.Outcome == experiment.OutcomeSuccess {
		r.Scores, r.Metrics = m.Scores, make(map[string]records.Metric, len(m.Metrics))
		for name, s := range m.Metrics {
			r.Metrics[name] = records.Metric(s)
		}
	}
	return r, r.Check() == nil, nil
}

// telling says whether an outcome is a property of the configuration.
func telling(o experiment.Outcome) bool {
	switch o {
	case experiment.OutcomeSuccess, experiment.OutcomeIncorrect, experiment.OutcomeFailed,
		experiment.OutcomeOutOfMemory, experiment.OutcomeInfeasible, experiment.OutcomeTimeout, experiment.OutcomeNoMetric:
		return true
	default:
		return false
	}
}
