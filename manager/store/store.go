// Package store keeps the truth: tasks, experiments, attempts, workers and the
// leader lease, in PostgreSQL. Every change of a claimed experiment names its
// epoch, so a holder that lost its lease changes nothing; every batch is one
// statement, so that claims and results cost a commit together, not each.
package store

import (
	"context"
	"embed"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// Errors that callers act upon.
var (
	ErrNotFound = errors.New("not found")
	// ErrNeverStarts refuses a dependency on a task that cannot complete any more.
	ErrNeverStarts = errors.New("a task that depends on it would never start")
	ErrTaskExists  = errors.New("a task of this name exists")
	ErrState       = errors.New("not possible in this state")
	ErrNotLeader   = errors.New("the leader lease is held by another manager")
	// ErrUnreachable says that the database does not answer (yet).
	ErrUnreachable = errors.New("the database cannot be reached")
)

//go:embed migrations/*.sql
var migrations embed.FS

// Channels on which commits are announced. A notification may be lost;
// listeners also look from time to time.
const (
	// ChannelTasks carries the id of a task that changed by the API's hand.
	ChannelTasks = "fleetune_tasks"
	// ChannelEvents says that there are new events.
	ChannelEvents = "fleetune_events"
	// ChannelWork says that what workers do has changed: claims, and what beats
	// tell. It makes no events, for it is of the moment.
	ChannelWork = "fleetune_work"
)

// A Store is a pool of connections to the database.
type Store struct {
	pool *pgxpool.Pool
}

// Open connects to the database and checks that it answers.
func Open(ctx context.Context, url string) (*Store, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("reading the database URL: %w", err)
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return New(pool), nil
}

// New wraps a pool that is already open.
func New(pool *pgxpool.Pool) *Store { return &Store{pool: pool} }

// Close waits for the connections in use and closes all.
func (s *Store) Close() { s.pool.Close() }

// Ping checks that the database answers.
func (s *Store) Ping(ctx context.Context) error { return s.pool.Ping(ctx) }

// Migrate brings the schema up to date. Concurrent managers wait for each other.
func (s *Store) Migrate(ctx context.Context) error {
	provider, err := s.provider()
	if err != nil {
		return err
	}
	defer provider.Close()
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrating the database: %w", err)
	}
	return nil
}

// MigrateDown takes back every migration above a version, and with it what they
// made room for; 0 loses all data.
func (s *Store) MigrateDown(ctx context.Context, version int64) error {
	provider, err := s.provider()
	if err != nil {
		return err
	}
	defer provider.Close()
	if _, err := provider.DownTo(ctx, version); err != nil {
		return fmt.Errorf("migrating the database down: %w", err)
	}
	return nil
}

// uuids writes ids in the driver's own type: through uuid.UUID's interfaces
// an array of them costs ten times as much.
func uuids(ids []uuid.UUID) []pgtype.UUID {
	list := make([]pgtype.UUID, len(ids))
	for i, id := range ids {
		list[i] = pgtype.UUID{Bytes: id, Valid: true}
	}
	return list
}

// inTx runs f in a transaction.
func (s *Store) inTx(ctx context.Context, f func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, s.pool, f)
}

func (s *Store) provider() (*goose.Provider, error) {
	locker, err := newLocker()
	if err != nil {
		return nil, err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, stdlib.OpenDBFromPool(s.pool), migrationFiles(), goose.WithSessionLocker(locker))
	if err != nil {
		return nil, fmt.Errorf("reading the migrations: %w", err)
	}
	return provider, nil
}
