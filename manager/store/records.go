package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fleetune/fleetune/manager/records"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// A StoredRecord is a record with its number here, by which people name it.
type StoredRecord struct {
	Number   int64
	Imported bool
	Pinned   bool
	records.Record
}

// Appended tells what became of records that were handed in.
type Appended struct {
	Added int
	// Known were there before, told alike.
	Known int
	// Conflicts were there before, told otherwise; what was there stays.
	Conflicts []uuid.UUID
}

// recordRow is a record as the statement below reads it.
type recordRow struct {
	ID         uuid.UUID      `json:"id"`
	Key        string         `json:"key"`
	Point      string         `json:"point"`
	Score      *float64       `json:"score"`
	Confirmed  bool           `json:"confirmed"`
	MeasuredAt time.Time      `json:"measured_at"`
	Content    records.Record `json:"content"`
}

type keyRow struct {
	Digest    string      `json:"digest"`
	Operation string      `json:"operation"`
	Key       records.Key `json:"key"`
	Maximize  bool        `json:"maximize"`
}

// AppendRecords adds records that are not there yet and derives the winners of
// their keys anew, in one transaction. Adding twice is harmless.
func (s *Store) AppendRecords(ctx context.Context, list []records.Record, imported bool) (Appended, error) {
	rows, keys, err := recordRows(list)
	if err != nil || len(rows) == 0 {
		return Appended{}, err
	}
	keyData, err := json.Marshal(slices.Collect(maps.Values(keys)))
	if err != nil {
		return Appended{}, fmt.Errorf("encoding records: %w", err)
	}
	data, err := json.Marshal(rows)
	if err != nil {
		return Appended{}, fmt.Errorf("encoding records: %w", err)
	}
	var result Appended
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		// Keys are locked in order: two writers take turns by key, and the later
		// one derives its winner from what both have added.
		if _, err := tx.Exec(ctx, `INSERT INTO record_keys (digest, operation, key, maximize)
			SELECT digest, operation, key, maximize FROM jsonb_to_recordset($1::jsonb)
				AS k (digest text, operation text, key jsonb, maximize boolean) ORDER BY digest
			ON CONFLICT DO NOTHING`, keyData); err != nil {
			return fmt.Errorf("adding keys of records: %w", err)
		}
		digests := slices.Sorted(maps.Keys(keys))
		if _, err := tx.Exec(ctx, `SELECT 1 FROM record_keys WHERE digest = ANY($1) ORDER BY digest FOR UPDATE`, digests); err != nil {
			return fmt.Errorf("locking keys of records: %w", err)
		}
		added, err := insertRecords(ctx, tx, data, imported)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, deriveWinners, digests); err != nil {
			return fmt.Errorf("deriving winners: %w", err)
		}
		result, err = compareKnown(ctx, tx, rows, added)
		return err
	})
	return result, err
}

func recordRows(list []records.Record) ([]recordRow, map[string]keyRow, error) {
	rows, keys := make([]recordRow, 0, len(list)), map[string]keyRow{}
	for _, r := range list {
		if err := r.Check(); err != nil {
			return nil, nil, err
		}
		point, err := records.PointKey(r.Point)
		if err != nil {
			return nil, nil, err
		}
		row := recordRow{ID: r.ID, Key: r.Key.Digest(), Point: point, Confirmed: r.Confirmed, MeasuredAt: r.MeasuredAt, Content: r}
		maximize := false
		if len(r.Scores) > 0 {
			_, direction, err := r.Key.Objective()
			if err != nil {
				return nil, nil, err
			}
			row.Score, maximize = &r.Scores[0], direction == task.Maximize
		} else if _, direction, err := r.Key.Objective(); err == nil {
			maximize = direction == task.Maximize
		}
		rows = append(rows, row)
		keys[row.Key] = keyRow{row.Key, r.Key.Operation.Name, r.Key, maximize}
	}
	return rows, keys, nil
}

// insertRecords returns the ids that were not there before.
func insertRecords(ctx context.Context, tx pgx.Tx, data []byte, imported bool) (map[uuid.UUID]bool, error) {
	rows, err := tx.Query(ctx, `INSERT INTO records (id, key, point, score, confirmed, measured_at, imported, content)
		SELECT id, key, point, score, confirmed, measured_at, $2, content FROM jsonb_to_recordset($1::jsonb)
			AS r (id uuid, key text, point text, score float8, confirmed boolean, measured_at timestamptz, content jsonb)
		ON CONFLICT (id) DO NOTHING RETURNING id`, data, imported)
	if err != nil {
		return nil, fmt.Errorf("adding records: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("adding records: %w", err)
	}
	added := make(map[uuid.UUID]bool, len(ids))
	for _, id := range ids {
		added[id] = true
	}
	return added, nil
}

// deriveWinners takes each point's median over its measurements, and of the
// points those that a task has confirmed, if there are any; then the best. Ties
// go to the point that was measured first.
const deriveWinners = `
	WITH points AS (
		SELECT r.key, k.maximize, percentile_cont(0.5) WITHIN GROUP (ORDER BY r.score) AS score,
			bool_or(r.confirmed) AS confirmed, min(r.number) AS first, max(r.number) AS number, max(r.measured_at) AS measured_at
		FROM records r JOIN record_keys k ON k.digest = r.key
		WHERE r.key = ANY($1) AND r.score IS NOT NULL GROUP BY r.key, r.point, k.maximize
	), ranked AS (
		SELECT *, count(*) OVER (PARTITION BY key) AS points, row_number() OVER (PARTITION BY key
			ORDER BY confirmed DESC, CASE WHEN maximize THEN -score ELSE score END, first) AS rank FROM points
	)
	INSERT INTO record_winners AS w (key, number, score, confirmed, points, measured_at)
	SELECT key, number, score, confirmed, points, measured_at FROM ranked WHERE rank = 1
	ON CONFLICT (key) DO UPDATE SET number = excluded.number, score = excluded.score, confirmed = excluded.confirmed,
		points = excluded.points, measured_at = excluded.measured_at`

// compareKnown sorts out which of the records that were there before are the same.
func compareKnown(ctx context.Context, tx pgx.Tx, list []recordRow, added map[uuid.UUID]bool) (Appended, error) {
	result := Appended{Added: len(added)}
	given := map[uuid.UUID]records.Record{}
	var ids []uuid.UUID
	for _, r := range list {
		if !added[r.ID] {
			given[r.ID] = r.Content
			ids = append(ids, r.ID)
		}
	}
	if len(ids) == 0 {
		return result, nil
	}
	rows, err := tx.Query(ctx, `SELECT content FROM records WHERE id = ANY($1) ORDER BY id`, ids)
	if err != nil {
		return result, fmt.Errorf("comparing records: %w", err)
	}
	known, err := pgx.CollectRows(rows, pgx.RowTo[records.Record])
	if err != nil {
		return result, fmt.Errorf("comparing records: %w", err)
	}
	for _, k := range known {
		if k.Same(given[k.ID]) {
			result.Known++
		} else {
			result.Conflicts = append(result.Conflicts, k.ID)
		}
	}
	return result, nil
}

const recordColumns = `r.number, r.imported, EXISTS (SELECT 1 FROM record_pins p WHERE p.number = r.number), r.content`

func scanRecord(row pgx.CollectableRow) (StoredRecord, error) {
	var r StoredRecord
	err := row.Scan(&r.Number, &r.Imported, &r.Pinned, &r.Record)
	return r, err
}

// A RecordFilter narrows a listing of records; empty fields do not.
type RecordFilter struct {
	Operation string
	Task      string
	// Key is a digest.
	Key   string
	After int64
	Limit int
}

// Records returns records in the order of their numbers.
func (s *Store) Records(ctx context.Context, f RecordFilter) ([]StoredRecord, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+recordColumns+` FROM records r JOIN record_keys k ON k.digest = r.key
		WHERE r.number > $1 AND ($2 = '' OR k.operation = $2) AND ($3 = '' OR r.content ->> 'task' = $3) AND ($4 = '' OR r.key = $4)
		ORDER BY r.number LIMIT $5`, f.After, f.Operation, f.Task, f.Key, f.Limit)
	if err != nil {
		return nil, fmt.Errorf("reading records: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanRecord)
	if err != nil {
		return nil, fmt.Errorf("reading records: %w", err)
	}
	return list, nil
}

// Record returns one record.
func (s *Store) Record(ctx context.Context, number int64) (StoredRecord, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+recordColumns+` FROM records r WHERE r.number = $1`, number)
	if err != nil {
		return StoredRecord{}, fmt.Errorf("reading a record: %w", err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, scanRecord)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, fmt.Errorf("record %d: %w", number, ErrNotFound)
	}
	if err != nil {
		return r, fmt.Errorf("reading a record: %w", err)
	}
	return r, nil
}

// A Winner is the record that serves a key: what an operator has pinned, or
// the winner derived from its measurements.
type Winner struct {
	records.Candidate
	Number int64
	// Score is the median over the point's measurements; of a pin, the pinned
	// record's own.
	Score float64
	// Points with a score that the key has.
	Points int
}

// Winners returns what serves each key of an operation, by digest. A key that
// does not give its digest any more is passed over.
func (s *Store) Winners(ctx context.Context, operation string) ([]Winner, error) {
	return s.winners(ctx, operation, nil, nil)
}

// WinnersFor is Winners for keys with just these extras and this workload: a
// look-up that reads few of an operation's keys.
func (s *Store) WinnersFor(ctx context.Context, operation string, extras, workload records.Facts) ([]Winner, error) {
	if extras == nil {
		extras = records.Facts{}
	}
	if workload == nil {
		workload = records.Facts{}
	}
	return s.winners(ctx, operation, extras, workload)
}

// winners narrows where it is given facts. Numbers compare by value.
func (s *Store) winners(ctx context.Context, operation string, extras, workload records.Facts) ([]Winner, error) {
	rows, err := s.pool.Query(ctx, `SELECT k.digest, k.key, p.number IS NOT NULL, w.confirmed, w.measured_at,
			coalesce(p.number, w.number), coalesce(r.score, w.score), w.points
		FROM record_keys k JOIN record_winners w ON w.key = k.digest
			LEFT JOIN record_pins p ON p.key = k.digest LEFT JOIN records r ON r.number = p.number
		WHERE k.operation = $1 AND ($2::jsonb IS NULL OR k.key #> '{operation,extras}' = $2) AND ($3::jsonb IS NULL OR k.key -> 'workload' = $3)
		ORDER BY k.digest`, operation, extras, workload)
	if err != nil {
		return nil, fmt.Errorf("reading winners: %w", err)
	}
	var list []Winner
	var w Winner
	_, err = pgx.ForEachRow(rows, []any{&w.Digest, &w.Key, &w.Pinned, &w.Confirmed, &w.MeasuredAt, &w.Number, &w.Score, &w.Points}, func() error {
		if w.Key.Digest() == w.Digest {
			list = append(list, w)
		}
		w = Winner{}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading winners: %w", err)
	}
	return list, nil
}

// Operations returns the names of operations that have records.
func (s *Store) Operations(ctx context.Context, limit int) ([]string, error) {
	rows, err := s.pool.Query(ctx, `SELECT DISTINCT operation FROM record_keys ORDER BY operation LIMIT $1`, limit)
	if err != nil {
		return nil, fmt.Errorf("listing operations: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// PinRecord lets a record serve its key before every winner. ErrState refuses
// one that has no score.
func (s *Store) PinRecord(ctx context.Context, number int64, note string) error {
	r, err := s.Record(ctx, number)
	if err != nil {
		return err
	}
	if len(r.Scores) == 0 {
		return fmt.Errorf("record %d is of a configuration that failed: %w", number, ErrState)
	}
	if _, err := s.pool.Exec(ctx, `INSERT INTO record_pins (key, number, note) VALUES ($1, $2, $3)
		ON CONFLICT (key) DO UPDATE SET number = excluded.number, note = excluded.note, pinned_at = now()`,
		r.Key.Digest(), number, note); err != nil {
		return fmt.Errorf("pinning a record: %w", err)
	}
	return nil
}

// UnpinRecord takes a pin back. ErrNotFound says that the record is not pinned.
func (s *Store) UnpinRecord(ctx context.Context, number int64) error {
	tag, err := s.pool.Exec(ctx, `DELETE FROM record_pins WHERE number = $1`, number)
	if err != nil {
		return fmt.Errorf("taking a pin back: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("record %d is not pinned: %w", number, ErrNotFound)
	}
	return nil
}
