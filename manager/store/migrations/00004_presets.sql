-- +goose Up

-- Presets that users added; those that come with Fleetune are in the program.
-- parameters is json, not jsonb, for the order of its keys counts.
CREATE TABLE presets (
    slug        text PRIMARY KEY,
    name        text NOT NULL,
    description text NOT NULL,
    category    text NOT NULL,
    runtime     text NOT NULL,
    parameters  json NOT NULL,
    metadata    jsonb NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);

-- +goose Down
DROP TABLE presets;
