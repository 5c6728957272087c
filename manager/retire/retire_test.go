package retire_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/api/apitest"
	"github.com/fleetune/fleetune/manager/postgres/pgtest"
	"github.com/fleetune/fleetune/manager/retire"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { pgtest.Main(m, goleak.IgnoreCurrent()) }

func retirer(s *apitest.Stand) retire.Retirer {
	return retire.Retirer{Store: s.Store, JetStream: s.Bus.JetStream(), Log: zerolog.Nop()}
}

func say(t *testing.T, s *apitest.Stand, id uuid.UUID) {
	t.Helper()
	message, err := json.Marshal(wire.LogChunk{Attempt: 1, Stream: "run stdout", Data: "x\n"})
	require.NoError(t, err)
	_, err = s.Bus.JetStream().Publish(t.Context(), wire.LogSubject("node-a", id), message)
	require.NoError(t, err)
}

// What a task's programs wrote goes with it, and nobody else's.
func TestOutputGoesWithTheTask(t *testing.T) {
	s := apitest.Start(t)
	gone, kept := s.Complete(t, "gone"), s.Complete(t, "kept")
	for _, row := range []store.Task{gone, kept} {
		ids, err := s.Store.ExperimentIDs(t.Context(), row.ID)
		require.NoError(t, err)
		for _, id := range ids {
			say(t, s, id)
			say(t, s, id)
		}
	}
	d, err := retirer(s).Delete(t.Context(), gone.ID, "by the test")
	require.NoError(t, err)
	require.Equal(t, 3, d.Experiments)
	stream, err := s.Bus.JetStream().Stream(t.Context(), wire.StreamLogs)
	require.NoError(t, err)
	info, err := stream.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(6), info.State.Msgs)
	_, err = retirer(s).Delete(t.Context(), gone.ID, "by the test")
	require.ErrorIs(t, err, store.ErrNotFound)

	// A bus that was wiped keeps no task.
	require.NoError(t, s.Bus.JetStream().DeleteStream(t.Context(), wire.StreamLogs))
	_, err = retirer(s).Delete(t.Context(), kept.ID, "by the test")
	require.NoError(t, err)
}

// A task that is in the way of nobody goes when it is old enough; those that
// cannot go yet keep no other.
func TestOldTasksGo(t *testing.T) {
	s := apitest.Start(t)
	_, list := s.Running(t, "held")
	held, err := s.Store.Task(t.Context(), "held")
	require.NoError(t, err)
	require.NoError(t, s.Store.CancelTask(t.Context(), held.ID, ""))
	s.Date(t, held) // longer ago than the others, and still in a worker's hands
	s.Workers(t, list[3].ID)
	s.Complete(t, "old")
	s.Create(t, "live")
	young := s.Create(t, "young")
	require.NoError(t, s.Store.CancelTask(t.Context(), young.ID, ""))
	require.ErrorIs(t, retirer(s).Once(t.Context(), time.Hour), store.ErrStopping)
	for name, there := range map[string]bool{"held": true, "old": false, "live": true, "young": true} {
		_, err := s.Store.Task(t.Context(), name)
		require.Equal(t, there, err == nil, name)
	}
	left, err := s.Store.Deleted(t.Context(), "old")
	require.NoError(t, err)
	require.Equal(t, "tasks are kept for 1h0m0s", left.Cause)
}
