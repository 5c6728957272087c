package accuracy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/mockopenai"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Stamps and writes are on two clocks with epochs of their own; errors are
// what is left when both are brought to the machine's.
func TestStampsAreHeldAgainstTheWrites(t *testing.T) {
	const ms = int64(time.Millisecond)
	s := &stamps{base: 1000 * ms, of: map[string][]int64{}}
	s.add(&metrics.Record{Request: "a", Start: 1, End: 100 * ms, Chunks: []metrics.Chunk{{At: 21 * ms}, {At: 33 * ms}}})
	s.add(&metrics.Record{Request: "failed", Err: &metrics.Error{}})
	seen := &mockopenai.Exchange{EpochMonotonic: 900 * ms, Recordings: []mockopenai.Recording{
		{ID: "a", Writes: []int64{120 * ms, 130 * ms}},
		{ID: "unknown", Writes: []int64{1}},
	}}
	got := s.against(seen)
	require.Equal(t, 2, got.Chunks)
	require.InDelta(t, 1, got.TTFT.P50, 1e-9)
	require.InDelta(t, 3, got.Chunk.Max, 1e-9)
	require.InDelta(t, 2, got.ITL.P50, 1e-9)
}

func TestControlMeasuresTheMachine(t *testing.T) {
	c, err := control(20 * time.Millisecond)
	require.NoError(t, err)
	require.LessOrEqual(t, c.P50, c.Max)
}
