package api_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/fleetune/fleetune/manager/api/apitest"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/client"
	"github.com/stretchr/testify/require"
)

func page(t *testing.T, c *client.Client, task string) string {
	t.Helper()
	body, err := c.Report(t.Context(), task)
	require.NoError(t, err)
	defer func() { require.NoError(t, body.Close()) }()
	text, err := io.ReadAll(body)
	require.NoError(t, err)
	return string(text)
}

func TestReportIsAPageOfItsOwn(t *testing.T) {
	s := apitest.Start(t)
	s.Served(t, "real", "")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+v1.Base+"/tasks/real/report", nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+apitest.Token)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, "text/html; charset=utf-8", response.Header.Get("Content-Type"))
	require.Equal(t, "nosniff", response.Header.Get("X-Content-Type-Options"))
	require.Equal(t, "sandbox allow-scripts", response.Header.Get("Content-Security-Policy"))
	http.DefaultClient.CloseIdleConnections()
	_, err = dial(t, s, apitest.Token).Report(t.Context(), "reel")
	refusal(t, err, http.StatusNotFound)
}

// A task of a hundred thousand experiments makes a page that can be opened,
// which says that it shows some of them.
func TestReportOfManyResultsIsBounded(t *testing.T) {
	s := apitest.Start(t)
	created := s.Explored(t, "huge", 12)
	_, err := s.Pool.Exec(t.Context(), `INSERT INTO experiments (id, task_id, number, purpose, parameters, state, outcome, queued_at, finished_at, scores)
		SELECT gen_random_uuid(), $1, n, 'search', jsonb_build_object('tile', 8 << (n % 4), 'unroll', 1 << (n % 3)), 'success', 'success',
			now(), now(), ARRAY[CASE WHEN n = 90000 THEN 1 ELSE 1000 - n / 200.0 END]
		FROM generate_series(13, 100000) AS n`, created.ID)
	require.NoError(t, err)
	text := page(t, dial(t, s, apitest.Token), "huge")
	require.Less(t, len(text), 4<<20)
	require.Contains(t, text, "Charts and table show 2000 of 100000 experiments, the best among them.")
	require.Contains(t, text, "Best, experiment 90000")
	require.Equal(t, 1, strings.Count(text, `<tr class="best">`))
}

func TestComparisonsOverTheAPI(t *testing.T) {
	s := apitest.Start(t)
	s.Served(t, "real", "")
	s.Served(t, "rehearsal", "simulate: {gpu: h100-sxm}\n")
	c := dial(t, s, apitest.Token)
	d, err := c.Compare(t.Context(), "real#2", "real#baseline")
	require.NoError(t, err)
	require.True(t, d.Comparable)
	require.Contains(t, d.Notice, "in alternation")
	require.Equal(t, []string{"base", "worse"}, []string{d.Metrics[0].Values[0].Verdict, d.Metrics[0].Values[1].Verdict})
	require.InDelta(t, 1.56, *d.Metrics[0].Values[1].Median, 1e-9, "the baseline as it was then")
	require.InDelta(t, 2.4*1.04, *d.Cells[3].Metrics[0].Values[1].Median, 1e-9)
	require.Len(t, d.Cells, 4)
	require.Equal(t, "worse", d.Cells[3].Metrics[0].Values[1].Verdict)
	// Two that were not confirmed beside each other are what they are.
	d, err = c.Compare(t.Context(), "real#2", "real#4")
	require.NoError(t, err)
	require.Empty(t, d.Notice)
	d, err = c.Compare(t.Context(), "real", "rehearsal")
	require.NoError(t, err)
	require.False(t, d.Comparable)
	_, err = c.Compare(t.Context(), "real")
	refusal(t, err, http.StatusUnprocessableEntity)
	_, err = c.Compare(t.Context(), strings.Split(strings.Repeat("real,", 9), ",")[:9]...)
	refusal(t, err, http.StatusUnprocessableEntity)
	_, err = c.Compare(t.Context(), "real#0", "real")
	refusal(t, err, http.StatusUnprocessableEntity)
	_, err = c.Compare(t.Context(), "real#9", "real")
	refusal(t, err, http.StatusNotFound)
}

// What an attempt measured before it failed is kept and told.
func TestFailedAttemptsKeepTheirCells(t *testing.T) {
	s := apitest.Start(t)
	s.Served(t, "real", "")
	c := dial(t, s, apitest.Token)
	for number, outcome := range map[int]string{3: "out_of_memory", 4: "infeasible"} {
		e, err := c.Experiment(t.Context(), "real", number)
		require.NoError(t, err)
		require.Equal(t, outcome, e.Outcome)
		cells := e.History[0].Serving.Cells
		require.Len(t, cells, 4)
		require.InDelta(t, 50, cells[0].Requests, 0)
		require.NotEmpty(t, cells[0].Metrics["mean_ttft"].Samples)
		require.Len(t, cells[0].Promises, 2)
		if number == 3 {
			require.Equal(t, "oom_at_run", e.Error.Cause)
			require.Equal(t, "the engine ran out of memory under load", cells[2].Missing)
			require.Empty(t, cells[2].Promises)
		} else {
			require.Equal(t, "broken", cells[3].Promises[0].Severity)
		}
	}
}
