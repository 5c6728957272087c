package store

import (
	"context"
	"fmt"

	"github.com/fleetune/fleetune/proto/task"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Stopped says why a task chooses no more experiments.
type Stopped struct {
	// Rule names the limit: max_iterations, space, time, device_hours, cost,
	// plateau, expected_improvement or timeout.
	Rule string `json:"rule"`
	// Message says it in words, with the figures.
	Message string `json:"message"`
}

// StopSearch records, once, why a live task chooses no more experiments, and
// announces it. What was decided before stays; the result says what holds. A
// task that has ended is left alone, and its answer is the zero value.
func (s *Store) StopSearch(ctx context.Context, id uuid.UUID, why Stopped) (Stopped, error) {
	var holds *Stopped
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE tasks SET stopped = $2 WHERE id = $1 AND stopped IS NULL AND finished_at IS NULL`, id, why)
		if err != nil {
			return fmt.Errorf("recording why a task stops: %w", err)
		}
		if tag.RowsAffected() > 0 {
			if err := announce(ctx, tx, id, map[string]any{"stopped": why}); err != nil {
				return err
			}
		}
		if err := tx.QueryRow(ctx, `SELECT stopped FROM tasks WHERE id = $1`, id).Scan(&holds); err != nil {
			return fmt.Errorf("reading why a task stops: %w", err)
		}
		return nil
	})
	if err != nil || holds == nil {
		return Stopped{}, err
	}
	return *holds, nil
}

// Usage is what a task's attempts have used.
type Usage struct {
	// DeviceHours that ended attempts held devices, one device for an hour
	// being 1.
	DeviceHours float64
	// Cost of them.
	Cost float64
}

// Usage sums up what the attempts of a task that have ended have used, those
// that failed, were lost or were handed back included. An hour of a device
// costs what its worker's label cost_per_device_hour says, or else price.
func (s *Store) Usage(ctx context.Context, id uuid.UUID, price float64) (Usage, error) {
	var u Usage
	err := s.pool.QueryRow(ctx, `
		WITH used AS (
			SELECT worker, sum(greatest(coalesce((timings ->> 'running')::float8 / 1e9,
				extract(epoch FROM finished_at - started_at)::float8, 0), 0) * coalesce(cardinality(devices), 0)) / 3600 AS hours
			FROM attempts WHERE task_id = $1 GROUP BY worker)
		SELECT coalesce(sum(u.hours), 0)::float8, coalesce(sum(u.hours * coalesce(l.price::float8, $2)), 0)::float8
		FROM used u LEFT JOIN LATERAL (
			SELECT w.node #>> ARRAY['labels', $3::text] AS price FROM workers w
			WHERE w.name = u.worker AND w.node #>> ARRAY['labels', $3::text] ~ '^[0-9]{1,9}(\.[0-9]{1,9})?$') l ON true`,
		id, price, task.LabelDeviceHourCost).Scan(&u.DeviceHours, &u.Cost)
	if err != nil {
		return Usage{}, fmt.Errorf("summing up what a task has used: %w", err)
	}
	return u, nil
}
