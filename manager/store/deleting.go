package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// What keeps a task from being deleted. Tasks that have begun are deleted only
// after their end, when nothing of them runs and what was measured is recorded.
var (
	ErrNotEnded   = errors.New("the task has not ended")
	ErrStopping   = errors.New("its last attempts are still being stopped")
	ErrUnrecorded = errors.New("its measurements are not among the records yet")
	// ErrBegun refuses to replace a task of which something was measured.
	ErrBegun = errors.New("the task has begun")
)

// A Deletion says what goes with a task, and what stays. As the payload of an
// event it is all that is left of one that is gone.
type Deletion struct {
	Task       uuid.UUID  `json:"task"`
	Name       string     `json:"name"`
	Number     int64      `json:"number"`
	State      TaskState  `json:"state"`
	FinishedAt *time.Time `json:"finished_at,omitempty"`
	// Experiments and Attempts go with the task, as its events do, and its
	// bundle where no other task refers to it.
	Experiments int `json:"experiments"`
	Attempts    int `json:"attempts"`
	// Records is how many tuning records its experiments made; they stay.
	Records int `json:"records"`
	// Cause says why it was deleted.
	Cause string `json:"cause"`
}

// Deletable tells what goes with a task; ErrNotFound, ErrNotEnded, ErrStopping
// or ErrUnrecorded say why it cannot be deleted now.
func (s *Store) Deletable(ctx context.Context, id uuid.UUID) (Deletion, error) {
	var d Deletion
	err := s.inTx(ctx, func(tx pgx.Tx) (err error) {
		d, err = weigh(ctx, tx, id)
		return err
	})
	return d, err
}

// DeleteTask deletes a task that has ended, with all that is its own, in one
// transaction, and leaves an event of kind deleted. The errors are Deletable's.
func (s *Store) DeleteTask(ctx context.Context, id uuid.UUID, cause string) (Deletion, error) {
	var d Deletion
	err := s.inTx(ctx, func(tx pgx.Tx) (err error) {
		if d, err = weigh(ctx, tx, id); err != nil {
			return err
		}
		d.Cause = cause
		return drop(ctx, tx, d)
	})
	return d, err
}

// weigh locks a task and looks whether it can be deleted: nothing that is final
// changes again, so what it finds holds until the transaction ends.
func weigh(ctx context.Context, tx pgx.Tx, id uuid.UUID) (Deletion, error) {
	d := Deletion{Task: id}
	var recorded bool
	err := tx.QueryRow(ctx, `SELECT name, number, state, finished_at, recorded_at IS NOT NULL FROM tasks WHERE id = $1 FOR UPDATE`, id).
		Scan(&d.Name, &d.Number, &d.State, &d.FinishedAt, &recorded)
	if errors.Is(err, pgx.ErrNoRows) {
		return d, fmt.Errorf("task %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return d, fmt.Errorf("reading a task: %w", err)
	}
	// Counted after the lock is held, by what is committed then.
	var live bool
	err = tx.QueryRow(ctx, `SELECT count(*), count(*) FILTER (WHERE finished_at IS NULL) > 0,
			(SELECT count(*) FROM attempts WHERE task_id = $1),
			(SELECT count(*) FROM records r JOIN experiments e ON e.id = r.id WHERE e.task_id = $1)
		FROM experiments WHERE task_id = $1`, id).Scan(&d.Experiments, &live, &d.Attempts, &d.Records)
	switch {
	case err != nil:
		return d, fmt.Errorf("counting what goes with a task: %w", err)
	case !d.State.Final():
		return d, fmt.Errorf("task %s is %s: %w", d.Name, d.State, ErrNotEnded)
	case live:
		return d, fmt.Errorf("task %s: %w", d.Name, ErrStopping)
	case !recorded:
		return d, fmt.Errorf("task %s: %w", d.Name, ErrUnrecorded)
	}
	return d, nil
}

// drop deletes a task, whose rows go with it by the database's own rules, and
// announces it.
func drop(ctx context.Context, tx pgx.Tx, d Deletion) error {
	if _, err := tx.Exec(ctx, `DELETE FROM tasks WHERE id = $1`, d.Task); err != nil {
		return fmt.Errorf("deleting a task: %w", err)
	}
	return announceKind(ctx, tx, d.Task, "deleted", d)
}

// ReplaceTask puts a task into the place of another, whose number and
// dependents it takes over: one that has ended and can be deleted, or one of
// which nothing has begun. In one transaction the other is gone, with all that
// was its own, and this one is there. The errors are CreateTask's and
// Deletable's, and ErrBegun where onlyUnbegun is asked for.
func (s *Store) ReplaceTask(ctx context.Context, id uuid.UUID, n NewTask, onlyUnbegun bool) (Task, error) {
	var created Task
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		d, err := weigh(ctx, tx, id)
		switch unbegun := (d.State == TaskPaused || d.State == TaskWaiting) && d.Experiments == 0; {
		case errors.Is(err, ErrNotEnded) && unbegun:
		case onlyUnbegun && (err == nil || errors.Is(err, ErrNotEnded) || errors.Is(err, ErrStopping) || errors.Is(err, ErrUnrecorded)):
			return fmt.Errorf("task %s is %s: %w", d.Name, d.State, ErrBegun)
		case err != nil:
			return err
		}
		rows, err := tx.Query(ctx, `SELECT task_id FROM task_dependencies WHERE depends_on = $1`, id)
		if err != nil {
			return fmt.Errorf("reading dependents: %w", err)
		}
		dependents, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		if err != nil {
			return fmt.Errorf("reading dependents: %w", err)
		}
		d.Cause = "replaced"
		if err := drop(ctx, tx, d); err != nil {
			return err
		}
		if created, err = createTask(ctx, tx, n, &d.Number); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO task_dependencies (task_id, depends_on) SELECT unnest($1::uuid[]), $2`,
			dependents, created.ID); err != nil {
			return fmt.Errorf("storing dependents: %w", err)
		}
		return nil
	})
	return created, err
}

// Deleted finds what is known of a task that was deleted, by name or id, the
// latest of that name; ErrNotFound once its event is forgotten.
func (s *Store) Deleted(ctx context.Context, ref string) (Deletion, error) {
	var d Deletion
	id, notID := uuid.Parse(ref)
	query, key := `SELECT payload FROM events WHERE kind = 'deleted' AND payload ->> 'name' = $1 ORDER BY id DESC LIMIT 1`, any(ref)
	if notID == nil {
		query, key = `SELECT payload FROM events WHERE kind = 'deleted' AND task_id = $1 ORDER BY id DESC LIMIT 1`, any(id)
	}
	var payload []byte
	err := s.pool.QueryRow(ctx, query, key).Scan(&payload)
	if errors.Is(err, pgx.ErrNoRows) {
		return d, fmt.Errorf("task %q: %w", ref, ErrNotFound)
	}
	if err == nil {
		err = json.Unmarshal(payload, &d)
	}
	if err != nil {
		return d, fmt.Errorf("reading what is left of a task: %w", err)
	}
	return d, nil
}

// EndedTasks returns up to limit tasks that ended longer than age ago, those
// that ended first before the others.
func (s *Store) EndedTasks(ctx context.Context, age time.Duration, limit int) ([]uuid.UUID, error) {
	rows, err := s.pool.Query(ctx, `SELECT id FROM tasks WHERE finished_at < now() - $1::interval
		ORDER BY finished_at, id LIMIT $2`, age, limit)
	if err != nil {
		return nil, fmt.Errorf("looking for tasks that ended long ago: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}

// ExperimentIDs returns the ids of all of a task's experiments.
func (s *Store) ExperimentIDs(ctx context.Context, task uuid.UUID) ([]uuid.UUID, error) {
	rows, err := s.pool.Query(ctx, `SELECT id FROM experiments WHERE task_id = $1`, task)
	if err != nil {
		return nil, fmt.Errorf("listing a task's experiments: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}
