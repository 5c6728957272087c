package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func (g *ground) kinds(after int64) (kinds []string, last int64) {
	g.t.Helper()
	list, err := g.Events(g.t.Context(), nil, after, 100)
	require.NoError(g.t, err)
	last = after
	for _, e := range list {
		kinds, last = append(kinds, e.Kind), e.ID
	}
	return kinds, last
}

// shown waits until n events can be read: any transaction of the server, those of
// tests beside this one included, holds back what is younger.
func (g *ground) shown(n int, task *uuid.UUID) (list []store.Event) {
	g.t.Helper()
	require.Eventually(g.t, func() bool {
		var err error
		list, err = g.Events(g.t.Context(), task, 0, 100)
		require.NoError(g.t, err)
		return len(list) >= n
	}, time.Minute, 10*time.Millisecond)
	require.Len(g.t, list, n)
	return list
}

func note(ctx context.Context, tx pgx.Tx, kind string) error {
	_, err := tx.Exec(ctx, `INSERT INTO events (kind, payload) VALUES ($1, '{}')`, kind)
	return err
}

// A transaction takes its event's id early and commits late. A reader that
// went past it meanwhile would never see it.
func TestEventsAreNeverSkipped(t *testing.T) {
	g := newGround(t)
	slow, err := g.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = slow.Rollback(context.Background()) }() // committed below unless the test fails
	require.NoError(t, note(t.Context(), slow, "slow"))
	require.NoError(t, pgx.BeginFunc(t.Context(), g.pool, func(tx pgx.Tx) error { return note(t.Context(), tx, "quick") }))

	kinds, last := g.kinds(0)
	require.Empty(t, kinds, "the reader waits for the transaction that is open")
	newest, err := g.LastEvent(t.Context())
	require.NoError(t, err)
	require.Zero(t, newest)
	require.NoError(t, slow.Commit(t.Context()))
	g.shown(2, nil)
	kinds, last = g.kinds(last)
	require.Equal(t, []string{"slow", "quick"}, kinds)
	newest, err = g.LastEvent(t.Context())
	require.NoError(t, err)
	require.Equal(t, last, newest)
}

// Transactions in order of their beginning, ids against it: reading on from
// any event shows exactly what follows it.
func TestEventsAreReadOnInTheOrderOfTransactions(t *testing.T) {
	g := newGround(t)
	early, err := g.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = early.Rollback(context.Background()) }()
	_, err = early.Exec(t.Context(), `SELECT pg_current_xact_id()`)
	require.NoError(t, err)
	require.NoError(t, pgx.BeginFunc(t.Context(), g.pool, func(tx pgx.Tx) error { return note(t.Context(), tx, "second") }))
	require.NoError(t, note(t.Context(), early, "first")) // of the older transaction, with the higher id
	require.NoError(t, early.Commit(t.Context()))
	require.NoError(t, pgx.BeginFunc(t.Context(), g.pool, func(tx pgx.Tx) error { return note(t.Context(), tx, "third") }))

	all := g.shown(3, nil)
	require.Greater(t, all[0].ID, all[1].ID)
	for i, want := range []string{"first", "second", "third"} {
		require.Equal(t, want, all[i].Kind)
		kinds, _ := g.kinds(all[i].ID)
		require.Len(t, kinds, 2-i, "behind %s", want)
	}
	one, err := g.Events(t.Context(), nil, 0, 1)
	require.NoError(t, err)
	require.Equal(t, all[:1], one)
}

func TestEventsOfOneTask(t *testing.T) {
	g := newGround(t)
	a, b := g.create(spec("a", 1)), g.create(spec("b", 1))
	require.NoError(t, g.AnnounceProgress(t.Context(), map[uuid.UUID][]int{a.ID: {1, 2}, b.ID: {3}}))
	list := g.shown(2, &a.ID)
	require.Equal(t, "task", list[0].Kind)
	require.JSONEq(t, `{"state": "running", "name": "a"}`, string(list[0].Payload))
	require.Equal(t, "experiments", list[1].Kind)
	require.JSONEq(t, `{"numbers": [1, 2]}`, string(list[1].Payload))

	g.exec(`UPDATE events SET at = now() - interval '2 days' WHERE kind = 'task'`)
	require.NoError(t, g.TrimEvents(t.Context(), 24*time.Hour))
	kinds, _ := g.kinds(0)
	require.Equal(t, []string{"experiments", "experiments"}, kinds)
	found, err := g.HasEvent(t.Context(), list[0].ID)
	require.NoError(t, err)
	require.False(t, found)
	kinds, _ = g.kinds(list[0].ID)
	require.Len(t, kinds, 2, "reading on from an event that is gone")
}

func TestListenersHearOfCommits(t *testing.T) {
	g := newGround(t)
	ctx, cancel := context.WithCancel(t.Context())
	heard := make(chan string, 16)
	listening := make(chan error, 1)
	go func() {
		listening <- g.Listen(ctx, []string{store.ChannelTasks}, func() {}, func(_, payload string) { heard <- payload })
	}()
	g.awaitListener()
	row := g.create(spec("t", 1))
	require.Equal(t, row.ID.String(), <-heard)
	cancel()
	require.ErrorIs(t, <-listening, context.Canceled)
}

// What workers do is announced when it changes, and only then.
func TestListenersHearOfWork(t *testing.T) {
	g := newGround(t)
	worker := store.Worker{Name: "w1", State: store.WorkerOnline, LastBeatAt: time.Now()}
	require.NoError(t, g.SaveWorkers(t.Context(), []store.Worker{worker}))
	ctx, cancel := context.WithCancel(t.Context())
	heard, ready := make(chan string, 16), make(chan struct{})
	listening := make(chan error, 1)
	go func() {
		listening <- g.Listen(ctx, []string{store.ChannelTasks, store.ChannelWork}, func() { close(ready) },
			func(channel, _ string) { heard <- channel })
	}()
	<-ready
	save := func() { require.NoError(t, g.SaveWorkers(t.Context(), []store.Worker{worker})) }
	mark := func() { require.NoError(t, g.SetDrain(t.Context(), "w1", false)) }
	held := wire.Held{Experiment: uuid.Max, Epoch: 1, Phase: "load"}
	worker.LastBeatAt = worker.LastBeatAt.Add(time.Second)
	save() // another beat, that tells nothing new
	mark()
	worker.Held = []wire.Held{held}
	save()
	mark()
	save()
	mark()
	held.Detail = "half of it"
	worker.Held = []wire.Held{held}
	save()
	worker.State = store.WorkerLost
	save()
	for i, want := range []string{store.ChannelTasks, store.ChannelWork, store.ChannelTasks, store.ChannelTasks, store.ChannelWork, store.ChannelWork} {
		require.Equal(t, want, <-heard, i)
	}
	cancel()
	require.ErrorIs(t, <-listening, context.Canceled)
}

// awaitListener waits until a connection of this database listens.
func (g *ground) awaitListener() {
	g.t.Helper()
	require.Eventually(g.t, func() bool {
		var n int
		err := g.pool.QueryRow(g.t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND query LIKE 'LISTEN%' AND state = 'idle'`).Scan(&n)
		return err == nil && n > 0
	}, 30*time.Second, 5*time.Millisecond)
}
