package store_test

import (
	"sync"
	"testing"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestClaimIsGrantedToQueuedExperimentsOfRunningTasksOnly(t *testing.T) {
	g := newGround(t)
	for _, c := range []struct {
		name    string
		arrange func(t store.Task, id uuid.UUID)
		granted bool
	}{
		{"queued", func(store.Task, uuid.UUID) {}, true},
		{"running", func(_ store.Task, id uuid.UUID) { g.claim(id) }, false},
		{"ended", func(_ store.Task, id uuid.UUID) { g.commit(resultOf(g.claim(id), experiment.OutcomeFailed)) }, false},
		{"task paused", func(t store.Task, _ uuid.UUID) { require.NoError(g.t, g.Pause(g.t.Context(), t.ID)) }, false},
		{"task cancelled", func(t store.Task, _ uuid.UUID) { require.NoError(g.t, g.CancelTask(g.t.Context(), t.ID, "")) }, false},
		{"task resumed", func(t store.Task, _ uuid.UUID) {
			require.NoError(g.t, g.Pause(g.t.Context(), t.ID))
			require.NoError(g.t, g.Resume(g.t.Context(), t.ID))
		}, true},
		{"lost", func(_ store.Task, id uuid.UUID) { g.lose(g.claim(id)) }, true},
		{"handed back", func(_ store.Task, id uuid.UUID) { g.commit(handedBack(g.claim(id))) }, true},
	} {
		row := g.create(spec(c.name, 1))
		id := g.queue(row, 1)[0]
		c.arrange(row, id)
		claim := claimOf(id)
		granted, err := g.Claim(t.Context(), []store.Claim{claim})
		require.NoError(t, err)
		require.Equal(t, c.granted, len(granted) == 1, c.name)
	}
	g.refuses(uuid.New())
}

func TestClaimAskedAgainGivesTheSameGrant(t *testing.T) {
	g := newGround(t)
	id := g.queue(g.create(spec("t", 1)), 1)[0]
	c := claimOf(id)
	first, err := g.Claim(t.Context(), []store.Claim{c, c})
	require.NoError(t, err)
	again, err := g.Claim(t.Context(), []store.Claim{c})
	require.NoError(t, err)
	require.Equal(t, first[c.ID].Epoch, again[c.ID].Epoch)
	require.Equal(t, int64(1), g.get(id).Epoch)
	g.lose(first[c.ID])
	// The grant was taken back meanwhile: asking is claiming anew.
	later, err := g.Claim(t.Context(), []store.Claim{c})
	require.NoError(t, err)
	require.Equal(t, int64(2), later[c.ID].Epoch)
}

func TestEveryClaimRaisesTheEpoch(t *testing.T) {
	g := newGround(t)
	id := g.queue(g.create(spec("t", 1)), 1)[0]
	for epoch := int64(1); epoch <= 5; epoch++ {
		granted := g.claim(id)
		require.Equal(t, epoch, granted.Epoch)
		require.Equal(t, 1, granted.Attempt, "what is handed back does not count")
		require.Equal(t, []string{"gpu-0", `a "quoted\one"`}, g.get(id).Devices)
		require.Equal(t, 1, g.commit(handedBack(granted)))
	}
}

func TestFirstGrantStartsTheTasksClock(t *testing.T) {
	g := newGround(t)
	row := g.create(spec("t", 1))
	ids := g.queue(row, 2)
	require.Nil(t, row.DeadlineAt)
	first := g.claim(ids[0])
	started, err := g.Task(t.Context(), "t")
	require.NoError(t, err)
	require.NotNil(t, started.StartedAt)
	require.Equal(t, row.Spec.Optimization.Timeout.D(), started.DeadlineAt.Sub(*started.StartedAt))
	require.Equal(t, *started.DeadlineAt, *first.Deadline)
	require.Equal(t, row.Spec.Optimization.Timeout.D(), *first.Left, "to the last microsecond")
	require.Equal(t, *started.DeadlineAt, *g.claim(ids[1]).Deadline, "the second grant moves nothing")
}

// Many claimers at once, batches in every order: each experiment has exactly
// one winner and nobody waits in a circle.
func TestConcurrentClaimersHaveOneWinner(t *testing.T) {
	g := newGround(t)
	ids := g.queue(g.create(spec("t", 1)), 40)
	const claimers = 8
	wins := make([]map[uuid.UUID]store.Granted, claimers)
	errs := make([]error, claimers)
	var group sync.WaitGroup
	start := make(chan struct{})
	for i := range claimers {
		group.Go(func() {
			claims := make([]store.Claim, 0, len(ids))
			for n := range ids {
				at := (n + 5*i) % len(ids)
				if i%2 == 1 {
					at = len(ids) - 1 - at
				}
				claims = append(claims, claimOf(ids[at]))
			}
			<-start
			wins[i], errs[i] = g.Claim(t.Context(), claims)
		})
	}
	close(start)
	group.Wait()
	winners := map[uuid.UUID]int{}
	for i := range claimers {
		require.NoError(t, errs[i])
		for _, granted := range wins[i] {
			winners[granted.Experiment]++
		}
	}
	require.Len(t, winners, len(ids))
	for id, n := range winners {
		require.Equal(t, 1, n)
		require.Equal(t, int64(1), g.get(id).Epoch)
	}
}
