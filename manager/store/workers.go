package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// WorkerState is where a worker stands.
type WorkerState string

// The worker states.
const (
	WorkerOnline   WorkerState = "online"
	WorkerDraining WorkerState = "draining"
	WorkerLost     WorkerState = "lost" // silent for longer than a lease
	WorkerLeft     WorkerState = "left" // said goodbye
)

// A Worker is a row of workers.
type Worker struct {
	Name       string
	Session    uuid.UUID
	Node       node.Advertisement
	State      WorkerState
	Trouble    string
	Held       []wire.Held
	Drain      bool
	FirstSeen  time.Time
	LastBeatAt time.Time
}

// Workers returns every worker ever seen, by name.
func (s *Store) Workers(ctx context.Context) ([]Worker, error) {
	rows, err := s.pool.Query(ctx, `SELECT name, session, node, state, trouble, held, drain, first_seen, last_beat_at
		FROM workers ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("listing workers: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Worker])
}

// SaveWorkers writes what beats have told, many workers in one statement, and
// announces it where what they do has changed. The
// drain wish is the operator's and is left alone, but for a new session, which
// starts without one.
func (s *Store) SaveWorkers(ctx context.Context, workers []Worker) error {
	type row struct {
		Name       string             `json:"name"`
		Session    uuid.UUID          `json:"session"`
		Node       node.Advertisement `json:"node"`
		State      WorkerState        `json:"state"`
		Trouble    string             `json:"trouble"`
		Held       []wire.Held        `json:"held"`
		LastBeatAt time.Time          `json:"last_beat_at"`
	}
	list := make([]row, len(workers))
	for i, w := range workers {
		list[i] = row{w.Name, w.Session, w.Node, w.State, w.Trouble, w.Held, w.LastBeatAt}
		if list[i].Held == nil {
			list[i].Held = []wire.Held{}
		}
	}
	data, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("encoding workers: %w", err)
	}
	// What was held before is what the statement began with.
	_, err = s.pool.Exec(ctx, `WITH saved AS (INSERT INTO workers AS w (name, session, node, state, trouble, held, last_beat_at)
		SELECT name, session, node, state, trouble, held, last_beat_at
		FROM jsonb_to_recordset($1) AS r (name text, session uuid, node jsonb, state text, trouble text, held jsonb, last_beat_at timestamptz)
		ON CONFLICT (name) DO UPDATE SET session = excluded.session, node = excluded.node, state = excluded.state,
			trouble = excluded.trouble, held = excluded.held, last_beat_at = excluded.last_beat_at,
			drain = w.drain AND w.session = excluded.session
		RETURNING w.name, w.held, w.state), changed AS (
		SELECT 1 FROM saved s LEFT JOIN workers w ON w.name = s.name
		WHERE (w.held, w.state) IS DISTINCT FROM (s.held, s.state) LIMIT 1)
		SELECT pg_notify($2, '') FROM changed`, data, ChannelWork)
	if err != nil {
		return fmt.Errorf("saving workers: %w", err)
	}
	return nil
}

// SetDrain asks a worker to finish what it runs and leave, or takes the wish back.
func (s *Store) SetDrain(ctx context.Context, worker string, drain bool) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE workers SET drain = $2 WHERE name = $1`, worker, drain)
		if err != nil {
			return fmt.Errorf("draining a worker: %w", err)
		}
		if tag.RowsAffected() == 0 {
			return fmt.Errorf("worker %q: %w", worker, ErrNotFound)
		}
		_, err = tx.Exec(ctx, `SELECT pg_notify($1, '')`, ChannelTasks)
		return err
	})
}

// A Leadership is the right to dispatch, under a term that fences it.
type Leadership struct {
	Term int64
	URL  string
}

// AcquireLeader takes the leader lease for ttl if it is free or expired, or
// renews it when holder has it. ErrNotLeader says that another manager leads.
func (s *Store) AcquireLeader(ctx context.Context, holder uuid.UUID, url string, ttl time.Duration) (Leadership, error) {
	var l Leadership
	err := s.pool.QueryRow(ctx, `INSERT INTO leader AS l (holder, url, term, expires_at) VALUES ($1, $2, 1, now() + $3::interval)
		ON CONFLICT (id) DO UPDATE SET
			term = CASE WHEN l.holder = $1 AND l.expires_at > now() THEN l.term ELSE l.term + 1 END,
			holder = $1, url = $2, expires_at = now() + $3::interval
		WHERE l.holder = $1 OR l.expires_at <= now()
		RETURNING term, url`, holder, url, ttl).Scan(&l.Term, &l.URL)
	if errors.Is(err, pgx.ErrNoRows) {
		return Leadership{}, ErrNotLeader
	}
	if err != nil {
		return Leadership{}, fmt.Errorf("taking the leader lease: %w", err)
	}
	return l, nil
}

// ReleaseLeader gives the lease up so that another manager need not wait.
func (s *Store) ReleaseLeader(ctx context.Context, holder uuid.UUID) error {
	if _, err := s.pool.Exec(ctx, `UPDATE leader SET expires_at = now() WHERE holder = $1`, holder); err != nil {
		return fmt.Errorf("releasing the leader lease: %w", err)
	}
	return nil
}

// Bundle returns length bytes of a bundle from offset on, and its whole size.
func (s *Store) Bundle(ctx context.Context, digest string, offset int64, length int) (data []byte, size int64, err error) {
	err = s.pool.QueryRow(ctx, `SELECT substring(data FROM $2 + 1 FOR $3), length(data) FROM bundles WHERE digest = $1`,
		digest, int(offset), length).Scan(&data, &size)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, 0, fmt.Errorf("bundle %s: %w", digest, ErrNotFound)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("reading a bundle: %w", err)
	}
	return data, size, nil
}
