package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fleetune/fleetune/proto/task"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// TaskState is where a task stands.
type TaskState string

// The task states. Completed, failed and cancelled are final.
const (
	TaskWaiting   TaskState = "waiting" // for the tasks it depends on
	TaskRunning   TaskState = "running"
	TaskPaused    TaskState = "paused"
	TaskCompleted TaskState = "completed"
	TaskFailed    TaskState = "failed"
	TaskCancelled TaskState = "cancelled"
)

// Final says that nothing more will happen to a task in this state.
func (s TaskState) Final() bool {
	return s == TaskCompleted || s == TaskFailed || s == TaskCancelled
}

// A Task is a row of tasks.
type Task struct {
	ID         uuid.UUID
	Name       string
	Spec       *task.Task
	Kind       string
	Priority   task.Priority
	State      TaskState
	Cause      string
	Planned    int
	Baseline   *int
	Best       *int
	Speedup    json.RawMessage
	CreatedAt  time.Time
	StartedAt  *time.Time
	DeadlineAt *time.Time
	PausedAt   *time.Time
	FinishedAt *time.Time
	// Stopped says why no more experiments are chosen; nil while they are.
	Stopped *Stopped
	// Records says how records serve the task; nil where its file does not ask.
	Records *Served
	// Search says what is searched and how; nil for tasks of earlier versions.
	Search *Search
	// Number grows with every task: an id for those who know integers only.
	Number int64
	// Simulated is the GPU that its figures are of where no real one is measured:
	// the task asks for it, or the server at its endpoint has said so.
	Simulated string
}

// A Search is what a task's search goes over, and how its sampler works there.
type Search struct {
	// How the sampler works for the task, in a sentence; "" where there is no
	// more to say than its name.
	How string `json:"how,omitempty"`
	// Points of the space, and those that meet its constraints; nil where a
	// parameter is continuous.
	Points *float64 `json:"points,omitempty"`
	Valid  *float64 `json:"valid,omitempty"`
	// Exact says that Valid was counted, rather than estimated from draws.
	Exact bool `json:"exact"`
}

// taskColumns are a Task's. Who answers for an endpoint is known once it was
// measured.
const taskColumns = `id, name, spec, kind, priority, state, cause, planned, baseline, best, speedup,
	created_at, started_at, deadline_at, paused_at, finished_at, stopped, records, search, number,
	coalesce(spec->'serving'->'simulate'->>'gpu', CASE WHEN jsonb_typeof(spec->'serving'->'endpoint') = 'object' THEN
		(SELECT a.measurement->'serving'->>'simulated' FROM attempts a
		WHERE a.task_id = tasks.id AND a.accepted AND a.measurement->'serving'->>'simulated' <> '' LIMIT 1) END, '')`

func scanTask(row pgx.CollectableRow) (Task, error) {
	return pgx.RowToStructByPos[Task](row)
}

// A NewTask is what a submit hands in.
type NewTask struct {
	Spec    *task.Task
	Source  string
	Planned int
	// Bundle holds the task's file contents under Spec.Bundle(); may be nil.
	Bundle []byte
	// Served and Frozen are the records that serve the task; Served is nil where
	// its file does not ask.
	Served *Served
	Frozen Frozen
	Search *Search
	// Paused holds the task back until it is resumed.
	Paused bool
}

// CreateTask stores a task. It starts waiting if it depends on tasks that are
// not completed, else paused where that is asked for, running otherwise. ErrTaskExists, ErrNotFound (a dependency)
// and ErrNeverStarts (a dependency failed or was cancelled) leave nothing behind.
func (s *Store) CreateTask(ctx context.Context, n NewTask) (Task, error) {
	var created Task
	err := s.inTx(ctx, func(tx pgx.Tx) (err error) {
		created, err = createTask(ctx, tx, n, nil)
		return err
	})
	return created, err
}

// createTask stores a task, under a number of its own where none is given.
func createTask(ctx context.Context, tx pgx.Tx, n NewTask, number *int64) (Task, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Task{}, fmt.Errorf("making a task id: %w", err)
	}
	if digest := n.Spec.Bundle(); digest != "" && n.Bundle != nil {
		// Changed or not, the row is locked: contents that a task which is being
		// deleted leaves behind are kept, or stored anew.
		if _, err := tx.Exec(ctx, `INSERT INTO bundles AS b (digest, data) VALUES ($1, $2)
			ON CONFLICT (digest) DO UPDATE SET created_at = b.created_at`, digest, n.Bundle); err != nil {
			return Task{}, fmt.Errorf("storing the bundle: %w", err)
		}
	}
	rows, err := tx.Query(ctx, `INSERT INTO tasks (id, name, spec, source, kind, priority, state, planned, records, records_frozen, search, cause, paused_at, number)
		OVERRIDING SYSTEM VALUE
		VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $11 THEN 'paused' ELSE 'running' END, $7, $8,
			CASE WHEN $8::jsonb IS NOT NULL THEN $9::jsonb END, $10,
			CASE WHEN $11 THEN 'waits to be started' ELSE '' END, CASE WHEN $11 THEN now() END,
			coalesce($12, nextval(pg_get_serial_sequence('tasks', 'number')))) RETURNING `+taskColumns,
		id, n.Spec.Name, n.Spec, n.Source, n.Spec.Kind(), n.Spec.Priority, n.Planned, n.Served, n.Frozen, n.Search, n.Paused, number)
	if err != nil {
		return Task{}, fmt.Errorf("storing the task: %w", err)
	}
	created, err := pgx.CollectExactlyOneRow(rows, scanTask)
	var pgErr *pgconn.PgError
	switch {
	case errors.As(err, &pgErr) && pgErr.ConstraintName == "tasks_name_key":
		return Task{}, fmt.Errorf("%w: %s", ErrTaskExists, n.Spec.Name)
	case errors.As(err, &pgErr) && pgErr.ConstraintName == "tasks_bundle_fkey":
		return Task{}, fmt.Errorf("the files of task %s: %w", n.Spec.Name, ErrNotFound)
	case err != nil:
		return Task{}, fmt.Errorf("storing the task: %w", err)
	}
	if err := depend(ctx, tx, &created, n.Spec.DependsOn); err != nil {
		return Task{}, err
	}
	return created, announce(ctx, tx, created.ID, map[string]any{"state": created.State, "name": created.Name})
}

// depend records a new task's dependencies and makes it wait for those that
// are not completed yet.
func depend(ctx context.Context, tx pgx.Tx, t *Task, names []string) error {
	for _, name := range names {
		if err := dependOn(ctx, tx, t, name); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		return nil
	}
	tag, err := tx.Exec(ctx, `UPDATE tasks SET state = 'waiting', cause = 'waits for the tasks it depends on', paused_at = NULL
		WHERE id = $1 AND EXISTS (SELECT 1 FROM task_dependencies d JOIN tasks t ON t.id = d.depends_on
			WHERE d.task_id = $1 AND t.state <> 'completed')`, t.ID)
	if err != nil {
		return fmt.Errorf("checking dependencies: %w", err)
	}
	if tag.RowsAffected() > 0 {
		t.State, t.Cause = TaskWaiting, "waits for the tasks it depends on"
	}
	return nil
}

// dependOn records one dependency. Its row is locked, so that it ends either
// before this, and is seen to have, or after, and settles the new task too.
func dependOn(ctx context.Context, tx pgx.Tx, t *Task, name string) error {
	var id uuid.UUID
	var state TaskState
	err := tx.QueryRow(ctx, `SELECT id, state FROM tasks WHERE name = $1 AND id <> $2 FOR SHARE`, name, t.ID).Scan(&id, &state)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("task %q: %w", name, ErrNotFound)
	case err != nil:
		return fmt.Errorf("reading a dependency: %w", err)
	case state == TaskFailed || state == TaskCancelled:
		return fmt.Errorf("task %q is %s: %w", name, state, ErrNeverStarts)
	}
	if _, err := tx.Exec(ctx, `INSERT INTO task_dependencies (task_id, depends_on) VALUES ($1, $2)
		ON CONFLICT DO NOTHING`, t.ID, id); err != nil {
		return fmt.Errorf("storing a dependency: %w", err)
	}
	return nil
}

// Task finds a task by name or id.
func (s *Store) Task(ctx context.Context, ref string) (Task, error) {
	return s.task(ctx, fmt.Sprintf("task %q", ref), `name = $1 OR id::text = $1 ORDER BY name = $1 DESC LIMIT 1`, ref)
}

// TaskNumbered finds a task by its number.
func (s *Store) TaskNumbered(ctx context.Context, number int64) (Task, error) {
	return s.task(ctx, fmt.Sprintf("task number %d", number), `number = $1`, number)
}

// task finds the one task that a condition on its argument names.
func (s *Store) task(ctx context.Context, what, condition string, argument any) (Task, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+taskColumns+` FROM tasks WHERE `+condition, argument)
	if err != nil {
		return Task{}, fmt.Errorf("reading a task: %w", err)
	}
	t, err := pgx.CollectExactlyOneRow(rows, scanTask)
	if errors.Is(err, pgx.ErrNoRows) {
		return Task{}, fmt.Errorf("%s: %w", what, ErrNotFound)
	}
	if err != nil {
		return Task{}, fmt.Errorf("reading a task: %w", err)
	}
	return t, nil
}

// TaskSource returns the task file as it was submitted.
func (s *Store) TaskSource(ctx context.Context, id uuid.UUID) (string, error) {
	var source string
	if err := s.pool.QueryRow(ctx, `SELECT source FROM tasks WHERE id = $1`, id).Scan(&source); err != nil {
		return "", fmt.Errorf("reading a task's source: %w", err)
	}
	return source, nil
}

// TaskNames returns the names of the newest tasks, for completion and for
// suggesting the nearest name.
func (s *Store) TaskNames(ctx context.Context, limit int) ([]string, error) {
	rows, err := s.pool.Query(ctx, `SELECT name FROM tasks ORDER BY created_at DESC LIMIT $1`, limit)
	if err != nil {
		return nil, fmt.Errorf("listing task names: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// Tasks lists tasks, newest first, with their counts. An empty state lists
// all; before, when not zero, continues a listing behind that creation time.
func (s *Store) Tasks(ctx context.Context, state TaskState, before time.Time, limit int) ([]Task, error) {
	if before.IsZero() {
		before = time.Now().Add(24 * time.Hour)
	}
	rows, err := s.pool.Query(ctx, `SELECT `+taskColumns+` FROM tasks
		WHERE ($1 = '' OR state = $1) AND created_at < $2 ORDER BY created_at DESC, id LIMIT $3`, string(state), before, limit)
	if err != nil {
		return nil, fmt.Errorf("listing tasks: %w", err)
	}
	return pgx.CollectRows(rows, scanTask)
}

// LiveTasks returns every task that is not final, oldest first.
func (s *Store) LiveTasks(ctx context.Context) ([]Task, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+taskColumns+` FROM tasks WHERE finished_at IS NULL ORDER BY created_at, id`)
	if err != nil {
		return nil, fmt.Errorf("listing live tasks: %w", err)
	}
	return pgx.CollectRows(rows, scanTask)
}

// Describe changes how a task is described: the only word of it that nothing
// follows from.
func (s *Store) Describe(ctx context.Context, id uuid.UUID, description string) error {
	tag, err := s.pool.Exec(ctx, `UPDATE tasks SET spec = jsonb_set(spec, '{description}', to_jsonb($2::text)) WHERE id = $1`, id, description)
	if err != nil {
		return fmt.Errorf("describing a task: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("task %s: %w", id, ErrNotFound)
	}
	return nil
}

// Pause holds a task back: what runs goes on, nothing new is granted.
func (s *Store) Pause(ctx context.Context, id uuid.UUID) error {
	return s.changeTask(ctx, id, `UPDATE tasks SET state = 'paused', paused_at = now()
		WHERE id = $1 AND state = 'running' RETURNING state`)
}

// Resume lets a paused task go on; its deadline moves by the time it was paused.
func (s *Store) Resume(ctx context.Context, id uuid.UUID) error {
	return s.changeTask(ctx, id, `UPDATE tasks SET state = 'running', cause = '',
		deadline_at = deadline_at + (now() - paused_at), paused_at = NULL
		WHERE id = $1 AND state = 'paused' RETURNING state`)
}

// CancelTask ends a task. Its queued experiments are cancelled with it; those
// that run end when their workers have stopped them. Tasks that wait for it
// are cancelled too.
func (s *Store) CancelTask(ctx context.Context, id uuid.UUID, cause string) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		return finishTask(ctx, tx, id, TaskCancelled, cause)
	})
}

// FinishTask ends a running task as completed or failed.
func (s *Store) FinishTask(ctx context.Context, id uuid.UUID, state TaskState, cause string, best *int, speedup json.RawMessage) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE tasks SET best = $2, speedup = $3 WHERE id = $1 AND finished_at IS NULL`,
			id, best, speedup); err != nil {
			return fmt.Errorf("storing the best: %w", err)
		}
		return finishTask(ctx, tx, id, state, cause)
	})
}

// finishTask ends a task, cancels what of it is still queued, and settles the
// tasks that wait for it: they start when nothing else holds them back, or
// are cancelled when it did not complete.
func finishTask(ctx context.Context, tx pgx.Tx, id uuid.UUID, state TaskState, cause string) error {
	// Claims lock experiments before their task; so does this.
	if _, err := tx.Exec(ctx, `SELECT 1 FROM experiments WHERE task_id = $1 AND state = 'queued' AND finished_at IS NULL
		ORDER BY id FOR UPDATE`, id); err != nil {
		return fmt.Errorf("locking queued experiments: %w", err)
	}
	tag, err := tx.Exec(ctx, `UPDATE tasks SET state = $2, cause = $3, finished_at = now()
		WHERE id = $1 AND finished_at IS NULL`, id, state, cause)
	if err != nil {
		return fmt.Errorf("ending a task: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("the task has ended already: %w", ErrState)
	}
	if _, err := tx.Exec(ctx, `UPDATE experiments SET state = 'cancelled', outcome = 'cancelled', finished_at = now()
		WHERE task_id = $1 AND state = 'queued'`, id); err != nil {
		return fmt.Errorf("cancelling queued experiments: %w", err)
	}
	if err := announce(ctx, tx, id, map[string]any{"state": state, "cause": cause}); err != nil {
		return err
	}
	return settleDependents(ctx, tx, id, state)
}

func settleDependents(ctx context.Context, tx pgx.Tx, id uuid.UUID, state TaskState) error {
	rows, err := tx.Query(ctx, `SELECT t.id FROM task_dependencies d JOIN tasks t ON t.id = d.task_id
		WHERE d.depends_on = $1 AND t.state = 'waiting' FOR UPDATE OF t`, id)
	if err != nil {
		return fmt.Errorf("reading dependents: %w", err)
	}
	dependents, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return fmt.Errorf("reading dependents: %w", err)
	}
	for _, dependent := range dependents {
		if state != TaskCompleted {
			if err := finishTask(ctx, tx, dependent, TaskCancelled, "a task it depends on has "+string(state)); err != nil {
				return err
			}
			continue
		}
		tag, err := tx.Exec(ctx, `UPDATE tasks SET state = 'running', cause = ''
			WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM task_dependencies d JOIN tasks t ON t.id = d.depends_on
				WHERE d.task_id = $1 AND t.state <> 'completed')`, dependent)
		if err != nil {
			return fmt.Errorf("starting a dependent: %w", err)
		}
		if tag.RowsAffected() > 0 {
			if err := announce(ctx, tx, dependent, map[string]any{"state": TaskRunning}); err != nil {
				return err
			}
		}
	}
	return nil
}

// changeTask runs one fenced update of a task's state and announces it.
func (s *Store) changeTask(ctx context.Context, id uuid.UUID, update string) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		var state TaskState
		err := tx.QueryRow(ctx, update, id).Scan(&state)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrState
		}
		if err != nil {
			return fmt.Errorf("changing a task: %w", err)
		}
		return announce(ctx, tx, id, map[string]any{"state": state})
	})
}
