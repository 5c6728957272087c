package autotuner_test

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/fleetune/fleetune/manager/api/apitest"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/stretchr/testify/require"
)

func taskFile(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("testdata/task.json")
	require.NoError(t, err)
	return string(data)
}

// A task is held back until it is started, can be ended, and then stays so.
func TestTaskFromPendingToCancelled(t *testing.T) {
	s := apitest.Start(t)
	status, body := ask(t, s, http.MethodPost, "/api/tasks/", taskFile(t))
	require.Equal(t, http.StatusCreated, status, body)
	golden(t, "created", body)
	stored, err := s.Store.Task(t.Context(), "docker-slo-aware-tune")
	require.NoError(t, err)
	require.Equal(t, store.TaskPaused, stored.State, "nothing of it runs before it is started")
	require.Equal(t, int64(1), stored.Number)

	for _, path := range []string{"/api/tasks/1", "/api/tasks/name/docker-slo-aware-tune", "/api/tasks/name/Docker_SLO_aware_tune",
		"/api/tasks/docker-slo-aware-tune", "/api/tasks/" + stored.ID.String()} {
		status, body = ask(t, s, http.MethodGet, path, "")
		require.Equal(t, http.StatusOK, status, body)
		golden(t, "pending", body)
	}
	status, body = ask(t, s, http.MethodPost, "/api/tasks/1/start", "")
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, `"status":"running"`)
	require.NotContains(t, body, `"cause"`)
	status, body = ask(t, s, http.MethodPost, "/api/tasks/1/start", "")
	require.Equal(t, http.StatusBadRequest, status)
	require.Equal(t, "task docker-slo-aware-tune is running: only a pending task can be started", told(t, body))

	status, body = ask(t, s, http.MethodPost, "/api/tasks/1/cancel", "")
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, `"status":"cancelled"`)
	status, body = ask(t, s, http.MethodPost, "/api/tasks/1/cancel", "")
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, told(t, body), "only a task that has not ended")
	stored, err = s.Store.Task(t.Context(), "docker-slo-aware-tune")
	require.NoError(t, err)
	require.Equal(t, store.TaskCancelled, stored.State)
}

func TestTasksAreListed(t *testing.T) {
	s := apitest.Start(t)
	s.Served(t, "served", "")
	s.Create(t, "kernel")
	status, body := ask(t, s, http.MethodPost, "/api/tasks", taskFile(t))
	require.Equal(t, http.StatusCreated, status, body)
	status, body = ask(t, s, http.MethodGet, "/api/tasks/", "")
	require.Equal(t, http.StatusOK, status)
	golden(t, "tasks", body)
	for query, names := range map[string][]string{
		"?status_filter=pending":   {"docker-slo-aware-tune"},
		"?status_filter=running":   {"kernel"},
		"?status_filter=completed": {"served"},
		"?status_filter=failed":    {},
		"?skip=1&limit=1":          {"kernel"},
		"?skip=3":                  {},
	} {
		status, body := ask(t, s, http.MethodGet, "/api/tasks/"+query, "")
		require.Equal(t, http.StatusOK, status, body)
		require.Equal(t, len(names), strings.Count(body, `"task_name"`), "%s: %s", query, body)
		for _, name := range names {
			require.Contains(t, body, `"task_name":"`+name+`"`, query)
		}
	}
	status, body = ask(t, s, http.MethodGet, "/api/tasks/name/served", "")
	require.Equal(t, http.StatusOK, status)
	golden(t, "served", body)
}

func TestRefusals(t *testing.T) {
	s := apitest.Start(t)
	status, body := ask(t, s, http.MethodPost, "/api/tasks/", taskFile(t))
	require.Equal(t, http.StatusCreated, status, body)
	for _, c := range []struct {
		method, path, body string
		status             int
		told               string
	}{
		{"POST", "/api/tasks/", taskFile(t), 400, "exists: docker-slo-aware-tune"},
		{"POST", "/api/tasks/", `{"task_name": "x", "base_runtime": "vlm"}`, 422, "base_runtime"},
		{"POST", "/api/tasks/", `nonsense`, 422, "task.json"},
		{"POST", "/api/tasks/", strings.Repeat(" ", 1<<20+1), 413, "larger than 1048576 bytes"},
		{"POST", "/api/tasks/", strings.Replace(taskFile(t), `"namespace"`, `"hf_token": "hf_abcdefgh", "namespace"`, 1), 422, "never the secret itself"},
		{"GET", "/api/tasks/99", "", 404, `no task "99"`},
		{"GET", "/api/tasks/name/none", "", 404, `no task named "none"`},
		{"GET", "/api/tasks/?status_filter=done", "", 422, "expected pending, running"},
		{"GET", "/api/tasks/?limit=0", "", 422, "from 1 to 1000"},
		{"GET", "/api/tasks/?skip=x", "", 422, "whole number"},
		{"GET", "/api/experiments/7", "", 404, "no experiment"},
		{"GET", "/api/experiments/10000001", "", 404, "no experiment"},
		{"GET", "/api/experiments/990000001", "", 404, "no experiment"},
		{"GET", "/api/experiments/task/none", "", 404, "no task"},
		{"GET", "/api/runtime-params/none", "", 404, "lists the engines"},
		{"POST", "/api/runtime-params/validate", `{}`, 422, "runtime"},
		{"POST", "/api/runtime-params/validate", `[`, 422, "not what is expected"},
		{"GET", "/api/presets/none", "", 404, "no preset"},
		{"POST", "/api/presets/", `{"name": "x", "parameters": {"a": []}}`, 422, "has no values"},
		{"POST", "/api/presets/", `{"name": "Balanced", "parameters": {"a": [1]}}`, 409, "exists"},
		{"DELETE", "/api/presets/balanced", "", 409, "comes with Fleetune"},
		{"POST", "/api/presets/merge", `{"preset_ids": ["balanced", "low-latency"], "merge_strategy": "best"}`, 422, "merge_strategy"},
		{"PUT", "/api/tasks/99", taskFile(t), 404, `no task "99"`},
		{"PUT", "/api/tasks/1", `{"task_name": "x", "base_runtime": "vlm"}`, 422, "base_runtime"},
		{"PATCH", "/api/tasks/1", `{}`, 422, "nothing to change"},
		{"PATCH", "/api/tasks/1", `{"status": "completed"}`, 422, "expected pending (held back), running or cancelled"},
		{"DELETE", "/api/tasks/99", "", 404, `no task "99"`},
		{"POST", "/api/tasks/1/restart", "", 400, "only a task that has ended"},
		{"DELETE", "/api/tasks/1/logs", "", 501, "goes with the task"},
		{"GET", "/api/tasks/1/experiments/2/logs?follow=true", "", 404, "no experiment"},
		{"GET", "/api/tasks/1/experiments/x/logs", "", 404, "no experiment"},
		{"GET", "/api/runtime-params/compatibility", "", 501, "dry-run"},
		{"GET", "/api/docker/containers?all=true", "", 501, "workers"},
		{"GET", "/api/dashboard/gpu-status", "", 501, "/api/v1/workers"},
		{"GET", "/api/ome/clusterbasemodels", "", 501, "plain deployments"},
		{"POST", "/api/agent/sessions", "{}", 501, "no chat"},
		{"GET", "/api/workers", "", 501, "/api/v1/workers"},
		{"GET", "/api/ws/tasks/1/subscribers", "", 501, "not counted"},
		{"GET", "/api/nothing", "", 404, "no /api/nothing"},
	} {
		status, body := ask(t, s, c.method, c.path, c.body)
		require.Equal(t, c.status, status, "%s %s: %s", c.method, c.path, body)
		if c.told != "" {
			require.Contains(t, told(t, body), c.told, "%s %s", c.method, c.path)
		}
	}
}

// A probe needs no token.
func TestHealthIsOpen(t *testing.T) {
	s := apitest.Start(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/health", nil)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	http.DefaultClient.CloseIdleConnections()
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.JSONEq(t, `{"status": "healthy"}`, string(body))
}

// The paths ask for the token as all others do.
func TestTokenIsAskedFor(t *testing.T) {
	s := apitest.Start(t)
	for _, path := range []string{"/api/tasks/", "/api/system/health", "/api/ws/tasks/1"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
		require.NoError(t, err)
		answer, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		http.DefaultClient.CloseIdleConnections()
		require.Equal(t, http.StatusUnauthorized, answer.StatusCode, path)
	}
}
