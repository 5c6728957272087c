package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// How River is set up: many workers and short pauses between fetches, so that
// throughput is bounded by its own work and the database's.
const (
	riverWorkers   = 2000
	riverCooldown  = 2 * time.Millisecond
	riverPoll      = 20 * time.Millisecond
	riverInsert    = 5000 // jobs in one insert
	riverConns     = 20
	riverLook      = 5 * time.Millisecond
	riverStopBound = 30 * time.Second
)

// A riverResult is how River did.
type riverResult struct {
	Jobs int
	// Inserting and Working are wall times: of the inserts, and from the
	// client's start until every job is recorded as completed.
	Inserting, Working time.Duration
	// CPU is what this process used for both; the database's is not in it.
	CPU time.Duration
}

// perSecond is jobs per second of working, and of inserting and working.
func (r riverResult) perSecond() (working, whole float64) {
	n := float64(r.Jobs)
	return n / r.Working.Seconds(), n / (r.Inserting + r.Working).Seconds()
}

// riverTx is the transaction of River's driver.
type riverTx = pgx.Tx

type noopArgs struct {
	Number int `json:"number"`
}

// Kind implements river.JobArgs.
func (noopArgs) Kind() string { return "noop" }

type noopWorker struct {
	river.WorkerDefaults[noopArgs]
	done *atomic.Int64
}

// Work implements river.Worker.
func (w *noopWorker) Work(context.Context, *river.Job[noopArgs]) error {
	w.done.Add(1)
	return nil
}

// runRiver makes River's tables in the database at url, inserts so many no-op
// jobs and works them off. The database should be empty.
func runRiver(ctx context.Context, url string, jobs int) (riverResult, error) {
	pool, err := riverPool(ctx, url)
	if err != nil {
		return riverResult{}, err
	}
	defer pool.Close()
	var done atomic.Int64
	client, err := riverClient(ctx, pool, &done)
	if err != nil {
		return riverResult{}, err
	}
	result := riverResult{Jobs: jobs}
	cpu := cpuTime()
	if result.Inserting, err = insertJobs(ctx, client, jobs); err != nil {
		return riverResult{}, err
	}
	if result.Working, err = workJobs(ctx, client, pool, &done, jobs); err != nil {
		return riverResult{}, err
	}
	result.CPU = cpuTime() - cpu
	return result, nil
}

func riverPool(ctx context.Context, url string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("reading the database URL: %w", err)
	}
	config.MaxConns = riverConns
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("opening the database for River: %w", err)
	}
	return pool, nil
}

func riverClient(ctx context.Context, pool *pgxpool.Pool, done *atomic.Int64) (*river.Client[riverTx], error) {
	driver := riverpgxv5.New(pool)
	silent := slog.New(slog.NewTextHandler(io.Discard, nil))
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: silent})
	if err != nil {
		return nil, fmt.Errorf("reading River's migrations: %w", err)
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, fmt.Errorf("making River's tables: %w", err)
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &noopWorker{done: done})
	client, err := river.NewClient(driver, &river.Config{
		FetchCooldown:     riverCooldown,
		FetchPollInterval: riverPoll,
		JobTimeout:        -1,
		Logger:            silent,
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: riverWorkers}},
		Workers:           workers,
	})
	if err != nil {
		return nil, fmt.Errorf("setting up River: %w", err)
	}
	return client, nil
}

func insertJobs(ctx context.Context, client *river.Client[riverTx], jobs int) (time.Duration, error) {
	start := time.Now()
	for from := 0; from < jobs; from += riverInsert {
		batch := make([]river.InsertManyParams, min(riverInsert, jobs-from))
		for i := range batch {
			batch[i].Args = noopArgs{Number: from + i}
		}
		if _, err := client.InsertManyFast(ctx, batch); err != nil {
			return 0, fmt.Errorf("inserting jobs: %w", err)
		}
	}
	return time.Since(start), nil
}

// workJobs times the work until the database has every job as completed.
func workJobs(ctx context.Context, client *river.Client[riverTx], pool *pgxpool.Pool, done *atomic.Int64, jobs int) (time.Duration, error) {
	start := time.Now()
	if err := client.Start(ctx); err != nil {
		return 0, fmt.Errorf("starting River: %w", err)
	}
	err := awaitCompleted(ctx, pool, done, jobs)
	took := time.Since(start)
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), riverStopBound)
	defer cancel()
	if stopErr := client.StopAndCancel(stopping); stopErr != nil {
		err = errors.Join(err, fmt.Errorf("stopping River: %w", stopErr))
	}
	return took, err
}

// awaitCompleted looks at the table only once every job has run, so that the
// counting costs River nothing.
func awaitCompleted(ctx context.Context, pool *pgxpool.Pool, done *atomic.Int64, jobs int) error {
	tick := time.NewTicker(riverLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if done.Load() < int64(jobs) {
			continue
		}
		var completed int
		if err := pool.QueryRow(ctx, `SELECT count(*) FROM river_job WHERE state = 'completed'`).Scan(&completed); err != nil {
			return fmt.Errorf("counting River's jobs: %w", err)
		}
		if completed >= jobs {
			return nil
		}
	}
}

// cpuTime is the user and system time of this process so far.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
