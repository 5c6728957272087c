-- +goose Up

-- number is a task's place in the order of submission: a short integer for
-- clients that know nothing but integers as ids. An older manager that still
-- runs gives numbers too, without knowing.
ALTER TABLE tasks ADD COLUMN number bigint;
UPDATE tasks t SET number = n.number FROM (SELECT id, row_number() OVER (ORDER BY id) AS number FROM tasks) n WHERE n.id = t.id;
ALTER TABLE tasks ALTER COLUMN number SET NOT NULL;
ALTER TABLE tasks ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY;
SELECT setval(pg_get_serial_sequence('tasks', 'number'), coalesce((SELECT max(number) FROM tasks), 0) + 1, false);
CREATE UNIQUE INDEX tasks_number ON tasks (number);

-- +goose Down

DROP INDEX tasks_number;
ALTER TABLE tasks DROP COLUMN number;
