-- +goose Up

-- bundle is the digest of the file contents that a task refers to. The key keeps
-- contents from going while a task needs them; tasks of before are not checked.
ALTER TABLE tasks ADD COLUMN bundle text
    GENERATED ALWAYS AS (coalesce(nullif(spec #>> '{command,bundle}', ''), nullif(spec #>> '{load,bundle}', ''))) STORED;
ALTER TABLE tasks ADD CONSTRAINT tasks_bundle_fkey FOREIGN KEY (bundle) REFERENCES bundles NOT VALID;
CREATE INDEX tasks_bundle ON tasks (bundle) WHERE bundle IS NOT NULL;
-- Contents that earlier versions kept for tasks that refer to none.
DELETE FROM bundles WHERE digest = '';

-- A task takes with it what is its own. This is what ON DELETE CASCADE would do,
-- without the check of a foreign key at every insert, which the hot path of
-- experiments, attempts and events is spared. Its bundle goes with the last task
-- that refers to it: the row is locked before others are looked for, so that
-- of a task that comes and one that goes either sees the other.
-- +goose StatementBegin
CREATE FUNCTION delete_with_task() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM attempts WHERE task_id = OLD.id;
    DELETE FROM experiments WHERE task_id = OLD.id;
    DELETE FROM events WHERE task_id = OLD.id;
    IF OLD.bundle IS NOT NULL THEN
        PERFORM 1 FROM bundles WHERE digest = OLD.bundle FOR UPDATE;
        DELETE FROM bundles WHERE digest = OLD.bundle AND NOT EXISTS (SELECT 1 FROM tasks WHERE bundle = OLD.bundle);
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER tasks_deleted AFTER DELETE ON tasks FOR EACH ROW EXECUTE FUNCTION delete_with_task();

-- Events of kind deleted are all that is left of a task; they are found by its name.
CREATE INDEX events_deleted ON events ((payload ->> 'name')) WHERE kind = 'deleted';

-- +goose Down
DROP INDEX events_deleted;
DROP TRIGGER tasks_deleted ON tasks;
DROP FUNCTION delete_with_task;
ALTER TABLE tasks DROP COLUMN bundle;
