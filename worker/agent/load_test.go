package agent

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// Whoever has a share of a load leaves the next one to others: it gives its
// devices back and stays away until the offer is there again and every other
// worker has looked.
func TestSecondShareIsLeftToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent(t, t.TempDir())
		defer func() { require.NoError(t, a.spool.Close()) }()
		a.Kinds = map[string]Kind{task.KindLoad: Load{}}
		o := wire.Offer{Experiment: uuid.New(), Task: uuid.New(), Queue: "loads", Kind: task.KindLoad}
		require.False(t, a.shares(o), "the first share is its own")
		message, err := json.Marshal(o)
		require.NoError(t, err)
		need := node.Requirements{Devices: 1}
		places := a.places(wire.Queue{Name: "loads", Requirements: need})
		require.Len(t, places, 1)
		require.False(t, a.rests("loads"))

		a.claim(t.Context(), []*nats.Msg{{Data: message}}, places)
		require.Len(t, a.Semaphore.TryAcquire(need, 1), 1, "the device is free again")
		require.True(t, a.rests("loads"))
		require.False(t, a.rests("others"))
		<-time.After(shareDelay + lookEvery)
		require.True(t, a.rests("loads"), "somebody may not have looked yet")
		<-time.After(lookEvery)
		require.False(t, a.rests("loads"))
	})
}
