package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/fleetune/fleetune/manager/api/apitest"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestInsightSaysWhatMatters(t *testing.T) {
	s := apitest.Start(t)
	s.Explored(t, "alpha", 12)
	d, err := dial(t, s, apitest.Token).Insight(t.Context(), "alpha", "")
	require.NoError(t, err)
	require.Equal(t, []any{"time_ms", "ms", 12, 12, 12, ""}, []any{d.Objective, d.Unit, d.Measured, d.Considered, d.Explained, d.Notice})
	require.Len(t, d.Parameters, 2)
	tile := d.Parameters[0]
	require.Equal(t, "tile", tile.Name)
	require.Greater(t, tile.Importance, 0.9)
	require.Len(t, tile.Effect, 4)
	require.InDelta(t, 8, tile.Effect[0].Value, 0)
	require.InDelta(t, 100*0.9, tile.Effect[0].Mean, 3, "the geometric mean over unroll")
	require.InDelta(t, 2, tile.Effect[0].Mean/tile.Effect[1].Mean, 0.1)
	require.Equal(t, 3, tile.Effect[0].Measured)

	first, last := d.Progress[0], d.Progress[len(d.Progress)-1]
	require.Equal(t, 1, first.Number)
	require.InDelta(t, 100, first.Best, 1e-9)
	require.InDelta(t, 100-12.5*0.81, first.Regret, 1e-9)
	require.Equal(t, apitest.At(2), first.At)
	require.Equal(t, 12, last.Number)
	require.Zero(t, last.Regret)
	require.Nil(t, last.Hypervolume)
	require.Empty(t, d.Front)
	require.Nil(t, d.Hypervolume)
}

func TestInsightOfSeveralObjectives(t *testing.T) {
	s := apitest.Start(t)
	s.Traded(t, "alpha", 12)
	c := dial(t, s, apitest.Token)
	d, err := c.Insight(t.Context(), "alpha", "memory_mib")
	require.NoError(t, err)
	require.Equal(t, []string{"memory_mib", "MiB"}, []string{d.Objective, d.Unit})
	require.InDelta(t, 1, d.Parameters[0].Importance, 0.01)
	require.InDelta(t, 0, d.Parameters[1].Importance, 0.01)
	// The best unroll of each tile, the fastest first.
	require.Equal(t, 4, d.FrontSize)
	require.Len(t, d.Front, 4)
	require.Equal(t, apitest.Point(64, 4)["tile"], d.Front[0].Parameters["tile"])
	require.Equal(t, []int{12, 9, 6, 3}, []int{d.Front[0].Number, d.Front[1].Number, d.Front[2].Number, d.Front[3].Number})
	require.Equal(t, []float64{100, 1024}, d.Reference)
	// Slices of memory between 128, 256, 512 and 1024 MiB.
	want := 128*(100-81) + 256*(100-40.5) + 512*(100-20.25)
	require.InDelta(t, want, *d.Hypervolume, 1e-6)
	require.InDelta(t, want, *d.Progress[len(d.Progress)-1].Hypervolume, 1e-6)

	_, err = c.Insight(t.Context(), "alpha", "memory_mb")
	p := refusal(t, err, http.StatusUnprocessableEntity)
	require.Equal(t, "memory_mib", p.Errors[0].Nearest)
	_, err = c.Insight(t.Context(), "alhpa", "")
	refusal(t, err, http.StatusNotFound)
}

func TestInsightOfTooFewResults(t *testing.T) {
	s := apitest.Start(t)
	s.Create(t, "none")
	s.Explored(t, "two", 2)
	c := dial(t, s, apitest.Token)
	for name, n := range map[string]int{"none": 0, "two": 2} {
		d, err := c.Insight(t.Context(), name, "")
		require.NoError(t, err)
		require.Equal(t, n, d.Measured)
		require.Empty(t, d.Parameters)
		require.Len(t, d.Progress, n)
		require.Contains(t, d.Notice, fmt.Sprintf("from 3 results on that were measured in full at points of the space; there are %d", n))
	}
	_, err := s.Pool.Exec(t.Context(), "UPDATE experiments SET parameters = '{}' WHERE number = 1")
	require.NoError(t, err)
	d, err := c.Insight(t.Context(), "two", "")
	require.NoError(t, err)
	require.Equal(t, 2, d.Measured)
	require.Contains(t, d.Notice, "; there are 1", "a baseline outside the space says nothing of it")
	s.Complete(t, "confirmed")
	d, err = c.Insight(t.Context(), "confirmed", "")
	require.NoError(t, err)
	require.Equal(t, 2, d.Measured, "confirmations are left out")
}

// A task of a hundred thousand experiments is sampled, and says so.
func TestInsightOfManyResultsIsBounded(t *testing.T) {
	s := apitest.Start(t)
	created := s.Traded(t, "huge", 12)
	const rows = 100_000
	_, err := s.Pool.Exec(t.Context(), `INSERT INTO experiments (id, task_id, number, purpose, parameters, state, outcome, queued_at, finished_at, scores)
		SELECT gen_random_uuid(), $1, n, 'search', jsonb_build_object('tile', 8 << (n % 4), 'unroll', 1 << (n % 3)), 'success', 'success',
			now(), now(), ARRAY[1000 - n / 200.0, n / 100.0]
		FROM generate_series(13, $2::int) AS n`, created.ID, rows)
	require.NoError(t, err)
	d, err := dial(t, s, apitest.Token).Insight(t.Context(), "huge", "")
	require.NoError(t, err)
	require.Equal(t, []int{rows, 20_000, 2_000}, []int{d.Measured, d.Considered, d.Explained})
	require.Len(t, d.Parameters, 2)
	require.LessOrEqual(t, len(d.Progress), 200)
	require.Equal(t, rows, d.Progress[len(d.Progress)-1].Number)
	require.LessOrEqual(t, len(d.Front), 500)
	require.Greater(t, d.FrontSize, 500)
	require.Contains(t, d.Notice, "20000 of 100000")
	require.Contains(t, d.Notice, "2000 of 100000")
	body, err := json.Marshal(d)
	require.NoError(t, err)
	require.Less(t, len(body), 200_000)

	values, err := s.Store.Values(t.Context(), created.ID, 5)
	require.NoError(t, err)
	require.Len(t, values, 5)
	points, err := s.Store.Points(t.Context(), created.ID, []int{3, rows + 1})
	require.NoError(t, err)
	require.Equal(t, map[int]any{3: apitest.Point(8, 4)}, map[int]any{3: points[3]})
	require.Len(t, points, 1)
	none, err := s.Store.Values(t.Context(), uuid.Nil, 5)
	require.NoError(t, err)
	require.Equal(t, []store.Value{}, none)
}
