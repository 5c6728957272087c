package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// ListTasks returns up to limit tasks, newest first. An empty state lists all;
// after, when not nil, continues a listing behind that task. Ids grow with
// time, so they are the order.
func (s *Store) ListTasks(ctx context.Context, state TaskState, after *uuid.UUID, limit int) ([]Task, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+taskColumns+` FROM tasks
		WHERE ($1 = '' OR state = $1) AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3`, string(state), after, limit)
	if err != nil {
		return nil, fmt.Errorf("listing tasks: %w", err)
	}
	return pgx.CollectRows(rows, scanTask)
}

// SkipTasks returns up to limit tasks in one of the states, or in any when
// there are none, newest first, behind the first skip of them.
func (s *Store) SkipTasks(ctx context.Context, states []TaskState, skip, limit int) ([]Task, error) {
	names := make([]string, len(states))
	for i, state := range states {
		names[i] = string(state)
	}
	rows, err := s.pool.Query(ctx, `SELECT `+taskColumns+` FROM tasks
		WHERE cardinality($1::text[]) = 0 OR state = ANY($1) ORDER BY id DESC OFFSET $2 LIMIT $3`, names, skip, limit)
	if err != nil {
		return nil, fmt.Errorf("listing tasks: %w", err)
	}
	return pgx.CollectRows(rows, scanTask)
}

// SkipExperiments returns up to limit experiments of all tasks, those of the
// newest task first and by number within a task, behind the first skip of them.
// Confirmations are left out.
func (s *Store) SkipExperiments(ctx context.Context, skip, limit int) ([]Experiment, error) {
	return collectExperiments(s.pool.Query(ctx, `SELECT e.* FROM tasks t CROSS JOIN LATERAL (
			SELECT `+experimentColumns+` FROM experiments WHERE task_id = t.id AND purpose <> 'confirm') e
		ORDER BY t.id DESC, e.number OFFSET $1 LIMIT $2`, skip, limit))
}

// An ExperimentFilter narrows a listing; empty fields do not.
type ExperimentFilter struct {
	Task    uuid.UUID
	State   experiment.State
	Outcome experiment.Outcome
	// Purposes to list; none means all.
	Purposes []experiment.Purpose
	// After continues a listing behind that number.
	After int
	Limit int
}

// ListExperiments returns a task's experiments in order of their numbers.
func (s *Store) ListExperiments(ctx context.Context, f ExperimentFilter) ([]Experiment, error) {
	purposes := make([]string, len(f.Purposes))
	for i, p := range f.Purposes {
		purposes[i] = string(p)
	}
	return collectExperiments(s.pool.Query(ctx, `SELECT `+experimentColumns+` FROM experiments
		WHERE task_id = $1 AND number > $2 AND ($3 = '' OR state = $3) AND ($4 = '' OR outcome = $4)
		  AND (cardinality($5::text[]) = 0 OR purpose = ANY($5)) ORDER BY number LIMIT $6`,
		f.Task, f.After, string(f.State), string(f.Outcome), purposes, f.Limit))
}

// ExperimentsByID returns the experiments with these ids; unknown ones are absent.
func (s *Store) ExperimentsByID(ctx context.Context, ids []uuid.UUID) ([]Experiment, error) {
	return collectExperiments(s.pool.Query(ctx, `SELECT `+experimentColumns+` FROM experiments WHERE id = ANY($1)`, ids))
}

// Landmarks are the experiments that a task is judged by; nil where there is
// none yet.
type Landmarks struct {
	Baseline *Experiment
	Best     *Experiment
}

// Landmarks returns the baseline and the best of each task. The best is the
// task's own once it has one; before, and for tasks that ended without, it is
// the successful full measurement with the best first score, the lowest number
// among equals.
func (s *Store) Landmarks(ctx context.Context, tasks []Task) (map[uuid.UUID]Landmarks, error) {
	ids := make([]uuid.UUID, len(tasks))
	maximize := make([]bool, len(tasks))
	best := make([]*int, len(tasks))
	baseline := make([]*int, len(tasks))
	for i, t := range tasks {
		ids[i], best[i], baseline[i] = t.ID, t.Best, t.Baseline
		maximize[i] = t.Spec != nil && len(t.Spec.Optimization.Objectives) > 0 &&
			t.Spec.Optimization.Objectives[0].Direction == task.Maximize
	}
	list, err := collectExperiments(s.pool.Query(ctx, `
		WITH t AS (
			SELECT * FROM unnest($1::uuid[], $2::boolean[], $3::int[], $4::int[]) AS t (id, maximize, best, baseline)
		), wanted AS (
			SELECT id AS task, baseline AS n FROM t WHERE baseline IS NOT NULL
			UNION
			SELECT t.id, coalesce(t.best, i.number) FROM t LEFT JOIN LATERAL (
				SELECT number FROM experiments e
				WHERE t.best IS NULL AND e.task_id = t.id AND e.state = 'success' AND e.purpose <> 'confirm' AND e.fidelity IS NULL
				  AND e.scores[1] IS NOT NULL AND e.scores[1] <> 'NaN'
				ORDER BY CASE WHEN t.maximize THEN -e.scores[1] ELSE e.scores[1] END, e.number LIMIT 1) i ON true
		)
		SELECT `+experimentColumns+` FROM experiments e JOIN wanted w ON w.task = e.task_id AND w.n = e.number`,
		ids, maximize, best, baseline))
	if err != nil {
		return nil, fmt.Errorf("reading baselines and bests: %w", err)
	}
	return sortLandmarks(tasks, list), nil
}

func sortLandmarks(tasks []Task, list []Experiment) map[uuid.UUID]Landmarks {
	found := make(map[uuid.UUID]Landmarks, len(tasks))
	byID := make(map[uuid.UUID]Task, len(tasks))
	for _, t := range tasks {
		byID[t.ID] = t
	}
	for i := range list {
		e := &list[i]
		t, l := byID[e.TaskID], found[e.TaskID]
		if t.Baseline != nil && *t.Baseline == e.Number {
			l.Baseline = e
		}
		if t.Best != nil && *t.Best == e.Number {
			l.Best = e
		}
		// Without a best of the task's own, the incumbent is the row that is
		// not the baseline, or the baseline when that is the only row and won.
		if t.Best == nil && e.State == experiment.Success && len(e.Scores) > 0 && beats(t, e, l.Best) {
			l.Best = e
		}
		found[e.TaskID] = l
	}
	return found
}

// beats compares by the first score, the lowest number among equals.
func beats(t Task, e, incumbent *Experiment) bool {
	if incumbent == nil {
		return true
	}
	a, b := e.Scores[0], incumbent.Scores[0]
	if a == b {
		return e.Number < incumbent.Number
	}
	if t.Spec != nil && len(t.Spec.Optimization.Objectives) > 0 && t.Spec.Optimization.Objectives[0].Direction == task.Maximize {
		return a > b
	}
	return a < b
}

// MetricNames returns the names of every metric that a task's experiments
// have, sorted.
func (s *Store) MetricNames(ctx context.Context, id uuid.UUID) ([]string, error) {
	rows, err := s.pool.Query(ctx, `SELECT DISTINCT k FROM experiments e, jsonb_object_keys(e.metrics) AS k
		WHERE e.task_id = $1 AND jsonb_typeof(e.metrics) = 'object' ORDER BY k`, id)
	if err != nil {
		return nil, fmt.Errorf("listing metrics: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// A Dependency is a task that another waits for.
type Dependency struct {
	Name  string
	State TaskState
}

// Dependencies returns the tasks that a task depends on, by name.
func (s *Store) Dependencies(ctx context.Context, id uuid.UUID) ([]Dependency, error) {
	rows, err := s.pool.Query(ctx, `SELECT t.name, t.state FROM task_dependencies d JOIN tasks t ON t.id = d.depends_on
		WHERE d.task_id = $1 ORDER BY t.name`, id)
	if err != nil {
		return nil, fmt.Errorf("reading dependencies: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Dependency])
}

// TasksByID returns the tasks with these ids; unknown ones are absent.
func (s *Store) TasksByID(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]Task, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+taskColumns+` FROM tasks WHERE id = ANY($1)`, ids)
	if err != nil {
		return nil, fmt.Errorf("reading tasks: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanTask)
	if err != nil {
		return nil, fmt.Errorf("reading tasks: %w", err)
	}
	found := make(map[uuid.UUID]Task, len(list))
	for _, t := range list {
		found[t.ID] = t
	}
	return found, nil
}

// ErrSchema says that the database's schema is not the one of this program.
var ErrSchema = errors.New("the database schema is not up to date")

// CheckSchema tells whether every migration of this program is applied:
// ErrSchema when not.
func (s *Store) CheckSchema(ctx context.Context) error {
	provider, err := s.provider()
	if err != nil {
		return err
	}
	defer provider.Close()
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("reading the schema version: %w", err)
	}
	if current < target {
		return fmt.Errorf("%w: it has version %d, this program needs %d", ErrSchema, current, target)
	}
	return nil
}
