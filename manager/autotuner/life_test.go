package autotuner_test

import (
	"bufio"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/fleetune/fleetune/manager/api/apitest"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/stretchr/testify/require"
)

// A task that has not begun is replaced under its id, and deleted.
func TestPendingTaskIsReplacedAndDeleted(t *testing.T) {
	s := apitest.Start(t)
	status, body := ask(t, s, http.MethodPost, "/api/tasks/", taskFile(t))
	require.Equal(t, http.StatusCreated, status, body)
	other := strings.ReplaceAll(taskFile(t), "docker-slo-aware-tune", "changed-my-mind")
	status, body = ask(t, s, http.MethodPut, "/api/tasks/1", other)
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, `"id":1,"task_name":"changed-my-mind"`)
	require.Contains(t, body, `"status":"pending"`)
	status, _ = ask(t, s, http.MethodGet, "/api/tasks/name/docker-slo-aware-tune", "")
	require.Equal(t, http.StatusNotFound, status)

	status, body = ask(t, s, http.MethodDelete, "/api/tasks/1", "")
	require.Equal(t, http.StatusNoContent, status, body)
	require.Empty(t, body)
	status, _ = ask(t, s, http.MethodGet, "/api/tasks/1", "")
	require.Equal(t, http.StatusNotFound, status)
}

// What was measured goes only by the verbs that say so, and not while the task runs.
func TestRunningTaskIsNeitherReplacedNorDeleted(t *testing.T) {
	s := apitest.Start(t)
	created := s.Create(t, "alpha")
	for _, c := range []struct{ method, path, body string }{
		{http.MethodPut, "/api/tasks/1", taskFile(t)}, {http.MethodDelete, "/api/tasks/1", ""},
		{http.MethodPost, "/api/tasks/1/restart", ""}, {http.MethodPost, "/api/tasks/1/clear", ""},
	} {
		status, body := ask(t, s, c.method, c.path, c.body)
		require.Equal(t, http.StatusBadRequest, status, "%s %s: %s", c.method, c.path, body)
		require.Contains(t, told(t, body), "task alpha is running", "%s %s", c.method, c.path)
	}
	status, body := ask(t, s, http.MethodPatch, "/api/tasks/1", `{"status": "cancelled"}`)
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, `"status":"cancelled"`)
	status, body = ask(t, s, http.MethodPut, "/api/tasks/1", taskFile(t))
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, told(t, body), "clear takes what it has measured away")
	still, err := s.Store.Task(t.Context(), "alpha")
	require.NoError(t, err)
	require.Equal(t, created.ID, still.ID)
}

// A task that has ended is cleared and restarted under its id; its tuning
// records stay.
func TestEndedTaskIsClearedAndRestarted(t *testing.T) {
	for verb, state := range map[string]store.TaskState{"clear": store.TaskPaused, "restart": store.TaskRunning} {
		t.Run(verb, func(t *testing.T) {
			s := apitest.Start(t)
			ended := s.Complete(t, "omega")
			s.Workers(t)
			conn := open(t, s, "/api/ws/tasks/1")
			require.Equal(t, "connection_established", read(t, conn).Type)
			status, body := ask(t, s, http.MethodPost, "/api/tasks/1/"+verb, "")
			require.Equal(t, http.StatusOK, status, body)
			again, err := s.Store.Task(t.Context(), "omega")
			require.NoError(t, err)
			require.Equal(t, state, again.State)
			require.Equal(t, ended.Number, again.Number)
			require.NotEqual(t, ended.ID, again.ID)
			require.Equal(t, ended.Spec.Command, again.Spec.Command)
			list, err := s.Store.Experiments(t.Context(), again.ID, 0, 10)
			require.NoError(t, err)
			require.Empty(t, list)
			records, err := s.Store.Records(t.Context(), store.RecordFilter{Limit: 10})
			require.NoError(t, err)
			require.Len(t, records, 3)
			// Whoever watched the one that is gone is told so.
			require.Contains(t, awaited(t, conn, "error").Message, "task omega was deleted")
		})
	}
}

// A task's log tells what happened to it, in order.
func TestTaskLogTellsWhatHappened(t *testing.T) {
	s := apitest.Start(t)
	created := s.Create(t, "alpha")
	list := s.Queue(t, created, 1, apitest.Point(8, 1), apitest.Point(8, 2))
	lines := follow(t, s, "/api/tasks/1/logs?follow=true")
	require.Regexp(t, `^\[[-0-9: ]{19}\] \[INFO\] task alpha is handed in$`, <-lines)
	s.Finish(t, list[0].ID, 5)
	require.Contains(t, <-lines, "[INFO] experiment 1 (baseline) starts on node-a: tile=8 unroll=1")
	require.Contains(t, <-lines, "[INFO] experiment 1 (baseline) ends: success, score 5")
	require.NoError(t, s.Store.CancelTask(t.Context(), created.ID, "enough"))
	require.Contains(t, <-lines, "[ERROR] task alpha is cancelled: enough")
	_, more := <-lines
	require.False(t, more, "the task has ended, and so has its log")

	status, body := ask(t, s, http.MethodGet, "/api/tasks/1/logs", "")
	require.Equal(t, http.StatusOK, status, body)
	require.Equal(t, 5, strings.Count(body, `\n`), "the experiment that was cancelled with its task, too: %s", body)
}

// follow reads a stream's lines until it ends.
func follow(t testing.TB, s *apitest.Stand, path string) <-chan string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+apitest.Token)
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.StatusCode)
	lines := make(chan string)
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(lines)
		scanner := bufio.NewScanner(answer.Body)
		for scanner.Scan() {
			if line, ok := strings.CutPrefix(scanner.Text(), "data: "); ok {
				select {
				case lines <- line:
				case <-t.Context().Done():
				}
			}
		}
	})
	t.Cleanup(func() {
		_ = answer.Body.Close()
		reader.Wait()
		http.DefaultClient.CloseIdleConnections()
	})
	return lines
}

// How a task is described is the only word of it that may change.
func TestPatch(t *testing.T) {
	s := apitest.Start(t)
	created := s.Create(t, "alpha")
	for _, c := range []struct{ patch, has string }{
		{`{"description": "another"}`, `"description":"another","status":"running"`},
		{`{"status": "pending"}`, `"status":"pending"`},
		{`{"status": "pending"}`, `"status":"pending"`},
		{`{"status": "running", "description": "a third"}`, `"description":"a third","status":"running"`},
		{`{"status": "cancelled"}`, `"status":"cancelled"`},
	} {
		status, body := ask(t, s, http.MethodPatch, "/api/tasks/1", c.patch)
		require.Equal(t, http.StatusOK, status, "%s: %s", c.patch, body)
		require.Contains(t, body, c.has, c.patch)
	}
	status, body := ask(t, s, http.MethodPatch, "/api/tasks/1", `{"status": "running"}`)
	require.Equal(t, http.StatusBadRequest, status, body)
	now, err := s.Store.Task(t.Context(), "alpha")
	require.NoError(t, err)
	created.Spec.Description = "a third"
	require.Equal(t, created.Spec, now.Spec)
}
