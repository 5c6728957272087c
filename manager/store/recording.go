package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// UnrecordedTasks returns tasks that have ended, of which nothing runs any
// more and whose measurements are no records yet, oldest first.
func (s *Store) UnrecordedTasks(ctx context.Context, limit int) ([]Task, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+taskColumns+` FROM tasks
		WHERE finished_at IS NOT NULL AND recorded_at IS NULL
		  AND NOT EXISTS (SELECT 1 FROM experiments e WHERE e.task_id = tasks.id AND e.finished_at IS NULL)
		ORDER BY finished_at, id LIMIT $1`, limit)
	if err != nil {
		return nil, fmt.Errorf("reading unrecorded tasks: %w", err)
	}
	return pgx.CollectRows(rows, scanTask)
}

// A Measured experiment comes with the node that it ran on as that was then;
// nil when that is not known.
type Measured struct {
	Experiment
	Node *node.Advertisement
}

// MeasuredExperiments returns a task's experiments behind number after that
// were measured by an attempt of their own, in order.
func (s *Store) MeasuredExperiments(ctx context.Context, id uuid.UUID, after, limit int) ([]Measured, error) {
	list, err := s.Experiments(ctx, id, after, limit)
	if err != nil {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, `SELECT e.id, w.node FROM experiments e JOIN worker_sessions w ON w.session = e.session
		WHERE e.task_id = $1 AND e.number > $2 AND e.record IS NULL ORDER BY e.number LIMIT $3`, id, after, limit)
	if err != nil {
		return nil, fmt.Errorf("reading where experiments ran: %w", err)
	}
	nodes := map[uuid.UUID]*node.Advertisement{}
	var experiment uuid.UUID
	var where *node.Advertisement
	if _, err := pgx.ForEachRow(rows, []any{&experiment, &where}, func() error {
		nodes[experiment], where = where, nil
		return nil
	}); err != nil {
		return nil, fmt.Errorf("reading where experiments ran: %w", err)
	}
	measured := make([]Measured, len(list))
	for i, e := range list {
		measured[i] = Measured{Experiment: e, Node: nodes[e.ID]}
	}
	return measured, nil
}

// MarkRecorded notes that a task's measurements are records.
func (s *Store) MarkRecorded(ctx context.Context, id uuid.UUID) error {
	if _, err := s.pool.Exec(ctx, `UPDATE tasks SET recorded_at = now() WHERE id = $1`, id); err != nil {
		return fmt.Errorf("noting that a task is recorded: %w", err)
	}
	return nil
}

// Served says how records serve a task.
type Served struct {
	// Answers is how many points records can answer.
	Answers int `json:"answers"`
	// Starts is how many points of similar tasks the search starts with.
	Starts int `json:"starts"`
	// Sources names the tasks that the starts come from.
	Sources []string `json:"sources,omitempty"`
	// Note says why there is nothing, where there is nothing.
	Note string `json:"note,omitempty"`
}

// Frozen holds the records that serve a task as they were when it was handed
// in. What the task does with them follows from this alone.
type Frozen struct {
	Answers []Answer      `json:"answers,omitempty"`
	Starts  []space.Point `json:"starts,omitempty"`
}

// An Answer stands for the measurement of a point.
type Answer struct {
	Record  int64              `json:"record"`
	Point   space.Point        `json:"point"`
	Scores  []float64          `json:"scores"`
	Metrics map[string]Summary `json:"metrics"`
}

// Frozen returns the records that serve a task.
func (s *Store) Frozen(ctx context.Context, id uuid.UUID) (Frozen, error) {
	var data []byte
	err := s.pool.QueryRow(ctx, `SELECT records_frozen FROM tasks WHERE id = $1`, id).Scan(&data)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && data == nil {
		return Frozen{}, nil
	}
	if err != nil {
		return Frozen{}, fmt.Errorf("reading the records that serve a task: %w", err)
	}
	var f Frozen
	if err := json.Unmarshal(data, &f); err != nil {
		return Frozen{}, fmt.Errorf("reading the records that serve a task: %w", err)
	}
	return f, nil
}

// RecordAnswers returns the newest record of every point under a key, at most
// limit, the points measured first before the others. A point that failed when
// it was last measured has none.
func (s *Store) RecordAnswers(ctx context.Context, key string, limit int) ([]StoredRecord, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+recordColumns+` FROM records r JOIN (
			SELECT min(number) AS first, max(number) AS number FROM records
			WHERE key = $1 GROUP BY point) n ON n.number = r.number
		WHERE r.score IS NOT NULL ORDER BY n.first LIMIT $2`, key, limit)
	if err != nil {
		return nil, fmt.Errorf("reading the records of a key: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanRecord)
	if err != nil {
		return nil, fmt.Errorf("reading the records of a key: %w", err)
	}
	return list, nil
}

// BestPoints returns up to limit points of a key, best first by the median of
// their measurements, with the names of the tasks that measured them.
func (s *Store) BestPoints(ctx context.Context, key string, limit int) (points []space.Point, tasks []string, err error) {
	rows, err := s.pool.Query(ctx, `SELECT r.point, min(r.content ->> 'task') FROM records r JOIN record_keys k ON k.digest = r.key
		WHERE r.key = $1 AND r.score IS NOT NULL GROUP BY r.point, k.maximize
		ORDER BY percentile_cont(0.5) WITHIN GROUP (ORDER BY r.score) * CASE WHEN k.maximize THEN -1 ELSE 1 END, min(r.number) LIMIT $2`, key, limit)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the best points of a key: %w", err)
	}
	var text string
	var task *string
	_, err = pgx.ForEachRow(rows, []any{&text, &task}, func() error {
		var p space.Point
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			return err
		}
		points = append(points, p)
		if task != nil {
			tasks = append(tasks, *task)
		}
		task = nil
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("reading the best points of a key: %w", err)
	}
	return points, tasks, nil
}

// answer is what the statement that adds the experiment reads; nil where the
// experiment is to be measured.
func (n *NewExperiment) answer() (*string, error) {
	if n.Answer == nil {
		return nil, nil
	}
	data, err := json.Marshal(n.Answer)
	if err != nil {
		return nil, fmt.Errorf("encoding an answer: %w", err)
	}
	text := string(data)
	return &text, nil
}
