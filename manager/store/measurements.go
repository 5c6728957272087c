package store

import (
	"context"
	"fmt"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Measurements returns what the accepted attempts of a task's experiments
// measured, by number, whatever the outcome: an experiment that ran out of
// memory keeps what it measured before. Those without a measurement, such as
// those that a record answered, are absent.
func (s *Store) Measurements(ctx context.Context, task uuid.UUID, numbers []int) (map[int]*experiment.Measurement, error) {
	rows, err := s.pool.Query(ctx, `SELECT e.number, a.measurement FROM experiments e
		JOIN attempts a ON a.experiment_id = e.id AND a.accepted
		WHERE e.task_id = $1 AND e.number = ANY($2) AND a.measurement IS NOT NULL`, task, numbers)
	if err != nil {
		return nil, fmt.Errorf("reading measurements: %w", err)
	}
	found := make(map[int]*experiment.Measurement, len(numbers))
	var number int
	var m *experiment.Measurement
	_, err = pgx.ForEachRow(rows, []any{&number, &m}, func() error {
		found[number], m = m, nil
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading measurements: %w", err)
	}
	return found, nil
}

// CellMetricNames returns the names of every metric that the cells of a task's
// experiments have, sorted.
func (s *Store) CellMetricNames(ctx context.Context, task uuid.UUID) ([]string, error) {
	rows, err := s.pool.Query(ctx, `SELECT DISTINCT k FROM attempts a,
			jsonb_array_elements(CASE WHEN jsonb_typeof(a.measurement #> '{serving,cells}') = 'array'
				THEN a.measurement #> '{serving,cells}' ELSE '[]' END) AS c,
			jsonb_object_keys(CASE WHEN jsonb_typeof(c -> 'metrics') = 'object' THEN c -> 'metrics' ELSE '{}' END) AS k
		WHERE a.task_id = $1 AND a.accepted ORDER BY k`, task)
	if err != nil {
		return nil, fmt.Errorf("listing metrics of cells: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
