package autotuner_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/fleetune/fleetune/manager/api/apitest"
	"github.com/fleetune/fleetune/manager/store"
	"github.com/stretchr/testify/require"
)

// open connects as a client of LLM Autotuner does.
func open(t testing.TB, s *apitest.Stand, path string) *websocket.Conn {
	t.Helper()
	conn, answer, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(s.URL, "http")+path,
		&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + apitest.Token}}})
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, answer.StatusCode)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn
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
