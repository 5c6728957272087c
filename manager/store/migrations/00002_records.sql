-- +goose Up

-- What was measured, where and how: the keys of records. The digest is the
-- SHA-256 of the key's canonical form; a row whose key does not give it is
-- passed over.
CREATE TABLE record_keys (
    digest    text PRIMARY KEY,
    operation text NOT NULL,
    key       jsonb NOT NULL,
    maximize  boolean NOT NULL
);
CREATE INDEX record_keys_by_operation ON record_keys (operation);

-- Measurements, failures included. Rows are added and never changed.
CREATE TABLE records (
    number      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          uuid NOT NULL UNIQUE,
    key         text NOT NULL REFERENCES record_keys,
    -- point is the record's point as text, by which measurements of the same
    -- point are found.
    point       text NOT NULL,
    score       double precision,
    confirmed   boolean NOT NULL DEFAULT false,
    measured_at timestamptz NOT NULL,
    imported    boolean NOT NULL DEFAULT false,
    content     jsonb NOT NULL
);
CREATE INDEX records_by_key ON records (key, number);

-- Derived: the best point of each key that has one. Written with the rows it
-- follows from, and the same if it is derived anew.
CREATE TABLE record_winners (
    key         text PRIMARY KEY REFERENCES record_keys,
    -- number is the newest record of the winning point; score the median of all
    -- of them.
    number      bigint NOT NULL REFERENCES records,
    score       double precision NOT NULL,
    confirmed   boolean NOT NULL,
    points      integer NOT NULL,
    measured_at timestamptz NOT NULL
);

-- What an operator has set, and goes before every winner.
CREATE TABLE record_pins (
    key       text PRIMARY KEY REFERENCES record_keys,
    number    bigint NOT NULL REFERENCES records,
    note      text NOT NULL DEFAULT '',
    pinned_at timestamptz NOT NULL DEFAULT now()
);

-- What a worker's node was like in each of its sessions: experiments name the
-- session, so that a driver changed since does not change where they ran.
CREATE TABLE worker_sessions (
    session uuid PRIMARY KEY,
    worker  text NOT NULL,
    node    jsonb NOT NULL,
    since   timestamptz NOT NULL DEFAULT now()
);
INSERT INTO worker_sessions (session, worker, node) SELECT session, name, node FROM workers ON CONFLICT DO NOTHING;
-- +goose StatementBegin
CREATE FUNCTION keep_worker_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO worker_sessions AS w (session, worker, node) VALUES (NEW.session, NEW.name, NEW.node)
    ON CONFLICT (session) DO UPDATE SET node = excluded.node WHERE w.node IS DISTINCT FROM excluded.node;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER workers_inserted AFTER INSERT ON workers FOR EACH ROW EXECUTE FUNCTION keep_worker_session();
CREATE TRIGGER workers_changed AFTER UPDATE ON workers FOR EACH ROW
    WHEN (OLD.session IS DISTINCT FROM NEW.session OR OLD.node IS DISTINCT FROM NEW.node)
    EXECUTE FUNCTION keep_worker_session();

ALTER TABLE tasks
    -- recorded_at is when the measurements of a task that has ended became records.
    ADD COLUMN recorded_at timestamptz,
    -- records says how records serve the task; records_frozen holds those
    -- records as they were when it was handed in, and is never changed.
    ADD COLUMN records jsonb,
    ADD COLUMN records_frozen jsonb;
CREATE INDEX tasks_unrecorded ON tasks (finished_at) WHERE finished_at IS NOT NULL AND recorded_at IS NULL;

-- record is the number of the record that answered the experiment, which then
-- was never offered to a worker.
ALTER TABLE experiments ADD COLUMN record bigint;

-- +goose Down
ALTER TABLE experiments DROP COLUMN record;
DROP INDEX tasks_unrecorded;
ALTER TABLE tasks DROP COLUMN recorded_at, DROP COLUMN records, DROP COLUMN records_frozen;
DROP TRIGGER workers_changed ON workers;
DROP TRIGGER workers_inserted ON workers;
DROP FUNCTION keep_worker_session;
DROP TABLE worker_sessions, record_pins, record_winners, records, record_keys;
