package autotuner_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/fleetune/fleetune/manager/api/apitest"
	"github.com/fleetune/fleetune/manager/autotuner"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/wire"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// open connects as a client of LLM Autotuner does.
func open(t testing.TB, s *apitest.Stand, path string) *websocket.Conn {
	t.Helper()
	conn, answer, err := connect(t, s, path, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + apitest.Token}}})
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, answer.StatusCode)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

func connect(t testing.TB, s *apitest.Stand, path string, options *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	conn, answer, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(s.URL, "http")+path, options)
	if conn != nil {
		t.Cleanup(func() { _ = conn.CloseNow() })
	}
	return conn, answer, err
}

type seen struct {
	Type         string
	TaskID       int64 `json:"task_id"`
	Timestamp    float64
	ExperimentID int `json:"experiment_id"`
	Message      string
	Data         json.RawMessage
}

func read(t testing.TB, conn *websocket.Conn) seen {
	t.Helper()
	var f seen
	require.NoError(t, wsjson.Read(t.Context(), conn, &f))
	return f
}

// awaited reads until a frame of the kind: what happened before the socket was
// open may still be told, when a transaction elsewhere has held it back.
func awaited(t testing.TB, conn *websocket.Conn, kind string) seen {
	t.Helper()
	for {
		if f := read(t, conn); f.Type == kind {
			require.Equal(t, int64(1), f.TaskID)
			require.Positive(t, f.Timestamp)
			return f
		}
	}
}

func TestSocketTellsWhatHappens(t *testing.T) {
	s := apitest.Start(t)
	created := s.Create(t, "alpha")
	s.Create(t, "other")
	list := s.Queue(t, created, 1, apitest.Point(8, 1), apitest.Point(8, 2))
	conn, second := open(t, s, "/api/ws/tasks/1"), open(t, s, "/api/ws/experiments/10000002")
	require.Equal(t, seen{Type: "connection_established", TaskID: 1, Message: "watching task alpha"}, read(t, conn))
	require.Equal(t, 2, read(t, second).ExperimentID)

	s.Finish(t, list[0].ID, 5)
	f := awaited(t, conn, "experiment_completed")
	require.Equal(t, 1, f.ExperimentID)
	require.Contains(t, string(f.Data), `"status":"success"`)
	require.Contains(t, string(f.Data), `"objective_score":5`)
	f = awaited(t, conn, "task_progress")
	require.JSONEq(t, `{"current_experiment": 1, "total_experiments": 12, "successful_experiments": 1,
		"progress_percent": 8.333333333333334, "best_score": 5}`, string(f.Data))

	require.NoError(t, s.Store.Pause(t.Context(), created.ID)) // has no word there
	require.NoError(t, s.Store.Resume(t.Context(), created.ID))
	awaited(t, conn, "task_started")
	s.Finish(t, list[1].ID, 3)
	require.Equal(t, 2, awaited(t, conn, "experiment_completed").ExperimentID)
	require.Equal(t, 2, awaited(t, second, "experiment_completed").ExperimentID, "of its own experiment, and of no other")

	best := 2
	require.NoError(t, s.Store.FinishTask(t.Context(), created.ID, store.TaskCompleted, "the space is exhausted", &best, nil))
	f = awaited(t, conn, "task_completed")
	require.Equal(t, "the space is exhausted", f.Message)
	require.Contains(t, string(f.Data), `"status":"completed","total_experiments":2,"successful_experiments":2,"best_experiment_id":10000002,"best_score":3`)
}

// What workers do makes no events and is told all the same.
func TestSocketTellsWhatRuns(t *testing.T) {
	s := apitest.Start(t)
	created := s.Create(t, "alpha")
	list := s.Queue(t, created, 1, apitest.Point(8, 1), apitest.Point(8, 2))
	s.Claim(t, list[1].ID, "node-a", "cpu-1")
	conn := open(t, s, "/api/ws/tasks/1")
	require.Equal(t, "connection_established", read(t, conn).Type, "what runs already is in the task")

	g := s.Claim(t, list[0].ID, "node-a", "cpu-0")
	f := awaited(t, conn, "experiment_started")
	require.Equal(t, 1, f.ExperimentID)
	require.JSONEq(t, `{"parameters": {"tile": 8, "unroll": 1}, "status": "deploying"}`, string(f.Data))
	s.Phase(t, "waiting", list[0].ID)
	f = awaited(t, conn, "experiment_progress")
	require.Equal(t, "waiting", f.Message)
	require.JSONEq(t, `{"status": "deploying", "phase": "waiting", "detail": "sample 2 of 5"}`, string(f.Data))
	s.Phase(t, "running", list[0].ID)
	f = awaited(t, conn, "benchmark_started")
	require.JSONEq(t, `{"status": "benchmarking", "phase": "running", "detail": "sample 2 of 5"}`, string(f.Data))
	_, err := s.Pool.Exec(t.Context(), `UPDATE workers SET held = replace(held::text, 'sample 2', 'sample 3')::jsonb`)
	require.NoError(t, err)
	require.NoError(t, s.Store.AnnounceWork(t.Context()))
	f = awaited(t, conn, "benchmark_progress")
	require.Equal(t, "sample 3 of 5", f.Message)
	require.JSONEq(t, `{"status": "benchmarking", "phase": "running", "detail": "sample 3 of 5"}`, string(f.Data))
	_, body := ask(t, s, http.MethodGet, "/api/experiments/10000001", "")
	require.Contains(t, body, `"status":"benchmarking"`)
	_, body = ask(t, s, http.MethodGet, "/api/experiments/task/1", "")
	require.Contains(t, body, `"status":"deploying"`, "no worker has told of the second yet")
	s.Report(t, g, "node-a", experiment.OutcomeSuccess, 3, nil)
	require.Equal(t, 1, awaited(t, conn, "experiment_completed").ExperimentID)
}

// An experiment's socket has what its programs write, line by line, and so has
// its log.
func TestSocketTellsOutput(t *testing.T) {
	s := apitest.Start(t)
	created := s.Create(t, "alpha")
	list := s.Queue(t, created, 1, apitest.Point(8, 1), apitest.Point(8, 2))
	g := s.Claim(t, list[0].ID, "node-a", "cpu-0")
	says := func(id uuid.UUID, data string, last bool) {
		message, err := json.Marshal(wire.LogChunk{Attempt: 1, Stream: "run stdout", Data: data, Last: last})
		require.NoError(t, err)
		_, err = s.Bus.JetStream().Publish(t.Context(), wire.LogSubject("node-a", id), message)
		require.NoError(t, err)
	}
	says(list[0].ID, "before\n", false)
	conn := open(t, s, "/api/ws/experiments/10000001")
	require.Equal(t, "connection_established", read(t, conn).Type)
	says(list[1].ID, "of another\n", false)
	says(list[0].ID, "first\r\nsec", false)
	f := awaited(t, conn, "log_message")
	require.Equal(t, seen{Type: "log_message", TaskID: 1, Timestamp: f.Timestamp, ExperimentID: 1, Message: "first"}, f)
	says(list[0].ID, "ond\nlast", true)
	require.Equal(t, "second", awaited(t, conn, "log_message").Message)
	require.Equal(t, "last", awaited(t, conn, "log_message").Message, "a line that nobody ends")

	status, body := ask(t, s, http.MethodGet, "/api/tasks/1/experiments/1/logs", "")
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"logs": "before\nfirst\nsecond\nlast\n"}`, body)
	s.Report(t, g, "node-a", experiment.OutcomeSuccess, 3, nil)
	status, body = ask(t, s, http.MethodGet, "/api/tasks/alpha/experiments/1/logs?follow=true", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "data: before\n\ndata: first\n\ndata: second\n\ndata: last\n\n", body, "ends with the experiment")
}

// A page in a browser cannot set headers: its token is one of its subprotocols,
// and another site's page has no use of it.
func TestSocketOfABrowser(t *testing.T) {
	s := apitest.Start(t)
	s.Create(t, "alpha")
	offer := func(token string) []string {
		return []string{autotuner.Subprotocol, "fleetune.bearer." + base64.RawURLEncoding.EncodeToString([]byte(token))}
	}
	conn, answer, err := connect(t, s, "/api/ws/tasks/1", &websocket.DialOptions{Subprotocols: offer(apitest.Token), HTTPHeader: http.Header{"Origin": {s.URL}}})
	require.NoError(t, err)
	require.Equal(t, autotuner.Subprotocol, answer.Header.Get("Sec-WebSocket-Protocol"), "the token is not answered")
	require.Equal(t, "connection_established", read(t, conn).Type)
	for name, options := range map[string]*websocket.DialOptions{
		"another token": {Subprotocols: offer(apitest.JoinToken)},
		"no token":      {Subprotocols: []string{autotuner.Subprotocol}},
		"not encoded":   {Subprotocols: []string{"fleetune.bearer." + apitest.Token + "="}},
		"another site":  {Subprotocols: offer(apitest.Token), HTTPHeader: http.Header{"Origin": {"https://elsewhere.example"}}},
	} {
		_, answer, err := connect(t, s, "/api/ws/tasks/1", options)
		require.Error(t, err, name)
		want := http.StatusUnauthorized
		if name == "another site" {
			want = http.StatusForbidden
		}
		require.Equal(t, want, answer.StatusCode, name)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/api/tasks/", nil)
	require.NoError(t, err)
	r.Header.Set("Sec-WebSocket-Protocol", strings.Join(offer(apitest.Token), ", "))
	refused, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.NoError(t, refused.Body.Close())
	http.DefaultClient.CloseIdleConnections()
	require.Equal(t, http.StatusUnauthorized, refused.StatusCode, "for sockets only")
	require.NotContains(t, s.Log.String(), apitest.Token)
}

// A manager that stops takes leave of its sockets and waits until they are closed.
func TestSocketEndsWithTheServer(t *testing.T) {
	s := apitest.Start(t)
	s.Create(t, "alpha")
	conn := open(t, s, "/api/ws/tasks/alpha")
	require.Equal(t, "connection_established", read(t, conn).Type)
	ended := make(chan error, 1)
	go func() {
		for {
			if _, _, err := conn.Read(context.Background()); err != nil {
				ended <- err
				return
			}
		}
	}()
	s.Stop()
	require.Equal(t, websocket.StatusGoingAway, websocket.CloseStatus(<-ended))
}

func TestSocketOfNothing(t *testing.T) {
	s := apitest.Start(t)
	for path, want := range map[string]string{"/api/ws/tasks/7": "no task", "/api/ws/experiments/7": "no experiment"} {
		status, body := ask(t, s, http.MethodGet, path, "")
		require.Equal(t, http.StatusNotFound, status)
		require.Contains(t, told(t, body), want)
	}
	s.Create(t, "alpha")
	status, _ := ask(t, s, http.MethodGet, "/api/ws/tasks/1", "")
	require.Equal(t, http.StatusUpgradeRequired, status)
}
