package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// An Experiment is a row of experiments.
type Experiment struct {
	ID         uuid.UUID
	TaskID     uuid.UUID
	Number     int
	Purpose    experiment.Purpose
	Confirms   *int
	Parameters space.Point
	State      experiment.State
	Outcome    *experiment.Outcome
	Epoch      int64
	Attempts   int
	Worker     *string
	Devices    []string
	QueuedAt   time.Time
	StartedAt  *time.Time
	FinishedAt *time.Time
	// Scores holds one number per objective, in the metric's own unit.
	Scores  []float64
	Metrics map[string]Summary
	Failure *experiment.Failure
	// Fidelity is the level of an experiment that is less than a full
	// measurement; nil for those that are one.
	Fidelity *float64
	// Record is the number of the record that answered the experiment; nil for
	// those that are measured.
	Record *int64
}

// A Summary is a metric without its samples; those stay with the attempt.
type Summary struct {
	Unit   string  `json:"unit"`
	Median float64 `json:"median"`
	Spread float64 `json:"spread"`
	Count  int     `json:"count"`
}

const experimentColumns = `id, task_id, number, purpose, confirms, parameters, state, outcome, epoch, attempts,
	worker, devices, queued_at, started_at, finished_at, scores, metrics, failure, fidelity, record`

func collectExperiments(rows pgx.Rows, err error) ([]Experiment, error) {
	if err != nil {
		return nil, fmt.Errorf("reading experiments: %w", err)
	}
	experiments, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Experiment])
	if err != nil {
		return nil, fmt.Errorf("reading experiments: %w", err)
	}
	return experiments, nil
}

// Experiments returns a task's experiments behind number after, in order.
func (s *Store) Experiments(ctx context.Context, task uuid.UUID, after, limit int) ([]Experiment, error) {
	return collectExperiments(s.pool.Query(ctx, `SELECT `+experimentColumns+` FROM experiments
		WHERE task_id = $1 AND number > $2 ORDER BY number LIMIT $3`, task, after, limit))
}

// Experiment returns one experiment of a task.
func (s *Store) Experiment(ctx context.Context, task uuid.UUID, number int) (Experiment, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+experimentColumns+` FROM experiments WHERE task_id = $1 AND number = $2`, task, number)
	if err != nil {
		return Experiment{}, fmt.Errorf("reading an experiment: %w", err)
	}
	e, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Experiment])
	if errors.Is(err, pgx.ErrNoRows) {
		return Experiment{}, fmt.Errorf("experiment %d: %w", number, ErrNotFound)
	}
	if err != nil {
		return Experiment{}, fmt.Errorf("reading an experiment: %w", err)
	}
	return e, nil
}

// QueuedExperiments returns the experiments of a task that wait to be claimed,
// confirmations included, in order.
func (s *Store) QueuedExperiments(ctx context.Context, task uuid.UUID, limit int) ([]Experiment, error) {
	return collectExperiments(s.pool.Query(ctx, `SELECT `+experimentColumns+` FROM experiments
		WHERE task_id = $1 AND finished_at IS NULL AND state = 'queued' ORDER BY number LIMIT $2`, task, limit))
}

// Running returns every experiment that is under a lease.
func (s *Store) Running(ctx context.Context) ([]LiveExperiment, error) {
	rows, err := s.pool.Query(ctx, `SELECT id, task_id, epoch, worker, session FROM experiments
		WHERE finished_at IS NULL AND state = 'running'`)
	if err != nil {
		return nil, fmt.Errorf("reading running experiments: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[LiveExperiment])
}

// A LiveExperiment is an experiment under a lease.
type LiveExperiment struct {
	ID      uuid.UUID
	Task    uuid.UUID
	Epoch   int64
	Worker  string
	Session uuid.UUID
}

// A NewExperiment is a point to be measured.
type NewExperiment struct {
	ID         uuid.UUID
	Number     int
	Purpose    experiment.Purpose
	Confirms   *int
	Parameters space.Point
	Fidelity   *float64
	// Answer, where there is one, ends the experiment at once.
	Answer *Answer
}

// InsertExperiments adds queued experiments, and answered ones that are over,
// to a running task under the leader's term. ErrNotLeader and ErrState (the task is no longer running)
// leave nothing behind.
func (s *Store) InsertExperiments(ctx context.Context, term int64, task uuid.UUID, experiments []NewExperiment) error {
	ids := make([]uuid.UUID, len(experiments))
	numbers := make([]int, len(experiments))
	purposes := make([]string, len(experiments))
	confirms := make([]*int, len(experiments))
	parameters := make([]string, len(experiments))
	fidelities := make([]*float64, len(experiments))
	answers := make([]*string, len(experiments))
	for i, e := range experiments {
		point, err := json.Marshal(e.Parameters)
		if err != nil {
			return fmt.Errorf("encoding parameters: %w", err)
		}
		ids[i], numbers[i], purposes[i], confirms[i], parameters[i] = e.ID, e.Number, string(e.Purpose), e.Confirms, string(point)
		fidelities[i] = e.Fidelity
		if answers[i], err = e.answer(); err != nil {
			return err
		}
	}
	// One statement: the locks on the leader's and the task's row hold until it
	// commits, so neither a deposed leader nor a cancelled task adds a row.
	tag, err := s.pool.Exec(ctx, `
		WITH mandate AS (SELECT 1 FROM leader WHERE term = $1 AND expires_at > now() FOR SHARE),
		     running AS (SELECT id FROM tasks WHERE id = $2 AND state = 'running' FOR SHARE)
		INSERT INTO experiments (id, task_id, number, purpose, confirms, parameters, fidelity, state, outcome, finished_at,
			scores, metrics, record)
		SELECT n.id, running.id, n.number, n.purpose, n.confirms, n.parameters::jsonb, n.fidelity,
			CASE WHEN a.record IS NULL THEN 'queued' ELSE 'success' END, CASE WHEN a.record IS NOT NULL THEN 'success' END,
			CASE WHEN a.record IS NOT NULL THEN now() END, a.scores, a.metrics, a.record
		FROM mandate, running, unnest($3::uuid[], $4::int[], $5::text[], $6::int[], $7::text[], $8::float8[], $9::text[])
		     AS n (id, number, purpose, confirms, parameters, fidelity, answer)
		     LEFT JOIN LATERAL jsonb_to_record(n.answer::jsonb) AS a (record bigint, scores float8[], metrics jsonb) ON true`,
		term, task, uuids(ids), numbers, purposes, confirms, parameters, fidelities, answers)
	if err != nil {
		return fmt.Errorf("adding experiments: %w", err)
	}
	if tag.RowsAffected() > 0 {
		return nil
	}
	var leads bool
	if err := s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM leader WHERE term = $1 AND expires_at > now())`, term).Scan(&leads); err != nil {
		return fmt.Errorf("adding experiments: %w", err)
	}
	if !leads {
		return ErrNotLeader
	}
	return ErrState
}

// InsertNotStarted adds the rows of experiments that the task's time-out kept
// from ever starting, so that every configuration has its row.
func (s *Store) InsertNotStarted(ctx context.Context, task uuid.UUID, experiments []NewExperiment) error {
	return s.inTx(ctx, func(tx pgx.Tx) error { return insertNotStarted(ctx, tx, task, experiments) })
}

func insertNotStarted(ctx context.Context, tx pgx.Tx, task uuid.UUID, experiments []NewExperiment) error {
	tag, err := tx.Exec(ctx, `SELECT 1 FROM tasks WHERE id = $1 FOR KEY SHARE`, task)
	if err != nil {
		return fmt.Errorf("adding experiments that never started: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return nil // it was deleted meanwhile
	}
	_, err = tx.CopyFrom(ctx, pgx.Identifier{"experiments"},
		[]string{"id", "task_id", "number", "purpose", "parameters", "fidelity", "state", "outcome", "finished_at"},
		pgx.CopyFromSlice(len(experiments), func(i int) ([]any, error) {
			e := experiments[i]
			return []any{e.ID, task, e.Number, string(e.Purpose), e.Parameters, e.Fidelity, "cancelled", "not_started", time.Now()}, nil
		}))
	if err != nil {
		return fmt.Errorf("adding experiments that never started: %w", err)
	}
	return nil
}

// ExpireQueued marks a task's queued experiments as not started, all of them
// or those with one of the purposes: the task's time is over, or its search.
func (s *Store) ExpireQueued(ctx context.Context, task uuid.UUID, purposes ...experiment.Purpose) ([]uuid.UUID, error) {
	names := make([]string, len(purposes))
	for i, p := range purposes {
		names[i] = string(p)
	}
	rows, err := s.pool.Query(ctx, `UPDATE experiments SET state = 'cancelled', outcome = 'not_started', finished_at = now()
		WHERE task_id = $1 AND state = 'queued' AND finished_at IS NULL
		  AND (cardinality($2::text[]) = 0 OR purpose = ANY($2)) RETURNING id`, task, names)
	if err != nil {
		return nil, fmt.Errorf("ending queued experiments: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}

// SetBaseline remembers which experiment is the task's baseline.
func (s *Store) SetBaseline(ctx context.Context, task uuid.UUID, number int) error {
	if _, err := s.pool.Exec(ctx, `UPDATE tasks SET baseline = $2 WHERE id = $1`, task, number); err != nil {
		return fmt.Errorf("storing the baseline: %w", err)
	}
	return nil
}

// Counts of a task's experiments by state; confirmations are counted apart.
type Counts struct {
	Total         int `json:"total"`
	Queued        int `json:"queued"`
	Running       int `json:"running"`
	Success       int `json:"success"`
	Failed        int `json:"failed"`
	Cancelled     int `json:"cancelled"`
	Confirmations int `json:"confirmations"`
	Confirmed     int `json:"confirmed"`
}

// Counts returns the counts of the given tasks.
func (s *Store) Counts(ctx context.Context, tasks []uuid.UUID) (map[uuid.UUID]Counts, error) {
	rows, err := s.pool.Query(ctx, `SELECT task_id, total, queued, running, success, failed, cancelled, confirmations, confirmed
		FROM task_progress WHERE task_id = ANY($1)`, tasks)
	if err != nil {
		return nil, fmt.Errorf("counting experiments: %w", err)
	}
	counts := make(map[uuid.UUID]Counts, len(tasks))
	var id uuid.UUID
	var c Counts
	_, err = pgx.ForEachRow(rows, []any{&id, &c.Total, &c.Queued, &c.Running, &c.Success, &c.Failed, &c.Cancelled,
		&c.Confirmations, &c.Confirmed}, func() error {
		counts[id] = c
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("counting experiments: %w", err)
	}
	return counts, nil
}

// A Phase is what a worker does for an experiment, and how far it is, in words;
// both are empty before it has said anything.
type Phase struct{ Name, Detail string }

// Phases tells what is done for each of a task's running experiments, by
// number, as the worker that holds it said last. Confirmations are left out, as
// in the counts.
func (s *Store) Phases(ctx context.Context, task uuid.UUID) (map[int]Phase, error) {
	rows, err := s.pool.Query(ctx, `WITH held AS (
			SELECT h->>'experiment' AS experiment, (h->>'epoch')::bigint AS epoch, h->>'phase' AS phase, h->>'detail' AS detail
			FROM workers CROSS JOIN jsonb_array_elements(held) AS h WHERE state IN ('online', 'draining'))
		SELECT e.number, coalesce(h.phase, ''), coalesce(h.detail, '') FROM experiments e
		LEFT JOIN held h ON h.experiment = e.id::text AND h.epoch = e.epoch
		WHERE e.task_id = $1 AND e.state = 'running' AND e.purpose <> 'confirm'`, task)
	if err != nil {
		return nil, fmt.Errorf("reading what is done for experiments: %w", err)
	}
	phases := map[int]Phase{}
	var number int
	var phase Phase
	if _, err := pgx.ForEachRow(rows, []any{&number, &phase.Name, &phase.Detail}, func() error {
		phases[number] = phase
		return nil
	}); err != nil {
		return nil, fmt.Errorf("reading what is done for experiments: %w", err)
	}
	return phases, nil
}

// An Attempt is a row of attempts.
type Attempt struct {
	ExperimentID uuid.UUID
	Epoch        int64
	Attempt      int
	Worker       string
	Devices      []string
	StartedAt    *time.Time
	FinishedAt   time.Time
	Outcome      string
	Accepted     bool
	Measurement  *experiment.Measurement
	Failure      *experiment.Failure
	Timings      map[string]time.Duration
}

// Attempts returns an experiment's attempts that ended, in order of epoch.
func (s *Store) Attempts(ctx context.Context, id uuid.UUID) ([]Attempt, error) {
	rows, err := s.pool.Query(ctx, `SELECT experiment_id, epoch, attempt, worker, devices, started_at, finished_at, outcome,
		accepted, measurement, failure, timings FROM attempts WHERE experiment_id = $1 ORDER BY epoch`, id)
	if err != nil {
		return nil, fmt.Errorf("reading attempts: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Attempt])
}

// Confirmations returns the measurements of a task's accepted confirmations,
// by the number of the experiment they confirm.
func (s *Store) Confirmations(ctx context.Context, task uuid.UUID) (map[int]experiment.Measurement, error) {
	rows, err := s.pool.Query(ctx, `SELECT e.confirms, a.measurement FROM experiments e
		JOIN attempts a ON a.experiment_id = e.id AND a.accepted
		WHERE e.task_id = $1 AND e.purpose = 'confirm' AND e.state = 'success' AND a.measurement IS NOT NULL`, task)
	if err != nil {
		return nil, fmt.Errorf("reading confirmations: %w", err)
	}
	found := map[int]experiment.Measurement{}
	var number int
	var m experiment.Measurement
	_, err = pgx.ForEachRow(rows, []any{&number, &m}, func() error {
		found[number] = m
		m = experiment.Measurement{}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading confirmations: %w", err)
	}
	return found, nil
}

// Offers compares the bus's offers with the rows.
type Offers struct {
	// Offered holds those of the given ids that are queued in running tasks.
	Offered map[uuid.UUID]bool
	// Missing lists queued experiments of running tasks that are not among
	// the given ids although they have been queued for a while.
	Missing []LiveExperimentRef
}

// A LiveExperimentRef names an experiment.
type LiveExperimentRef struct {
	ID     uuid.UUID
	Task   uuid.UUID
	Number int
}

// QueuedNow compares the offers with the given ids with the queued rows that
// are older than settle.
func (s *Store) QueuedNow(ctx context.Context, ids []uuid.UUID, settle time.Duration) (Offers, error) {
	rows, err := s.pool.Query(ctx, `SELECT e.id, e.task_id, e.number, e.id = ANY($1), e.queued_at < now() - $2::interval
		FROM tasks t JOIN experiments e ON e.task_id = t.id AND e.finished_at IS NULL AND e.state = 'queued'
		WHERE t.state = 'running'`, ids, settle)
	if err != nil {
		return Offers{}, fmt.Errorf("reading queued experiments: %w", err)
	}
	o := Offers{Offered: map[uuid.UUID]bool{}}
	var e LiveExperimentRef
	var offered, settled bool
	_, err = pgx.ForEachRow(rows, []any{&e.ID, &e.Task, &e.Number, &offered, &settled}, func() error {
		if offered {
			o.Offered[e.ID] = true
		} else if settled {
			o.Missing = append(o.Missing, e)
		}
		return nil
	})
	if err != nil {
		return Offers{}, fmt.Errorf("reading queued experiments: %w", err)
	}
	return o, nil
}

// A Starving experiment has waited for long.
type Starving struct {
	Task       *task.Task
	Parameters space.Point
}

// Starving returns, of every running task whose experiments may need several
// devices, the experiment that has been queued the longest if that is longer
// than patience, unless work of a higher priority waits too.
func (s *Store) Starving(ctx context.Context, patience time.Duration) ([]Starving, error) {
	rows, err := s.pool.Query(ctx, `
		WITH waiting AS (
			SELECT DISTINCT ON (t.id) t.id, t.spec, array_position('{high,normal,low}'::text[], t.priority) AS rank,
				e.queued_at AS since, e.parameters
			FROM tasks t JOIN experiments e ON e.task_id = t.id AND e.finished_at IS NULL AND e.state = 'queued'
			WHERE t.state = 'running' ORDER BY t.id, e.queued_at, e.number)
		SELECT w.spec, w.parameters FROM waiting w
		WHERE ((w.spec #>> '{resources,devices}')::int > 1 OR w.spec ? 'serving') AND w.since < now() - $1::interval
		  AND NOT EXISTS (SELECT 1 FROM waiting h WHERE h.rank < w.rank)
		ORDER BY w.since`, patience)
	if err != nil {
		return nil, fmt.Errorf("reading starving experiments: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Starving])
}
