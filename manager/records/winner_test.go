package records_test

import (
	"slices"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/records"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// tuned is the n-th record: of a tile, with a score.
func tuned(n int, tile int64, score float64, change ...func(*records.Record)) records.Record {
	r := recordOf(n, score)
	r.Point = space.Point{"tile": tile}
	r.MeasuredAt = r.MeasuredAt.Add(time.Duration(n) * time.Minute)
	for _, f := range change {
		f(&r)
	}
	return r
}

func confirmed(r *records.Record) { r.Confirmed = true }

func broke(r *records.Record) {
	r.Outcome, r.Scores, r.Metrics = experiment.OutcomeIncorrect, nil, nil
}

func onH100(r *records.Record) { r.Key = keyOf("H100") }

func maximized(r *records.Record) {
	r.Key.Measurement[records.FactObjectives] = []any{"maximize_rate"}
}

// The winner of a key is the point with the best median, of those that were
// confirmed if there are any; what failed wins nothing.
func TestWinners(t *testing.T) {
	for name, c := range map[string]struct {
		list   []records.Record
		tile   int64
		median float64
		points int
	}{
		"best":      {[]records.Record{tuned(1, 8, 3), tuned(2, 16, 2), tuned(3, 32, 1, broke)}, 16, 2, 2},
		"median":    {[]records.Record{tuned(1, 8, 3), tuned(2, 16, 1), tuned(3, 16, 9), tuned(4, 16, 9)}, 8, 3, 2},
		"even":      {[]records.Record{tuned(1, 8, 5), tuned(2, 16, 1), tuned(3, 16, 4)}, 16, 2.5, 2},
		"confirmed": {[]records.Record{tuned(1, 8, 1), tuned(2, 16, 2, confirmed), tuned(3, 16, 2)}, 16, 2, 2},
		"tie":       {[]records.Record{tuned(2, 8, 1), tuned(1, 16, 1)}, 16, 1, 2},
		"maximize":  {[]records.Record{tuned(1, 8, 1, maximized), tuned(2, 16, 2, maximized)}, 16, 2, 2},
	} {
		winners := records.Winners(c.list)
		require.Len(t, winners, 1, name)
		require.Equal(t, c.tile, winners[0].Record.Point["tile"], name)
		require.Equal(t, c.median, winners[0].Median, name)
		require.Equal(t, c.points, winners[0].Points, name)
	}
	require.Len(t, records.Winners([]records.Record{tuned(1, 8, 1), tuned(2, 8, 1, onH100), tuned(3, 8, 1, broke, maximized)}), 2)
	w := records.Winners([]records.Record{tuned(2, 8, 3), tuned(1, 8, 1, confirmed)})[0]
	require.Equal(t, []float64{3}, w.Record.Scores, "the newest measurement tells of the point")
	require.True(t, w.Confirmed)
}

// In whatever order files were merged, the same point wins.
func TestWinnersDoNotDependOnTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []records.Record
		for n := range rapid.IntRange(1, 12).Draw(t, "records") {
			r := tuned(n, int64(rapid.IntRange(1, 4).Draw(t, "tile")), float64(rapid.IntRange(1, 3).Draw(t, "score")))
			r.MeasuredAt = r.MeasuredAt.Truncate(time.Hour)
			r.Confirmed = rapid.Bool().Draw(t, "confirmed")
			list = append(list, r)
		}
		want := records.Winners(list)
		got := records.Winners(rapid.Permutation(list).Draw(t, "order"))
		if !slices.EqualFunc(want, got, func(a, b records.Winner) bool {
			return a.Record.Same(b.Record) && a.Median == b.Median && a.Points == b.Points && a.Confirmed == b.Confirmed
		}) {
			t.Fatalf("%+v and %+v", want, got)
		}
	})
}

// Extras that differ are two keys: each question gets its own answer, read back
// from a file, whatever is better. A key that was written without extras serves
// only where none are asked for.
func TestExtrasNeverCollideInFiles(t *testing.T) {
	layout := func(extras records.Facts) func(*records.Record) {
		return func(r *records.Record) { r.Key.Operation.Extras = extras }
	}
	list := []records.Record{tuned(1, 8, 3, layout(records.Facts{"layout": "8x4"})), tuned(2, 16, 1, layout(records.Facts{"layout": "4x8"})),
		tuned(3, 32, 2, layout(nil))}
	path := t.TempDir() + "/records.jsonl"
	_, err := records.Save(t.Context(), path, list)
	require.NoError(t, err)
	list, dropped, err := records.ReadFile(path)
	require.NoError(t, err)
	require.Empty(t, dropped)
	for tile, extras := range map[int64]records.Facts{8: {"layout": "8x4"}, 16: {"layout": "4x8"}, 32: nil} {
		w, a, err := records.Find(question(func(q *records.Question) { q.Extras = extras }), list)
		require.NoError(t, err)
		require.Equal(t, tile, w.Record.Point["tile"])
		require.Equal(t, records.MatchExact, a.Match)
	}
	_, _, err = records.Find(question(func(q *records.Question) { q.Extras = records.Facts{"layout": "8x4", "bias": true} }), list)
	require.ErrorIs(t, err, records.ErrNotFound)
	_, _, err = records.Find(records.Question{Operation: "other"}, list)
	require.ErrorIs(t, err, records.ErrNotFound)
}
