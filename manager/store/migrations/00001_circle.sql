-- +goose Up

-- A task as it was submitted and where it stands. spec is the validated task
-- with every default filled in; source is the file, kept to be read by people.
CREATE TABLE tasks (
    id          uuid PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    spec        jsonb NOT NULL,
    source      text NOT NULL,
    kind        text NOT NULL,
    priority    text NOT NULL CHECK (priority IN ('high', 'normal', 'low')),
    state       text NOT NULL CHECK (state IN ('waiting', 'running', 'paused', 'completed', 'failed', 'cancelled')),
    cause       text NOT NULL DEFAULT '',
    -- planned is how many experiments the budget and the space allow.
    planned     integer NOT NULL DEFAULT 0,
    baseline    integer,
    best        integer,
    -- speedup of the best over the baseline, with its confidence interval;
    -- set once the finalists are confirmed.
    speedup     jsonb,
    created_at  timestamptz NOT NULL DEFAULT now(),
    started_at  timestamptz,
    -- deadline_at bounds the task's whole time; paused time moves it.
    deadline_at timestamptz,
    paused_at   timestamptz,
    finished_at timestamptz
);
CREATE INDEX tasks_live ON tasks (created_at) WHERE finished_at IS NULL;
CREATE INDEX tasks_listed ON tasks (created_at DESC, id);

CREATE TABLE task_dependencies (
    task_id    uuid NOT NULL REFERENCES tasks ON DELETE CASCADE,
    depends_on uuid NOT NULL REFERENCES tasks ON DELETE CASCADE,
    PRIMARY KEY (task_id, depends_on)
);

-- File contents that tasks refer to by digest.
CREATE TABLE bundles (
    digest     text PRIMARY KEY,
    data       bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- One row per point measured. The row also is the fence: every change of a
-- claimed experiment names its epoch. There is no foreign key to tasks here or
-- in attempts: its check would lock the task's row once per experiment on the
-- hot path, and rows are only ever inserted by the leader that read the task.
CREATE TABLE experiments (
    id          uuid PRIMARY KEY,
    task_id     uuid NOT NULL,
    number      integer NOT NULL,
    purpose     text NOT NULL CHECK (purpose IN ('baseline', 'search', 'confirm')),
    -- confirms is the number of the experiment that a confirmation measures again.
    confirms    integer,
    parameters  jsonb NOT NULL,
    state       text NOT NULL CHECK (state IN ('queued', 'running', 'success', 'failed', 'cancelled')),
    outcome     text CHECK (outcome IN ('success', 'incorrect', 'no_metric', 'failed', 'out_of_memory',
                    'combo_timeout', 'total_timeout', 'not_started', 'render_error', 'infra_error', 'lost', 'cancelled')),
    epoch       bigint NOT NULL DEFAULT 0,
    attempts    integer NOT NULL DEFAULT 0,
    losses      integer NOT NULL DEFAULT 0,
    infra       integer NOT NULL DEFAULT 0,
    claim       uuid,
    worker      text,
    session     uuid,
    devices     text[],
    queued_at   timestamptz NOT NULL DEFAULT now(),
    started_at  timestamptz,
    finished_at timestamptz,
    scores      double precision[],
    metrics     jsonb,
    failure     jsonb,
    CHECK ((state IN ('queued', 'running')) = (finished_at IS NULL)),
    CHECK ((outcome IS NULL) = (finished_at IS NULL)),
    UNIQUE (task_id, number)
) WITH (fillfactor = 70); -- room for the claim's update on the same page (HOT)
-- The predicate is finished_at, not state, so that a claim changes no index.
CREATE INDEX experiments_live ON experiments (task_id) WHERE finished_at IS NULL;

-- One row per attempt that ended, the rejected ones too.
CREATE TABLE attempts (
    experiment_id uuid NOT NULL,
    epoch         bigint NOT NULL,
    task_id       uuid NOT NULL,
    attempt       integer NOT NULL,
    worker        text NOT NULL,
    devices       text[],
    started_at    timestamptz,
    finished_at   timestamptz NOT NULL,
    -- outcome is an experiment's, or handed_back.
    outcome       text NOT NULL,
    accepted      boolean NOT NULL,
    measurement   jsonb,
    failure       jsonb,
    timings       jsonb,
    PRIMARY KEY (experiment_id, epoch)
);
CREATE INDEX attempts_by_task ON attempts (task_id);
CREATE INDEX attempts_by_time ON attempts USING brin (finished_at);

CREATE TABLE workers (
    name         text PRIMARY KEY,
    session      uuid NOT NULL,
    node         jsonb NOT NULL,
    state        text NOT NULL CHECK (state IN ('online', 'draining', 'lost', 'left')),
    trouble      text NOT NULL DEFAULT '',
    held         jsonb NOT NULL DEFAULT '[]',
    drain        boolean NOT NULL DEFAULT false,
    first_seen   timestamptz NOT NULL DEFAULT now(),
    last_beat_at timestamptz NOT NULL
);

-- One row: who dispatches. term fences what a leader writes.
CREATE TABLE leader (
    id         boolean PRIMARY KEY DEFAULT true CHECK (id),
    holder     uuid NOT NULL,
    url        text NOT NULL DEFAULT '',
    term       bigint NOT NULL,
    expires_at timestamptz NOT NULL
);

-- What happened, for whoever watches. tx lets a reader stay behind
-- transactions that are still open, so that it never skips a late committer.
CREATE TABLE events (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tx      xid8 NOT NULL DEFAULT pg_current_xact_id(),
    task_id uuid,
    kind    text NOT NULL,
    payload jsonb NOT NULL,
    at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX events_by_task ON events (task_id, tx, id);
-- Readers follow transactions, not ids: see Events.
CREATE INDEX events_in_order ON events (tx, id);

-- Views for dashboards. Their names and columns are a public interface.

CREATE VIEW task_progress AS
SELECT t.id AS task_id, t.name, t.state, t.priority, t.planned, t.created_at, t.started_at, t.finished_at,
       count(e.id) FILTER (WHERE e.purpose <> 'confirm')                              AS total,
       count(e.id) FILTER (WHERE e.purpose <> 'confirm' AND e.state = 'queued')       AS queued,
       count(e.id) FILTER (WHERE e.purpose <> 'confirm' AND e.state = 'running')      AS running,
       count(e.id) FILTER (WHERE e.purpose <> 'confirm' AND e.state = 'success')      AS success,
       count(e.id) FILTER (WHERE e.purpose <> 'confirm' AND e.state = 'failed')       AS failed,
       count(e.id) FILTER (WHERE e.purpose <> 'confirm' AND e.state = 'cancelled')    AS cancelled,
       count(e.id) FILTER (WHERE e.purpose = 'confirm')                               AS confirmations,
       count(e.id) FILTER (WHERE e.purpose = 'confirm' AND e.finished_at IS NOT NULL) AS confirmed,
       t.baseline, t.best
FROM tasks t LEFT JOIN experiments e ON e.task_id = t.id
GROUP BY t.id;

CREATE VIEW leaderboard AS
SELECT t.name AS task, e.task_id, e.number, e.parameters, e.scores[1] AS score, e.metrics, e.finished_at,
       rank() OVER (PARTITION BY e.task_id ORDER BY
           CASE WHEN t.spec #>> '{optimization,objectives,0,direction}' = 'maximize' THEN -e.scores[1] ELSE e.scores[1] END) AS rank
FROM experiments e JOIN tasks t ON t.id = e.task_id
WHERE e.state = 'success' AND e.purpose <> 'confirm';

CREATE VIEW worker_utilisation AS
SELECT w.name AS worker, w.state, w.last_beat_at,
       jsonb_array_length(w.node -> 'devices')                                     AS devices,
       count(a.*)                                                                  AS attempts,
       count(a.*) FILTER (WHERE a.accepted AND a.outcome = 'success')              AS success,
       coalesce(sum(extract(epoch FROM a.finished_at - a.started_at)), 0)::float8  AS busy_seconds,
       coalesce(sum(extract(epoch FROM a.finished_at - a.started_at) * coalesce(cardinality(a.devices), 0)), 0)::float8 AS device_seconds
FROM workers w LEFT JOIN attempts a ON a.worker = w.name
GROUP BY w.name;

CREATE VIEW device_utilisation AS
SELECT a.worker, d.device, count(*) AS attempts,
       sum(extract(epoch FROM a.finished_at - a.started_at))::float8 AS busy_seconds,
       min(a.started_at) AS first_used, max(a.finished_at) AS last_used
FROM attempts a CROSS JOIN LATERAL unnest(a.devices) AS d (device)
GROUP BY a.worker, d.device;

CREATE VIEW failure_causes AS
SELECT t.name AS task, e.task_id, e.outcome, e.failure ->> 'phase' AS phase, count(*) AS experiments,
       min(e.number) AS first_number, max(e.failure ->> 'message') AS example
FROM experiments e JOIN tasks t ON t.id = e.task_id
WHERE e.state = 'failed'
GROUP BY t.name, e.task_id, e.outcome, e.failure ->> 'phase';

CREATE VIEW queue_wait AS
SELECT t.name AS task, t.id AS task_id, t.priority, count(*) AS experiments,
       percentile_cont(0.5)  WITHIN GROUP (ORDER BY extract(epoch FROM coalesce(e.started_at, now()) - e.queued_at)) AS p50_seconds,
       percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM coalesce(e.started_at, now()) - e.queued_at)) AS p99_seconds,
       count(*) FILTER (WHERE e.state = 'queued') AS waiting
FROM experiments e JOIN tasks t ON t.id = e.task_id
GROUP BY t.id;

-- +goose Down
DROP VIEW queue_wait, failure_causes, device_utilisation, worker_utilisation, leaderboard, task_progress;
DROP TABLE events, leader, workers, attempts, experiments, bundles, task_dependencies, tasks;
