package dispatch_test

import (
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/store"
	"github.com/stretchr/testify/require"
)

func TestSpeedProbe(t *testing.T) {
	s := newStand(t, 30*time.Second)
	s.worker("w1", 128)
	began := time.Now()
	s.submit(noop("circle", 10000))
	row := s.await("circle")
	t.Logf("%.0f/s", 10000/time.Since(began).Seconds())
	require.Equal(t, store.TaskCompleted, row.State, row.Cause)
}
