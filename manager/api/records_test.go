package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/api/apitest"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/client"
	"github.com/fleetune/fleetune/manager/records"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func recordOn(device string, tile int64, score float64) records.Record {
	return records.Record{
		ID: uuid.New(), Point: space.Point{"tile": tile}, Outcome: experiment.OutcomeSuccess, Scores: []float64{score},
		Metrics: map[string]records.Metric{"time": {Unit: "ms", Median: score, Count: 5}}, MeasuredAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Key: records.Key{Operation: records.Operation{Name: "gemm", Runner: "command:1"}, Workload: records.Facts{"m": int64(1024)},
			Environment: records.Facts{records.FactDevice: device}, Measurement: records.Facts{records.FactObjectives: []any{"minimize_time"}}},
	}
}

// asks sends a request as a runtime does and returns its answer.
func asks(t *testing.T, s *apitest.Stand, path string, header http.Header) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
	require.NoError(t, err)
	for key, values := range header {
		r.Header[key] = values
	}
	r.Header.Set("Authorization", "Bearer "+apitest.Token)
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response, string(data)
}

func lookup(parts ...string) string {
	q := url.Values{"operation": {"gemm"}}
	for i := 0; i < len(parts); i += 2 {
		q.Set(parts[i], parts[i+1])
	}
	return "/api/v1/records/winner?" + q.Encode()
}

func TestRuntimesAskForWinners(t *testing.T) {
	s := apitest.Start(t)
	defer http.DefaultClient.CloseIdleConnections()
	_, err := s.Store.AppendRecords(t.Context(), []records.Record{recordOn("A100", 8, 2), recordOn("A100", 16, 1), recordOn("H100", 32, 1)}, false)
	require.NoError(t, err)
	a100 := lookup("workload", `{"m": 1024.0}`, "environment", `{"device": "A100"}`)
	response, body := asks(t, s, a100, nil)
	require.Equal(t, http.StatusOK, response.StatusCode, body)
	var w v1.Winner
	require.NoError(t, json.Unmarshal([]byte(body), &w))
	require.Equal(t, space.Point{"tile": int64(16)}, w.Parameters)
	require.Equal(t, "exact", w.Match)
	require.Equal(t, 2, w.Points)
	require.Contains(t, response.Header.Get("Cache-Control"), "max-age=")

	tag := response.Header.Get("ETag")
	require.NotEmpty(t, tag)
	response, body = asks(t, s, a100, http.Header{"If-None-Match": {tag}})
	require.Equal(t, http.StatusNotModified, response.StatusCode)
	require.Empty(t, body)
	for header, want := range map[string]int{`W/` + tag: http.StatusNotModified, `"other", ` + tag: http.StatusNotModified, "*": http.StatusNotModified,
		`"other"`: http.StatusOK} {
		response, _ = asks(t, s, a100, http.Header{"If-None-Match": {header}})
		require.Equal(t, want, response.StatusCode, header)
	}
	_, err = s.Store.AppendRecords(t.Context(), []records.Record{recordOn("A100", 64, 0.5)}, false)
	require.NoError(t, err)
	response, _ = asks(t, s, a100, http.Header{"If-None-Match": {tag}})
	require.Equal(t, http.StatusOK, response.StatusCode, "another winner, another tag")

	for path, want := range map[string]int{
		lookup("workload", `{"m":1024}`):                                                        http.StatusConflict,
		lookup("workload", `{"m":1024}`, "environment", `{"device":"*"}`):                       http.StatusOK,
		lookup("workload", `{"m":1024}`, "environment", `{"device":"L4"}`):                      http.StatusNotFound,
		lookup("workload", `{"m":1500}`, "environment", `{"device":"H100"}`):                    http.StatusNotFound,
		lookup("workload", `{"m":1500}`, "environment", `{"device":"H100"}`, "nearest", "true"): http.StatusOK,
		lookup("workload", `{"m":{}}`):                                                          http.StatusUnprocessableEntity,
		lookup("workload", `[1]`):                                                               http.StatusUnprocessableEntity,
		"/api/v1/records/winner":                                                                http.StatusUnprocessableEntity,
		"/api/v1/records/1":                                                                     http.StatusOK,
		"/api/v1/records/99":                                                                    http.StatusNotFound,
		"/api/v1/records?key=none&limit=1000":                                                   http.StatusOK,
	} {
		response, body := asks(t, s, path, nil)
		require.Equal(t, want, response.StatusCode, "%s: %s", path, body)
	}
}

func TestRecordsTravelAsFiles(t *testing.T) {
	from, to := apitest.Start(t), apitest.Start(t)
	defer http.DefaultClient.CloseIdleConnections()
	_, err := from.Store.AppendRecords(t.Context(), []records.Record{recordOn("A100", 8, 2), recordOn("H100", 32, 1)}, false)
	require.NoError(t, err)
	_, file := asks(t, from, "/api/v1/records/export", nil)
	send := func(text string) (v1.Import, int) {
		data, err := json.Marshal(v1.RecordFile{File: text})
		require.NoError(t, err)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to.URL+"/api/v1/records/import", bytes.NewReader(data))
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+apitest.Token)
		r.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer func() { _ = response.Body.Close() }()
		var d v1.Import
		require.NoError(t, json.NewDecoder(response.Body).Decode(&d))
		return d, response.StatusCode
	}
	d, _ := send(file[:len(file)-20])
	require.Equal(t, 1, d.Added)
	require.Len(t, d.Dropped, 1)
	d, _ = send(file)
	require.Equal(t, v1.Import{Added: 1, Known: 1, Conflicts: []uuid.UUID{}, Dropped: []records.Dropped{}}, d)
	_, status := send("notes")
	require.Equal(t, http.StatusUnprocessableEntity, status)
	_, again := asks(t, to, "/api/v1/records/export", nil)
	lines := func(text string) map[string]bool {
		set := map[string]bool{}
		for line := range strings.Lines(text) {
			set[line] = true
		}
		return set
	}
	require.Equal(t, lines(file), lines(again), "what travelled is what was measured")
}

// Who asks for answers and can have none is told why, at once.
func TestSubmitTellsWhyNothingIsReused(t *testing.T) {
	s := apitest.Start(t)
	c, err := client.New(s.URL, apitest.Token)
	require.NoError(t, err)
	defer c.Close()
	const file = "task_name: reuse\nparameters: {i: [1, 2]}\noptimization: {objective: minimize_t}\ncommand: {run: [x, '{{i}}']}\nrecords: {reuse: exact}\n"
	answer, err := c.Submit(t.Context(), v1.Submission{File: "t.yaml", Source: file})
	require.NoError(t, err)
	require.Len(t, answer.Warnings, 1)
	require.Equal(t, "records.reuse", answer.Warnings[0].Field)
	require.Contains(t, answer.Warnings[0].Message, "no worker")
	require.Equal(t, 0, answer.Task.Records.Answers)
	require.NotEmpty(t, answer.Task.Records.Note)
	again, err := c.Submit(t.Context(), v1.Submission{File: "t.yaml", Source: file, Name: "reuse-2"})
	require.NoError(t, err)
	source, err := c.Source(t.Context(), "reuse-2")
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(source.Spec), "operation:reuse ", "another name, the same operation")
	require.Equal(t, "reuse-2", again.Task.Name)
}
