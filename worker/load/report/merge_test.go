package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Requests of two machines are in one order, by one clock, with new numbers in
// each phase.
func TestRequestsOfTwoMachinesAreMerged(t *testing.T) {
	line := func(phase string, start, ack int64) json.RawMessage {
		raw, err := json.Marshal(Line{Metadata: Metadata{Phase: phase, SessionNum: 7, Start: start, End: start + 1, Ack: ack}})
		require.NoError(t, err)
		return raw
	}
	var m Merger
	require.NoError(t, m.Add([]json.RawMessage{line("warmup", 10, 0), line("profiling", 30, 31)}, 5*time.Nanosecond))
	require.NoError(t, m.Add([]json.RawMessage{line("profiling", 33, 0), line("profiling", 40, 0)}, 0))
	require.Error(t, m.Add([]json.RawMessage{json.RawMessage("[]")}, 0))
	path := filepath.Join(t.TempDir(), "requests.jsonl")
	r, err := CreateRecorder(path)
	require.NoError(t, err)
	require.NoError(t, m.Write(r))
	require.NoError(t, r.Close())
	f, err := os.Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	lines, err := ReadLines(f)
	require.NoError(t, err)
	var starts, numbers, acks []int64
	for _, l := range lines {
		starts, numbers, acks = append(starts, l.Metadata.Start), append(numbers, l.Metadata.SessionNum), append(acks, l.Metadata.Ack)
	}
	require.Equal(t, []int64{15, 33, 35, 40}, starts)
	require.Equal(t, []int64{0, 0, 1, 2}, numbers)
	require.Equal(t, []int64{0, 0, 36, 0}, acks, "what did not happen has no instant")
}
