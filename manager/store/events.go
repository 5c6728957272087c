package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// An Event is something that happened to a task.
type Event struct {
	ID      int64           `json:"id"`
	Task    *uuid.UUID      `json:"task,omitempty"`
	Kind    string          `json:"kind"`
	Payload json.RawMessage `json:"payload"`
	At      time.Time       `json:"at"`
}

// announce adds an event of kind task and wakes whoever listens once the transaction commits.
func announce(ctx context.Context, tx pgx.Tx, task uuid.UUID, payload any) error {
	return announceKind(ctx, tx, task, "task", payload)
}

func announceKind(ctx context.Context, tx pgx.Tx, task uuid.UUID, kind string, payload any) error {
	if _, err := tx.Exec(ctx, `INSERT INTO events (task_id, kind, payload) VALUES ($1, $2, $3)`, task, kind, payload); err != nil {
		return fmt.Errorf("adding an event: %w", err)
	}
	if _, err := tx.Exec(ctx, `SELECT pg_notify($1, ''), pg_notify($2, $3)`, ChannelEvents, ChannelTasks, task.String()); err != nil {
		return fmt.Errorf("notifying: %w", err)
	}
	return nil
}

// Events returns up to limit events behind the one with id after, of one task
// or of all, in the order in which their transactions began. It stays behind
// transactions that are still open, so a reader that goes on from the last
// event it saw misses nothing. That order is not the order of ids: a
// transaction may take its id early and commit late, behind a higher one.
// When the event with id after is gone, reading starts behind that id.
func (s *Store) Events(ctx context.Context, task *uuid.UUID, after int64, limit int) ([]Event, error) {
	rows, err := s.pool.Query(ctx, `SELECT id, task_id, kind, payload, at FROM events
		WHERE CASE WHEN EXISTS (SELECT 1 FROM events WHERE id = $1)
		           THEN (tx, id) > ((SELECT tx FROM events WHERE id = $1), $1) ELSE id > $1 END
		  AND tx >= coalesce((SELECT tx FROM events WHERE id = $1), '0'::xid8)
		  AND ($2::uuid IS NULL OR task_id = $2)
		  AND tx < pg_snapshot_xmin(pg_current_snapshot())
		ORDER BY tx, id LIMIT $3`, after, task, limit)
	if err != nil {
		return nil, fmt.Errorf("reading events: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Event])
}

// LastEvent returns the id of the last event that Events would return, 0 if
// there is none.
func (s *Store) LastEvent(ctx context.Context) (int64, error) {
	var id int64
	err := s.pool.QueryRow(ctx, `SELECT coalesce((SELECT id FROM events
		WHERE tx < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY tx DESC, id DESC LIMIT 1), 0)`).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("reading the last event: %w", err)
	}
	return id, nil
}

// HasEvent tells whether an event is still kept.
func (s *Store) HasEvent(ctx context.Context, id int64) (bool, error) {
	var found bool
	if err := s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM events WHERE id = $1)`, id).Scan(&found); err != nil {
		return false, fmt.Errorf("looking for an event: %w", err)
	}
	return found, nil
}

// TrimEvents drops events older than age; readers that were away for longer
// start from the present state.
func (s *Store) TrimEvents(ctx context.Context, age time.Duration) error {
	if _, err := s.pool.Exec(ctx, `DELETE FROM events WHERE at < now() - $1::interval`, age); err != nil {
		return fmt.Errorf("trimming events: %w", err)
	}
	return nil
}

// AnnounceWork tells watchers that what workers do has changed.
func (s *Store) AnnounceWork(ctx context.Context) error {
	if _, err := s.pool.Exec(ctx, `SELECT pg_notify($1, '')`, ChannelWork); err != nil {
		return fmt.Errorf("announcing work: %w", err)
	}
	return nil
}

// Listen calls f for every notification on the channels until ctx ends or the
// connection is lost; it holds a connection of its own. From the call of ready
// on none is missed, until Listen returns. Neither must block.
func (s *Store) Listen(ctx context.Context, channels []string, ready func(), f func(channel, payload string)) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	// The connection listens, so it must not go back into the pool.
	own := conn.Hijack()
	defer own.Close(context.WithoutCancel(ctx))
	for _, channel := range channels {
		if _, err := own.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize()); err != nil {
			return fmt.Errorf("listening on %s: %w", channel, err)
		}
	}
	ready()
	for {
		n, err := own.WaitForNotification(ctx)
		if err != nil {
			return fmt.Errorf("waiting for a notification: %w", err)
		}
		f(n.Channel, n.Payload)
	}
}
