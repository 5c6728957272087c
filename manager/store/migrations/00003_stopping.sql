-- +goose Up

-- Why a task chooses no more experiments: {"rule": …, "message": …}.
ALTER TABLE tasks ADD COLUMN stopped jsonb;

-- The level of an experiment that is less than a full measurement.
ALTER TABLE experiments ADD COLUMN fidelity double precision;

ALTER TABLE experiments DROP CONSTRAINT experiments_outcome_check;
ALTER TABLE experiments ADD CONSTRAINT experiments_outcome_check CHECK (outcome IN ('success', 'incorrect', 'no_metric',
    'failed', 'out_of_memory', 'infeasible', 'combo_timeout', 'total_timeout', 'not_started', 'render_error', 'infra_error',
    'lost', 'cancelled', 'stopped_early'));

-- Scores are compared where the measurement was a full one.
CREATE OR REPLACE VIEW leaderboard AS
SELECT t.name AS task, e.task_id, e.number, e.parameters, e.scores[1] AS score, e.metrics, e.finished_at,
       rank() OVER (PARTITION BY e.task_id ORDER BY
           CASE WHEN t.spec #>> '{optimization,objectives,0,direction}' = 'maximize' THEN -e.scores[1] ELSE e.scores[1] END) AS rank
FROM experiments e JOIN tasks t ON t.id = e.task_id
WHERE e.state = 'success' AND e.purpose <> 'confirm' AND e.fidelity IS NULL;

-- +goose Down
CREATE OR REPLACE VIEW leaderboard AS
SELECT t.name AS task, e.task_id, e.number, e.parameters, e.scores[1] AS score, e.metrics, e.finished_at,
       rank() OVER (PARTITION BY e.task_id ORDER BY
           CASE WHEN t.spec #>> '{optimization,objectives,0,direction}' = 'maximize' THEN -e.scores[1] ELSE e.scores[1] END) AS rank
FROM experiments e JOIN tasks t ON t.id = e.task_id
WHERE e.state = 'success' AND e.purpose <> 'confirm';
UPDATE experiments SET outcome = 'cancelled' WHERE outcome = 'stopped_early';
UPDATE experiments SET outcome = 'failed' WHERE outcome = 'infeasible';
ALTER TABLE experiments DROP CONSTRAINT experiments_outcome_check;
ALTER TABLE experiments ADD CONSTRAINT experiments_outcome_check CHECK (outcome IN ('success', 'incorrect', 'no_metric',
    'failed', 'out_of_memory', 'combo_timeout', 'total_timeout', 'not_started', 'render_error', 'infra_error', 'lost', 'cancelled'));
ALTER TABLE experiments DROP COLUMN fidelity;
ALTER TABLE tasks DROP COLUMN stopped;
