package store

import (
	"context"
	"fmt"
	"time"

	"github.com/fleetune/fleetune/proto/space"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// A Value is what an experiment came to, without its point and metrics.
type Value struct {
	Number     int
	FinishedAt time.Time
	// Scores holds one number per objective, in the metric's own unit.
	Scores []float64
}

// Values returns up to limit successful experiments of a task, confirmations
// and all that is less than a full measurement left out, by number. They are light: a hundred thousand take few megabytes.
func (s *Store) Values(ctx context.Context, task uuid.UUID, limit int) ([]Value, error) {
	rows, err := s.pool.Query(ctx, `SELECT number, finished_at, scores FROM experiments
		WHERE task_id = $1 AND state = 'success' AND purpose <> 'confirm' AND scores IS NOT NULL AND finished_at IS NOT NULL
		  AND fidelity IS NULL
		ORDER BY number LIMIT $2`, task, limit)
	if err != nil {
		return nil, fmt.Errorf("reading scores: %w", err)
	}
	values, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Value])
	if err != nil {
		return nil, fmt.Errorf("reading scores: %w", err)
	}
	return values, nil
}

// Points returns the points of a task's experiments with these numbers;
// unknown ones are absent.
func (s *Store) Points(ctx context.Context, task uuid.UUID, numbers []int) (map[int]space.Point, error) {
	rows, err := s.pool.Query(ctx, `SELECT number, parameters FROM experiments WHERE task_id = $1 AND number = ANY($2)`, task, numbers)
	if err != nil {
		return nil, fmt.Errorf("reading points: %w", err)
	}
	points := make(map[int]space.Point, len(numbers))
	var number int
	var point space.Point
	_, err = pgx.ForEachRow(rows, []any{&number, &point}, func() error {
		points[number], point = point, nil
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading points: %w", err)
	}
	return points, nil
}
