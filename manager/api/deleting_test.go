package api_test

import (
	"net/http"
	"testing"

	"github.com/fleetune/fleetune/manager/api/apitest"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/stretchr/testify/require"
)

func TestTaskIsDeleted(t *testing.T) {
	s := apitest.Start(t)
	_, list := s.Running(t, "alpha")
	s.Workers(t, list[3].ID)
	omega := s.Complete(t, "omega")
	c := dial(t, s, apitest.Token)
	p := refusal(t, deletion(c.Delete(t.Context(), "alpha", false)), http.StatusConflict)
	require.Equal(t, "fleetune cancel alpha ends it; delete it then", p.Next)
	require.Equal(t, "omega", refusal(t, deletion(c.Delete(t.Context(), "omeg", false)), http.StatusNotFound).Errors[0].Nearest)

	want := v1.Deletion{ID: omega.ID, Name: "omega", Status: "completed", FinishedAt: omega.FinishedAt, Experiments: 3, Attempts: 3, Records: 3}
	d, err := c.Delete(t.Context(), "omega", true)
	require.NoError(t, err)
	require.True(t, want.FinishedAt.Equal(*d.FinishedAt))
	want.FinishedAt = d.FinishedAt
	require.Equal(t, want, d)
	want.Deleted = true
	for _, ref := range []string{"omega", "omega", omega.ID.String()} { // asking again does no harm
		d, err = c.Delete(t.Context(), ref, false)
		require.NoError(t, err)
		require.Equal(t, want, d)
	}
	_, err = c.Task(t.Context(), "omega")
	refusal(t, err, http.StatusNotFound)
	records, err := s.Store.Records(t.Context(), store.RecordFilter{Limit: 10})
	require.NoError(t, err)
	require.Len(t, records, 3)

	// Cancelled, but still in a worker's hands.
	_, err = c.Cancel(t.Context(), "alpha", "")
	require.NoError(t, err)
	p = refusal(t, deletion(c.Delete(t.Context(), "alpha", false)), http.StatusConflict)
	require.Contains(t, p.Detail, "still being stopped")
	running, err := s.Store.Experiment(t.Context(), idOf(t, s, "alpha"), 4)
	require.NoError(t, err)
	s.Report(t, store.Granted{Experiment: running.ID, Task: running.TaskID, Epoch: 1, Attempt: 1}, "node-a", experiment.OutcomeCancelled, 0, nil)
	_, err = c.Delete(t.Context(), "alpha", false)
	require.NoError(t, err)
}

func deletion(_ v1.Deletion, err error) error { return err }

func idOf(t *testing.T, s *apitest.Stand, name string) [16]byte {
	t.Helper()
	row, err := s.Store.Task(t.Context(), name)
	require.NoError(t, err)
	return row.ID
}

// Another run is what the first was when it was handed in.
func TestTaskIsRetried(t *testing.T) {
	s := apitest.Start(t)
	omega := s.Complete(t, "omega")
	s.Workers(t)
	c := dial(t, s, apitest.Token)
	d, err := c.Retry(t.Context(), "omega", v1.Retry{})
	require.NoError(t, err)
	require.Equal(t, "omega-run2", d.Name)
	again, err := s.Store.Task(t.Context(), "omega-run2")
	require.NoError(t, err)
	require.Equal(t, omega.Spec.Command, again.Spec.Command)
	require.Equal(t, omega.Spec.Space, again.Spec.Space)
	require.Equal(t, "omega", again.Spec.Records.Operation, "the same work for the records")
	require.Equal(t, omega.Planned, again.Planned)
	source, err := c.Source(t.Context(), "omega-run2")
	require.NoError(t, err)
	require.Equal(t, apitest.Source("omega"), source.Source)
	_, err = c.Retry(t.Context(), "omega-run2", v1.Retry{})
	require.Contains(t, refusal(t, err, http.StatusConflict).Detail, "only tasks that have ended")
}
