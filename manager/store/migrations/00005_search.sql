-- +goose Up

-- What a task's search goes over and how its sampler works there, as it was said
-- when the task was handed in; null for tasks that are older.
ALTER TABLE tasks ADD COLUMN search jsonb;

-- +goose Down
ALTER TABLE tasks DROP COLUMN search;
