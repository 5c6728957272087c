package load

import (
	"bytes"
	"context"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetune/fleetune/worker/load/agentic"
	"github.com/fleetune/fleetune/worker/load/drive"
	"github.com/fleetune/fleetune/worker/load/endpoint"
	"github.com/fleetune/fleetune/worker/load/input"
	"github.com/fleetune/fleetune/worker/load/metrics"
	"github.com/fleetune/fleetune/worker/load/mockopenai"
	"github.com/fleetune/fleetune/worker/load/transport"
)

// Two runs that start together are one load: their parts travel as bytes, from
// clocks that differ, and sum up to what the server saw.
func TestPartsOfALoadMerge(t *testing.T) {
	server := serve(t, mockopenai.Behaviour{TTFT: 2 * time.Millisecond})
	start := time.Now().Add(300 * time.Millisecond)
	var wait sync.WaitGroup
	parts := make([]*Part, 2)
	for i := range parts {
		scenario, err := input.ParseScenario("D(20,5)")
		require.NoError(t, err)
		shape := drive.Shape{Kind: drive.Closed, Concurrency: 2}
		plan := Plan{
			Target: transport.Config{URLs: []string{server.URL}, Options: endpoint.Options{Kind: endpoint.Chat, Stream: true}},
			Models: []string{"m"}, Source: input.Synthetic{Scenario: scenario, Seed: int64(i)}.NewSource(), Slice: time.Second,
			Warmup:  &drive.Phase{Shape: shape, Requests: 3, Grace: -1},
			Profile: drive.Phase{Shape: shape, Requests: 10 + i, Grace: -1},
			Ready:   func(context.Context) (time.Time, error) { return start, nil },
		}
		wait.Go(func() {
			res, err := Run(context.Background(), plan)
			if err != nil {
				t.Error(err)
				return
			}
			// The second machine's clock is an hour behind the one they share.
			p := res.Part(time.Duration(i) * time.Hour)
			p.Start, p.End = p.Start.Add(-time.Duration(i)*time.Hour), p.End.Add(-time.Duration(i)*time.Hour)
			data, err := p.Encode()
			if err == nil {
				parts[i], err = DecodePart(data)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	res, err := Merge(parts, nil, time.Second)
	require.NoError(t, err)
	require.EqualValues(t, 21, res.Summary.Value(metrics.TagRequestCount))
	require.EqualValues(t, 6, res.Warmup.Value(metrics.TagRequestCount))
	require.EqualValues(t, 21, res.Drive.Issued)
	require.NotEmpty(t, res.Summary.Slices)
	require.EqualValues(t, 0, res.Summary.Slices[0].Index, "slices count from the common start")
	require.False(t, res.Start.After(start))
	ttft, ok := res.Summary.Get(metrics.TagTTFT)
	require.True(t, ok)
	require.Equal(t, 21, ttft.Stats.Count)
	require.GreaterOrEqual(t, ttft.Stats.Min, 2.0)
}

// A shift on the shared clock moves instants and nothing else.
func TestPartsAreMovedOntoOneClock(t *testing.T) {
	part := func(start time.Time, at int64) *Part {
		c := metrics.NewCollector(metrics.Options{})
		c.Add(&metrics.Record{Issued: at, Start: at, End: at + 1e9, Chunks: []metrics.Chunk{{At: at + 5e8}}, HTTP: metrics.NoHTTP(), Usage: metrics.NoUsage()})
		return &Part{Start: start, End: start.Add(time.Minute), Profile: c.Snapshot()}
	}
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	res, err := Merge([]*Part{part(begin.Add(10*time.Second), 1e9), part(begin, 11e9)}, nil, 0)
	require.NoError(t, err)
	c, ok := res.Summary.Get("effective_concurrency")
	require.True(t, ok)
	require.EqualValues(t, 2, c.Stats.Max, "both ran at once on the shared clock")
	require.InDelta(t, 0.5, res.Summary.Value(metrics.TagDuration), 1e-9)
}

// Sums have no field that Add forgets.
func TestReportsAddUp(t *testing.T) {
	full := func(v any) {
		of := reflect.ValueOf(v).Elem()
		for i := range of.NumField() {
			if of.Field(i).CanInt() {
				of.Field(i).SetInt(1)
			} else {
				of.Field(i).SetBool(true)
			}
		}
	}
	var a, b agentic.Counters
	full(&b)
	a.Add(&b)
	require.Equal(t, b, a)
	var c, d drive.Report
	full(&d)
	c.Add(&d)
	require.Equal(t, d, c)
}

func FuzzPart(f *testing.F) {
	p := Part{Tokens: "t"}
	data, err := p.Encode()
	require.NoError(f, err)
	f.Add(data)
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := DecodePart(data)
		if err != nil {
			require.ErrorIs(t, err, ErrPart)
			return
		}
		again, err := p.Encode()
		require.NoError(t, err)
		require.False(t, bytes.Equal(again, nil))
		_, _ = Merge([]*Part{p}, nil, 0) // refused or not, it ends
	})
}
