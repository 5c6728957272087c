package share

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/metrics"
)

func TestTheFirstRequestsAreKept(t *testing.T) {
	plan := &load.Plan{KeepRequests: 2}
	r := listen(plan)
	plan.OnStart(time.Unix(1000, 0))
	for n := range 3 {
		plan.OnRecord(&metrics.Record{Number: int64(n), Start: 5, End: 9})
	}
	part := &load.Part{}
	_, err := r.encode(part, false)
	require.NoError(t, err)
	require.Len(t, part.Requests, 2)
	require.Equal(t, 1, part.RequestsLeft)
	require.Contains(t, string(part.Requests[0]), "1000000000005")

	none := &load.Plan{}
	require.Nil(t, listen(none).lines)
	require.Nil(t, none.OnRecord, "nobody asked")
}

// A share that was stopped hands its result over without requests that would
// take too long.
func TestManyRequestsOfAStoppedShareStay(t *testing.T) {
	// What does not compress: every line another hash of its own.
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, "%016x", uint64(i+1)*0x9e3779b97f4a7c15)
	}
	raw, err := json.Marshal(b.String())
	require.NoError(t, err)
	for stopped, want := range map[bool]int{false: 2, true: 0} {
		r := &requests{lines: []json.RawMessage{raw, raw}, left: 1, large: 4_000}
		part := &load.Part{}
		data, err := r.encode(part, stopped)
		require.NoError(t, err)
		require.Len(t, part.Requests, want)
		require.Equal(t, 3-want, part.RequestsLeft)
		require.Equal(t, stopped, len(data) < 4_000)
	}
}
