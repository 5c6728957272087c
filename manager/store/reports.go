package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// A Result is a worker's report with the scores derived from it.
type Result struct {
	wire.Report
	Scores []float64
}

// A Committed result. Accepted is false for a stale epoch, whose report is
// kept beside the experiment and changes nothing, and for a repeat.
type Committed struct {
	Experiment uuid.UUID
	Task       uuid.UUID
	Number     int
	State      experiment.State
	Outcome    *experiment.Outcome
}

// resultRow is a result as the statement below reads it.
type resultRow struct {
	ID          uuid.UUID                `json:"id"`
	Epoch       int64                    `json:"epoch"`
	Task        uuid.UUID                `json:"task"`
	Attempt     int                      `json:"attempt"`
	Worker      string                   `json:"worker"`
	Devices     []string                 `json:"devices"`
	StartedAt   time.Time                `json:"started_at"`
	FinishedAt  time.Time                `json:"finished_at"`
	State       experiment.State         `json:"state"`
	Outcome     experiment.Outcome       `json:"outcome"`
	HandedBack  bool                     `json:"handed_back"`
	Transient   bool                     `json:"transient"`
	Scores      []float64                `json:"scores"`
	Metrics     map[string]Summary       `json:"metrics"`
	Measurement *experiment.Measurement  `json:"measurement"`
	Failure     *experiment.Failure      `json:"failure"`
	Timings     map[string]time.Duration `json:"timings"`
}

// CommitResults records results, many in one statement. A result is accepted
// when its epoch is the experiment's and nothing was accepted before; also from
// queued, when the lease had run out but nobody else has claimed it yet. An
// attempt that was handed back, or that failed by its place's fault less than
// maxInfra times before, queues the experiment again. The result lists the
// accepted ones; repeats, stale results and those of tasks that were deleted
// are absent, and harmless.
func (s *Store) CommitResults(ctx context.Context, results []Result, maxInfra int) ([]Committed, error) {
	list := make([]resultRow, 0, len(results))
	seen := make(map[wire.Attempted]bool, len(results))
	for _, r := range results {
		key := wire.Attempted{Experiment: r.Experiment, Epoch: r.Epoch}
		if seen[key] {
			continue // the same report twice in one batch
		}
		seen[key] = true
		list = append(list, newResultRow(r))
	}
	data, err := json.Marshal(list)
	if err != nil {
		return nil, fmt.Errorf("encoding results: %w", err)
	}
	rows, err := s.pool.Query(ctx, commitResults, data, maxInfra)
	if err != nil {
		return nil, fmt.Errorf("committing results: %w", err)
	}
	committed, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Committed])
	if err != nil {
		return nil, fmt.Errorf("committing results: %w", err)
	}
	return committed, nil
}

const commitResults = `
	WITH r AS (
		SELECT * FROM jsonb_to_recordset($1::jsonb) AS r (id uuid, epoch bigint, task uuid, attempt int, worker text, devices text[],
			started_at timestamptz, finished_at timestamptz, state text, outcome text, handed_back boolean, transient boolean,
			scores float8[], metrics jsonb, measurement jsonb, failure jsonb, timings jsonb)
	), there AS (
		-- The tasks that are there, and stay until this commits. What arrives for
		-- one that was deleted is dropped.
		SELECT t.id FROM tasks t WHERE t.id = ANY (SELECT task FROM r) ORDER BY t.id FOR KEY SHARE
	), locked AS (
		SELECT e.id, e.infra FROM experiments e
		WHERE e.id = ANY (SELECT id FROM r) AND e.finished_at IS NULL ORDER BY e.id FOR UPDATE
	), judged AS (
		SELECT r.*, t.state IN ('completed', 'failed', 'cancelled') AS over,
			(r.handed_back OR (r.transient AND l.infra < $2)) AS again
		FROM r JOIN locked l ON l.id = r.id JOIN tasks t ON t.id = r.task
	), changed AS (
		UPDATE experiments e SET
			state       = CASE WHEN NOT j.again THEN j.state WHEN j.over THEN 'cancelled' ELSE 'queued' END,
			outcome     = CASE WHEN NOT j.again THEN j.outcome WHEN j.over THEN 'cancelled' END,
			finished_at = CASE WHEN NOT j.again OR j.over THEN now() END,
			queued_at   = CASE WHEN j.again THEN now() ELSE e.queued_at END,
			infra       = e.infra + CASE WHEN j.again AND NOT j.handed_back THEN 1 ELSE 0 END,
			attempts    = e.attempts - CASE WHEN j.handed_back THEN 1 ELSE 0 END,
			claim       = NULL,
			worker      = j.worker, devices = j.devices, started_at = j.started_at,
			scores      = CASE WHEN NOT j.again THEN j.scores END,
			metrics     = CASE WHEN NOT j.again THEN j.metrics END,
			failure     = CASE WHEN NOT j.again THEN j.failure END
		FROM judged j
		WHERE e.id = j.id AND e.epoch = j.epoch AND e.finished_at IS NULL
			-- From queued, only the first report of an attempt whose lease ran out
			-- counts: an attempt that was reported before has ended, and a
			-- hand-back only gives back what is still held.
			AND CASE WHEN e.state = 'running' THEN true WHEN j.again THEN false
				ELSE EXISTS (SELECT 1 FROM attempts a WHERE a.experiment_id = j.id AND a.epoch = j.epoch AND a.outcome = 'lost') END
		RETURNING e.id, e.epoch, e.task_id, e.number, e.state, e.outcome
	), kept AS (
		INSERT INTO attempts AS a (experiment_id, epoch, task_id, attempt, worker, devices, started_at, finished_at,
			outcome, accepted, measurement, failure, timings)
		SELECT r.id, r.epoch, r.task, r.attempt, r.worker, r.devices, r.started_at, r.finished_at,
			CASE WHEN r.handed_back THEN 'handed_back' ELSE r.outcome END,
			changed.id IS NOT NULL AND changed.outcome IS NOT NULL AND NOT r.handed_back,
			r.measurement, r.failure, r.timings
		FROM r JOIN there ON there.id = r.task LEFT JOIN changed ON changed.id = r.id AND changed.epoch = r.epoch
		-- The lease may have run out before: then the attempt stands there as
		-- lost, and the late report adds its evidence.
		ON CONFLICT (experiment_id, epoch) DO UPDATE SET outcome = excluded.outcome, accepted = excluded.accepted,
			measurement = excluded.measurement, failure = excluded.failure, timings = excluded.timings,
			finished_at = excluded.finished_at
			WHERE a.outcome = 'lost' AND NOT a.accepted
	)
	SELECT id, task_id, number, state, outcome FROM changed`

func newResultRow(r Result) resultRow {
	row := resultRow{
		ID: r.Experiment, Epoch: r.Epoch, Task: r.Task, Attempt: r.Attempt, Worker: r.Worker, Devices: r.Devices,
		StartedAt: r.StartedAt, FinishedAt: r.FinishedAt, State: r.Outcome.State(), Outcome: r.Outcome,
		HandedBack: r.HandedBack, Transient: r.Outcome.Transient(), Scores: r.Scores,
		Measurement: r.Measurement, Failure: r.Failure, Timings: r.Timings,
	}
	row.Metrics = Summaries(r.Measurement)
	return row
}

// Summaries are the metrics of a measurement without their samples; nil when
// there is none.
func Summaries(m *experiment.Measurement) map[string]Summary {
	if m == nil {
		return nil
	}
	out := make(map[string]Summary, len(m.Metrics))
	for name, metric := range m.Metrics {
		out[name] = Summary{Unit: metric.Unit, Median: metric.Median, Spread: metric.Spread, Count: len(metric.Samples)}
	}
	return out
}

// AnnounceProgress adds one event per task for a batch of committed results:
// what changed and how the task stands.
func (s *Store) AnnounceProgress(ctx context.Context, numbers map[uuid.UUID][]int) error {
	ids := make([]uuid.UUID, 0, len(numbers))
	payloads := make([]string, 0, len(numbers))
	for id, list := range numbers {
		payload, err := json.Marshal(map[string]any{"numbers": list})
		if err != nil {
			return fmt.Errorf("encoding an event: %w", err)
		}
		ids, payloads = append(ids, id), append(payloads, string(payload))
	}
	_, err := s.pool.Exec(ctx, `WITH added AS (
			INSERT INTO events (task_id, kind, payload)
			SELECT e.id, 'experiments', payload::jsonb FROM unnest($1::uuid[], $2::text[]) AS e (id, payload)
			JOIN tasks t ON t.id = e.id)
		SELECT pg_notify($3, '')`, ids, payloads, ChannelEvents)
	if err != nil {
		return fmt.Errorf("announcing progress: %w", err)
	}
	return nil
}

// textArray writes a PostgreSQL array literal; unnest cannot take apart an
// array of arrays.
func textArray(values []string) string {
	b := []byte{'{'}
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		for _, c := range []byte(v) {
			if c == '"' || c == '\\' {
				b = append(b, '\\')
			}
			b = append(b, c)
		}
		b = append(b, '"')
	}
	return string(append(b, '}'))
}
