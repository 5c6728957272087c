package metrics

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Requests that several processes measured sum up to what one would have.
func TestSharesMergeToTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		opt := Options{SLOs: []SLO{{TagTTFT, 60}}, Slice: 100 * msec, Zero: 50 * msec}
		whole, merged := NewCollector(opt), NewCollector(opt)
		for range rapid.IntRange(1, 3).Draw(t, "shares") {
			shift := rapid.Int64Range(0, 500*msec).Draw(t, "shift")
			own := opt
			own.Zero -= shift
			share := NewCollector(own)
			for range rapid.IntRange(0, 20).Draw(t, "requests") {
				r := record()
				move(r, rapid.Int64Range(600, 1500).Draw(t, "at")*msec)
				switch rapid.IntRange(0, 5).Draw(t, "end") {
				case 0:
					r.Err = &Error{Class: ErrServer, Code: 500, Message: "broken"}
				case 1:
					r.Err = &Error{Class: ErrStopped}
				}
				whole.Add(r)
				move(r, -shift)
				share.Add(r)
			}
			data, err := json.Marshal(share.Snapshot())
			require.NoError(t, err)
			var got Snapshot
			require.NoError(t, json.Unmarshal(data, &got))
			require.NoError(t, merged.Merge(&got, shift))
		}
		equal(t, whole.Summary(), merged.Summary())
	})
}

// move puts a record elsewhere in time.
func move(r *Record, by int64) {
	r.Scheduled, r.Issued, r.Start, r.End = r.Scheduled+by, r.Issued+by, r.Start+by, r.End+by
	chunks := append([]Chunk{}, r.Chunks...)
	for i := range chunks {
		chunks[i].At += by
	}
	r.Chunks = chunks
}

// equal compares summaries; sums may differ by rounding.
func equal(t *rapid.T, want, got *Summary) {
	same := func(want, got []Metric) {
		require.Len(t, got, len(want))
		for i, w := range want {
			g := got[i]
			require.Equal(t, w.Tag, g.Tag)
			require.Equal(t, w.Stats.Count, g.Stats.Count, w.Tag)
			for _, x := range [][2]float64{{w.Stats.Avg, g.Stats.Avg}, {w.Stats.Std, g.Stats.Std}, {w.Stats.P50, g.Stats.P50},
				{w.Stats.P99, g.Stats.P99}, {w.Stats.Min, g.Stats.Min}, {w.Stats.Max, g.Stats.Max}} {
				require.InDelta(t, x[0], x[1], 1e-6*(1+abs(x[0])), w.Tag)
			}
		}
	}
	same(want.Metrics, got.Metrics)
	require.Equal(t, want.Errors, got.Errors)
	require.Len(t, got.Slices, len(want.Slices))
	for i, w := range want.Slices {
		require.Equal(t, w.Index, got.Slices[i].Index)
		require.Equal(t, w.Start, got.Slices[i].Start)
		same(w.Metrics, got.Slices[i].Metrics)
	}
}

func abs(x float64) float64 {
	if x < 0 {
		return -x
	}
	return x
}

// A distribution too large to travel sample by sample keeps its percentiles
// within the error that is stated, and its other figures as they are.
func TestLargeDistributionsTravelAsSketches(t *testing.T) {
	var d Distribution
	for i := range SnapshotExact + 1000 {
		d.Add(float64(i%5000) + 0.5)
	}
	s := d.snapshot()
	require.Empty(t, s.Exact)
	var got Distribution
	require.NoError(t, got.read(&s))
	require.False(t, got.Exact())
	for _, p := range []float64{1, 50, 90, 99} {
		require.InEpsilon(t, d.Percentile(p), got.Percentile(p), 2*SketchError)
	}
	require.Equal(t, d.Count(), got.Count())
	require.Equal(t, d.Stats().Avg, got.Stats().Avg)
	require.Equal(t, d.Stats().Max, got.Stats().Max)
}

// written is a summary in a form that compares: NaN is unlike itself.
func written(t *testing.T, c *Collector) string {
	raw, err := json.Marshal(c.Summary())
	require.NoError(t, err)
	return string(raw)
}

// Whatever another process sends is merged or refused whole.
func FuzzSnapshot(f *testing.F) {
	c := NewCollector(Options{Slice: 100 * msec})
	c.Add(record())
	data, err := json.Marshal(c.Snapshot())
	require.NoError(f, err)
	f.Add(data)
	f.Add([]byte(`{"whole":{"distributions":{"send_lag":{"sketch":[5,2],"count":2,"least":1,"most":2}}}}`))
	f.Add([]byte(`{"points":"AAAA","whole":{"counts":{"valid":-1}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s Snapshot
		if json.Unmarshal(data, &s) != nil {
			return
		}
		into := NewCollector(Options{Slice: 100 * msec})
		into.Add(record())
		before := written(t, into)
		if into.Merge(&s, 0) != nil {
			require.Equal(t, before, written(t, into), "a refused snapshot changes nothing")
		}
	})
}
