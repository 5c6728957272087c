package store_test

import (
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestLostExperimentIsQueuedAgainUntilItIsWorn(t *testing.T) {
	g := newGround(t)
	id := g.queue(g.create(spec("t", 1)), 1)[0]
	for range 2 {
		require.Equal(t, "queued", g.lose(g.claim(id))[0].State)
	}
	last := g.claim(id)
	require.Equal(t, "failed", g.lose(last)[0].State)
	g.stands(id, experiment.Failed, experiment.OutcomeLost)
	e := g.get(id)
	require.Equal(t, "lease", e.Failure.Phase)
	require.Equal(t, "silent", e.Failure.Message)
	require.Contains(t, e.Failure.Hint, "3 times")
	require.Equal(t, []string{"1 lost", "2 lost", "3 lost"}, g.attempts(id))
	require.Zero(t, g.commit(resultOf(last, experiment.OutcomeSuccess)), "it has ended")
}

func TestOnlyTheHolderOfTheLeaseLosesIt(t *testing.T) {
	g := newGround(t)
	ids := g.queue(g.create(spec("t", 1)), 3)
	old := g.claim(ids[0])
	g.lose(old)
	require.Empty(t, g.lose(old), "it is queued already")
	g.claim(ids[0])
	require.Empty(t, g.lose(old), "another holds it")
	g.stands(ids[0], experiment.Running, "")
	done := g.claim(ids[1])
	g.commit(resultOf(done, experiment.OutcomeSuccess))
	require.Empty(t, g.lose(done), "it has ended")
	g.stands(ids[1], experiment.Success, experiment.OutcomeSuccess)
	require.Equal(t, []string{"1 success accepted"}, g.attempts(ids[1]))
}

func TestDeposedLeaderChangesNothing(t *testing.T) {
	g := newGround(t)
	row := g.create(spec("t", 1))
	id := g.queue(row, 1)[0]
	granted := g.claim(id)
	newcomer := g.depose()
	require.Greater(t, newcomer, g.term)
	require.Empty(t, g.lose(granted))
	g.stands(id, experiment.Running, "")
	require.Empty(t, g.attempts(id))
	one := []store.NewExperiment{{ID: uuid.New(), Number: 2, Purpose: experiment.Search}}
	require.ErrorIs(t, g.InsertExperiments(t.Context(), g.term, row.ID, one), store.ErrNotLeader)

	g.term = newcomer
	require.NoError(t, g.InsertExperiments(t.Context(), g.term, row.ID, one))
	require.Len(t, g.lose(granted), 1)
}

func TestExpiredLeaderChangesNothing(t *testing.T) {
	g := newGround(t)
	id := g.queue(g.create(spec("t", 1)), 1)[0]
	granted := g.claim(id)
	require.NoError(t, g.ReleaseLeader(t.Context(), g.leader))
	require.Empty(t, g.lose(granted), "nobody leads")
	g.stands(id, experiment.Running, "")
}

func TestLeaderLease(t *testing.T) {
	g := newGround(t)
	require.NoError(t, g.ReleaseLeader(t.Context(), g.leader))
	one, two := uuid.New(), uuid.New()
	first, err := g.AcquireLeader(t.Context(), one, "http://one", time.Hour)
	require.NoError(t, err)
	require.Equal(t, g.term+1, first.Term)
	require.Equal(t, "http://one", first.URL)

	_, err = g.AcquireLeader(t.Context(), two, "http://two", time.Hour)
	require.ErrorIs(t, err, store.ErrNotLeader)
	renewed, err := g.AcquireLeader(t.Context(), one, "http://one", time.Hour)
	require.NoError(t, err)
	require.Equal(t, first.Term, renewed.Term, "renewing keeps the term")

	require.NoError(t, g.ReleaseLeader(t.Context(), two), "only the holder releases")
	_, err = g.AcquireLeader(t.Context(), two, "http://two", time.Hour)
	require.ErrorIs(t, err, store.ErrNotLeader)

	_, err = g.AcquireLeader(t.Context(), one, "http://one", -time.Second) // runs out at once
	require.NoError(t, err)
	second, err := g.AcquireLeader(t.Context(), two, "http://two", -time.Second)
	require.NoError(t, err)
	require.Equal(t, first.Term+1, second.Term)
	back, err := g.AcquireLeader(t.Context(), two, "http://two", time.Hour)
	require.NoError(t, err)
	require.Equal(t, second.Term+1, back.Term, "who let it run out leads anew: others may have led between")
}
