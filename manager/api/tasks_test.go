package api_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/fleetune/fleetune/manager/api/apitest"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/client"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// refusal asserts that an error is a problem with that status.
func refusal(t testing.TB, err error, status int) *v1.Problem {
	t.Helper()
	var p *v1.Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, status, p.Status, p.Detail)
	require.NotEmpty(t, p.Next)
	return p
}

func TestRunningTaskShowsItsIncumbent(t *testing.T) {
	s := apitest.Start(t)
	s.Running(t, "alpha")
	d, err := dial(t, s, apitest.Token).Task(t.Context(), "alpha")
	require.NoError(t, err)
	require.Equal(t, "running", d.Status)
	require.Equal(t, v1.Counts{Total: 5, Planned: 12, Queued: 1, Running: 1, Success: 2, Failed: 1}, d.Experiments)
	require.Equal(t, 1, d.Baseline.Number)
	require.InDelta(t, 12, *d.Baseline.Score, 0)
	require.Equal(t, 2, d.Best.Number)
	require.Equal(t, apitest.Point(8, 2), d.Best.Parameters)
	require.InDelta(t, 4, d.Best.Score, 0)
	require.Equal(t, v1.Metric{Unit: "ms", Median: 4, Spread: 0.5, Count: 3}, d.Best.Metrics["time_ms"])
	require.Equal(t, &v1.Speedup{Ratio: 3}, d.Best.Speedup)
	require.NotNil(t, d.DeadlineAt)
}

// A task that measures a server which runs already is labelled by what the
// server says of itself.
func TestSimulatedEndpointIsLabelled(t *testing.T) {
	s := apitest.Start(t)
	s.Served(t, "real", "")
	s.Served(t, "fronted", "")
	for _, statement := range []string{
		`UPDATE tasks SET spec = jsonb_set(spec, '{serving,endpoint}', '{"url": "http://127.0.0.1:1"}')`,
		`UPDATE attempts SET measurement = jsonb_set(measurement, '{serving,simulated}', '"l40s"')
			WHERE task_id = (SELECT id FROM tasks WHERE name = 'fronted')`,
	} {
		_, err := s.Pool.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	c := dial(t, s, apitest.Token)
	for name, want := range map[string]string{"real": "", "fronted": "l40s"} {
		d, err := c.Task(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, want, d.Simulated, name)
		require.Equal(t, want, d.Best.Simulated, name)
		e, err := c.Experiment(t.Context(), name, 2)
		require.NoError(t, err)
		require.Equal(t, want, e.Simulated, name)
	}
}

// What is still built or waits for its devices is told apart from what runs on
// them.
func TestStagingIsTold(t *testing.T) {
	s := apitest.Start(t)
	_, list := s.Running(t, "alpha")
	c := dial(t, s, apitest.Token)
	for phase, staging := range map[string]int{"staging": 1, "waiting": 1, "download": 1, "running": 0, "benchmark": 0, "reporting": 0} {
		s.Phase(t, phase, list[3].ID)
		d, err := c.Task(t.Context(), "alpha")
		require.NoError(t, err)
		require.Equal(t, 1, d.Experiments.Running)
		require.Equal(t, staging, d.Experiments.Staging, phase)
	}
}

func TestIncumbentIsTheLowestNumberAmongEquals(t *testing.T) {
	s := apitest.Start(t)
	created := s.Create(t, "ties")
	list := s.Queue(t, created, 1, apitest.Point(8, 1), apitest.Point(16, 1), apitest.Point(32, 1))
	for _, i := range []int{2, 1, 0} {
		s.Finish(t, list[i].ID, 7)
	}
	require.NoError(t, s.Store.SetBaseline(t.Context(), created.ID, 3))
	d, err := dial(t, s, apitest.Token).Task(t.Context(), "ties")
	require.NoError(t, err)
	require.Equal(t, 1, d.Best.Number)
	require.Equal(t, 3, d.Baseline.Number)
}

func TestBaselineAloneIsTheIncumbent(t *testing.T) {
	s := apitest.Start(t)
	created := s.Create(t, "first")
	list := s.Queue(t, created, 1, apitest.Point(8, 1))
	c := dial(t, s, apitest.Token)
	require.NoError(t, s.Store.SetBaseline(t.Context(), created.ID, 1))
	d, err := c.Task(t.Context(), "first")
	require.NoError(t, err)
	require.Nil(t, d.Best)
	require.Nil(t, d.Baseline.Score)
	_, err = c.Best(t.Context(), "first")
	refusal(t, err, http.StatusNotFound)
	s.Finish(t, list[0].ID, 7)
	d, err = c.Task(t.Context(), "first")
	require.NoError(t, err)
	require.Equal(t, 1, d.Best.Number)
	require.InDelta(t, 1, d.Best.Speedup.Ratio, 0)
}

func TestCompletedTaskShowsItsConfirmedBest(t *testing.T) {
	s := apitest.Start(t)
	s.Complete(t, "omega")
	c := dial(t, s, apitest.Token)
	d, err := c.Task(t.Context(), "omega")
	require.NoError(t, err)
	require.Equal(t, "completed", d.Status)
	require.True(t, d.Final())
	require.Equal(t, 2, d.Best.Number)
	require.InDelta(t, 3.8, *d.Best.Speedup.Low, 0)
	require.True(t, d.Best.Speedup.Significant)
	require.Equal(t, 2, d.Experiments.Total, "confirmations are not counted in total")
	require.Equal(t, 1, d.Experiments.Confirmations)

	for purpose, want := range map[string][]int{"": {1, 2}, "all": {1, 2, 3}, "confirm": {3}, "baseline": {1}} {
		var numbers []int
		for e, err := range c.AllExperiments(t.Context(), "omega", client.Listing{Purpose: purpose, Limit: 1}) {
			require.NoError(t, err)
			numbers = append(numbers, e.Number)
		}
		require.Equal(t, want, numbers, "purpose %q", purpose)
	}
}

func TestExperimentsAreFilteredAndDetailed(t *testing.T) {
	s := apitest.Start(t)
	_, list := s.Running(t, "alpha")
	c := dial(t, s, apitest.Token)
	page, err := c.Experiments(t.Context(), "alpha", client.Listing{Status: "failed"})
	require.NoError(t, err)
	require.Len(t, page.Items, 1)
	e := page.Items[0]
	require.Equal(t, "out_of_memory", e.Outcome)
	require.Equal(t, 137, *e.Error.ExitCode)
	require.Equal(t, "allocating 64 GiB\n", e.Error.LogTail)
	page, err = c.Experiments(t.Context(), "alpha", client.Listing{Outcome: "success"})
	require.NoError(t, err)
	require.Len(t, page.Items, 2)

	one, err := c.Experiment(t.Context(), "alpha", 2)
	require.NoError(t, err)
	require.Equal(t, list[1].ID, one.ID)
	require.Len(t, one.History, 1)
	require.True(t, one.History[0].Accepted)
	require.Equal(t, []float64{3.5, 4, 4.5}, one.History[0].Metrics["time_ms"].Samples)
	require.InDelta(t, 1.5, one.History[0].Seconds["running"], 0)
	_, err = c.Experiment(t.Context(), "alpha", 99)
	refusal(t, err, http.StatusNotFound)
}

func TestTasksAreListedNewestFirstByPages(t *testing.T) {
	s := apitest.Start(t)
	for i := range 5 {
		s.Create(t, fmt.Sprintf("task-%d", i))
	}
	c := dial(t, s, apitest.Token)
	var names []string
	for after := ""; ; {
		page, err := c.Tasks(t.Context(), client.Listing{After: after, Limit: 2})
		require.NoError(t, err)
		for _, d := range page.Items {
			names = append(names, d.Name)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	require.Equal(t, []string{"task-4", "task-3", "task-2", "task-1", "task-0"}, names)
	page, err := c.Tasks(t.Context(), client.Listing{Status: "completed"})
	require.NoError(t, err)
	require.Empty(t, page.Items)
}

func TestUnknownTaskNamesTheNearest(t *testing.T) {
	s := apitest.Start(t)
	s.Create(t, "matmul")
	c := dial(t, s, apitest.Token)
	for _, ref := range []string{"matmol", "'; DROP TABLE tasks; --", "../../healthz", "a b%00"} {
		_, err := c.Task(t.Context(), ref)
		p := refusal(t, err, http.StatusNotFound)
		if ref == "matmol" {
			require.Contains(t, p.Next, `did you mean "matmul"?`)
		}
	}
	_, err := c.Task(t.Context(), "matmul")
	require.NoError(t, err)
}

func TestPauseResumeCancel(t *testing.T) {
	s := apitest.Start(t)
	created := s.Create(t, "alpha")
	c := dial(t, s, apitest.Token)
	_, err := c.Resume(t.Context(), "alpha")
	require.NoError(t, err, "what runs already needs no resuming")
	for range 2 {
		d, err := c.Pause(t.Context(), created.ID.String())
		require.NoError(t, err)
		require.Equal(t, "paused", d.Status)
	}
	d, err := c.Resume(t.Context(), "alpha")
	require.NoError(t, err)
	require.Equal(t, "running", d.Status)
	for range 2 {
		d, err = c.Cancel(t.Context(), "alpha", "it was only a try")
		require.NoError(t, err)
		require.Equal(t, "cancelled", d.Status)
		require.Equal(t, "it was only a try", d.Cause)
	}
	_, err = c.Pause(t.Context(), "alpha")
	require.Contains(t, refusal(t, err, http.StatusConflict).Detail, "is cancelled")
}

func TestWorkersAreListedAndDrained(t *testing.T) {
	s := apitest.Start(t)
	_, list := s.Running(t, "alpha")
	s.Workers(t, list[3].ID, uuid.New())
	c := dial(t, s, apitest.Token)
	workers, err := c.Workers(t.Context())
	require.NoError(t, err)
	require.Len(t, workers, 2)
	require.Equal(t, "alpha", workers[0].Running[0].Task)
	require.Equal(t, 4, workers[0].Running[0].Number)
	require.Empty(t, workers[0].Running[1].Task, "an unknown experiment has no name")
	require.True(t, workers[0].Devices[0].Busy)
	require.Equal(t, "lost", workers[1].Status)
	for _, drain := range []bool{true, false} {
		w, err := c.Drain(t.Context(), "node-a", drain)
		require.NoError(t, err)
		require.Equal(t, drain, w.Drain)
	}
	_, err = c.Drain(t.Context(), "node-x", true)
	refusal(t, err, http.StatusNotFound)
}

func TestWhyJoinsWhatTheStoreKnows(t *testing.T) {
	s := apitest.Start(t)
	task, list := s.Running(t, "alpha")
	s.Workers(t, list[3].ID, list[3].ID)
	c := dial(t, s, apitest.Token)
	w, err := c.Why(t.Context(), "alpha", 0)
	require.NoError(t, err)
	require.Equal(t, 5, w.Number)
	require.Equal(t, "1 of 2 workers can serve it, and all their devices are held", w.Summary)
	require.Equal(t, "busy", w.Workers[0].Requirement)
	require.Contains(t, w.Workers[0].Reason, "cpu-0 is held by alpha #4, running")
	require.Equal(t, "online", w.Workers[1].Requirement)

	require.NoError(t, s.Store.Pause(t.Context(), task.ID))
	w, err = c.Why(t.Context(), "alpha", 5)
	require.NoError(t, err)
	require.Equal(t, "task", w.Causes[0].Kind)
	w, err = c.Why(t.Context(), "alpha", 4)
	require.NoError(t, err)
	require.Equal(t, string(experiment.Running), w.Status)
	require.Empty(t, w.Workers)
	require.Equal(t, store.TaskPaused, store.TaskState("paused"))
}
