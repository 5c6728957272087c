package store

import (
	"context"
	"fmt"
	"time"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// A Claim asks for one experiment in a worker's name.
type Claim struct {
	ID         uuid.UUID // of the claim: asking again gives the same answer
	Experiment uuid.UUID
	Worker     string
	Session    uuid.UUID
	Devices    []string
}

// A Granted claim. Deadline is the task's, and Left what is left until then by
// the database's clock, which set it; nil when it has none.
type Granted struct {
	Experiment uuid.UUID
	Task       uuid.UUID
	Claim      uuid.UUID
	Epoch      int64
	Attempt    int
	Deadline   *time.Time
	Left       *time.Duration
	Purpose    experiment.Purpose
}

// Claim grants the experiments that are queued in running tasks, each under a
// new epoch, and repeats the answer to claims granted before. What is missing
// from the result is refused. The first grant of a task starts its clock.
func (s *Store) Claim(ctx context.Context, claims []Claim) (map[uuid.UUID]Granted, error) {
	ids := make([]uuid.UUID, len(claims))
	experiments := make([]uuid.UUID, len(claims))
	workers := make([]string, len(claims))
	sessions := make([]uuid.UUID, len(claims))
	devices := make([]string, len(claims))
	for i, c := range claims {
		ids[i], experiments[i], workers[i], sessions[i] = c.ID, c.Experiment, c.Worker, c.Session
		devices[i] = textArray(c.Devices)
	}
	// Rows are locked in the order of their ids, as everywhere, so that batches
	// never wait for each other in a circle.
	rows, err := s.pool.Query(ctx, `
		WITH c AS (
			SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[])
				AS c (claim, experiment, worker, session, devices)
		), locked AS (
			SELECT e.id FROM experiments e WHERE e.id = ANY($2::uuid[]) AND e.state = 'queued' ORDER BY e.id FOR UPDATE
		), granted AS (
			UPDATE experiments e SET state = 'running', epoch = e.epoch + 1, attempts = e.attempts + 1,
				claim = c.claim, worker = c.worker, session = c.session, devices = c.devices::text[], started_at = now()
			FROM locked JOIN c ON c.experiment = locked.id, tasks t
			WHERE e.id = locked.id AND e.state = 'queued' AND t.id = e.task_id AND t.state = 'running'
			RETURNING e.id, e.task_id, e.claim, e.epoch, e.attempts, e.purpose
		), started AS (
			UPDATE tasks t SET started_at = now(),
				deadline_at = now() + ((t.spec #>> '{optimization,timeout}')::float8 || ' seconds')::interval
			WHERE t.started_at IS NULL AND t.id IN (SELECT task_id FROM granted)
			RETURNING t.id, t.deadline_at
		)
		SELECT g.id, g.task_id, g.claim, g.epoch, g.attempts,
			coalesce(started.deadline_at, t.deadline_at), coalesce(started.deadline_at, t.deadline_at) - now(), g.purpose
		FROM granted g JOIN tasks t ON t.id = g.task_id LEFT JOIN started ON started.id = g.task_id
		UNION ALL
		SELECT e.id, e.task_id, e.claim, e.epoch, e.attempts, t.deadline_at, t.deadline_at - now(), e.purpose
		FROM experiments e JOIN c ON c.experiment = e.id AND c.claim = e.claim JOIN tasks t ON t.id = e.task_id
		WHERE e.state = 'running'`,
		uuids(ids), uuids(experiments), workers, uuids(sessions), devices)
	if err != nil {
		return nil, fmt.Errorf("claiming: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Granted])
	if err != nil {
		return nil, fmt.Errorf("claiming: %w", err)
	}
	granted := make(map[uuid.UUID]Granted, len(list))
	for _, g := range list {
		granted[g.Claim] = g
	}
	return granted, nil
}

// A Lost attempt is one whose lease ran out.
type Lost struct {
	Experiment uuid.UUID
	Epoch      int64
	Reason     string
}

// A Requeued experiment went back to queued, or ended when it was lost too often.
type Requeued struct {
	Experiment uuid.UUID
	Task       uuid.UUID
	Number     int
	State      string
}

// Requeue takes attempts away whose lease ran out, under the leader's term:
// each is recorded as lost and its experiment queued again, unless it was lost
// maxLosses times before or its task has ended.
func (s *Store) Requeue(ctx context.Context, term int64, lost []Lost, maxLosses int) ([]Requeued, error) {
	ids := make([]uuid.UUID, len(lost))
	epochs := make([]int64, len(lost))
	reasons := make([]string, len(lost))
	for i, l := range lost {
		ids[i], epochs[i], reasons[i] = l.Experiment, l.Epoch, l.Reason
	}
	rows, err := s.pool.Query(ctx, `
		WITH mandate AS (SELECT 1 FROM leader WHERE term = $1 AND expires_at > now() FOR SHARE),
		l AS (SELECT l.* FROM mandate, unnest($2::uuid[], $3::bigint[], $4::text[]) AS l (id, epoch, reason)),
		locked AS (
			SELECT e.* FROM experiments e JOIN l ON l.id = e.id AND l.epoch = e.epoch
			WHERE e.state = 'running' ORDER BY e.id FOR UPDATE OF e
		), judged AS (
			SELECT e.id, l.reason, e.losses + 1 >= $5 AS worn, t.state IN ('completed', 'failed', 'cancelled') AS over
			FROM locked e JOIN l ON l.id = e.id JOIN tasks t ON t.id = e.task_id
		), changed AS (
			UPDATE experiments e SET losses = e.losses + 1, claim = NULL,
				state    = CASE WHEN j.over THEN 'cancelled' WHEN j.worn THEN 'failed' ELSE 'queued' END,
				outcome  = CASE WHEN j.over THEN 'cancelled' WHEN j.worn THEN 'lost' END,
				finished_at = CASE WHEN j.over OR j.worn THEN now() END,
				queued_at = CASE WHEN j.over OR j.worn THEN e.queued_at ELSE now() END,
				failure  = CASE WHEN j.worn AND NOT j.over THEN jsonb_build_object('phase', 'lease', 'message', j.reason,
					'hint', 'the experiment took its worker down ' || (e.losses + 1) || ' times; see fleetune workers and the worker''s own log') END
			FROM judged j WHERE e.id = j.id
			RETURNING e.id, e.task_id, e.number, e.state, e.epoch, e.attempts, e.worker, e.devices, e.started_at, j.reason
		), kept AS (
			INSERT INTO attempts (experiment_id, epoch, task_id, attempt, worker, devices, started_at, finished_at, outcome, accepted, failure)
			SELECT c.id, c.epoch, c.task_id, c.attempts, c.worker, c.devices, c.started_at, now(), 'lost', false,
				jsonb_build_object('phase', 'lease', 'message', c.reason)
			FROM changed c ON CONFLICT (experiment_id, epoch) DO NOTHING
		)
		SELECT id, task_id, number, state FROM changed`,
		term, uuids(ids), epochs, reasons, maxLosses)
	if err != nil {
		return nil, fmt.Errorf("requeueing lost experiments: %w", err)
	}
	requeued, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Requeued])
	if err != nil {
		return nil, fmt.Errorf("requeueing lost experiments: %w", err)
	}
	return requeued, nil
}
