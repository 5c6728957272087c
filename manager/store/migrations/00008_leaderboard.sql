-- +goose Up

-- A task's best is what was chosen when it ended, which confirmations decide:
-- the highest score may have been luck. The leaderboard has it first.
CREATE OR REPLACE VIEW leaderboard AS
SELECT t.name AS task, e.task_id, e.number, e.parameters, e.scores[1] AS score, e.metrics, e.finished_at,
       rank() OVER (PARTITION BY e.task_id ORDER BY t.best IS NOT DISTINCT FROM e.number DESC,
           CASE WHEN t.spec #>> '{optimization,objectives,0,direction}' = 'maximize' THEN -e.scores[1] ELSE e.scores[1] END) AS rank
FROM experiments e JOIN tasks t ON t.id = e.task_id
WHERE e.state = 'success' AND e.purpose <> 'confirm' AND e.fidelity IS NULL;

-- +goose Down
CREATE OR REPLACE VIEW leaderboard AS
SELECT t.name AS task, e.task_id, e.number, e.parameters, e.scores[1] AS score, e.metrics, e.finished_at,
       rank() OVER (PARTITION BY e.task_id ORDER BY
           CASE WHEN t.spec #>> '{optimization,objectives,0,direction}' = 'maximize' THEN -e.scores[1] ELSE e.scores[1] END) AS rank
FROM experiments e JOIN tasks t ON t.id = e.task_id
WHERE e.state = 'success' AND e.purpose <> 'confirm' AND e.fidelity IS NULL;
