package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/fleetune/fleetune/manager/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func dial(t *testing.T, handler http.HandlerFunc) *client.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	c, err := client.New(server.URL+"/", "secret")
	require.NoError(t, err)
	t.Cleanup(func() { c.Close(); server.Close() })
	return c
}

func TestNamesAreEscapedAndTheTokenIsSent(t *testing.T) {
	c := dial(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "/api/v1/tasks/..%2F%3Fx=%23", r.URL.EscapedPath())
		assert.Equal(t, "Bearer secret", r.Header.Get("Authorization"))
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"name": "x", "a field of tomorrow": 1}`))
	})
	d, err := c.Task(t.Context(), "../?x=#")
	require.NoError(t, err)
	require.Equal(t, "x", d.Name)
}

func TestErrorsAreToldApart(t *testing.T) {
	c := dial(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/v1/tasks/problem":
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusConflict)
			_, _ = w.Write([]byte(`{"status": 409, "detail": "taken", "next": "choose another"}`))
		case "/api/v1/tasks/proxy":
			w.WriteHeader(http.StatusBadGateway)
			_, _ = w.Write([]byte("<html>bad gateway</html>"))
		default:
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<html>welcome</html>"))
		}
	})
	var p *v1.Problem
	_, err := c.Task(t.Context(), "problem")
	require.ErrorAs(t, err, &p)
	require.Equal(t, "choose another", p.Next)
	_, err = c.Task(t.Context(), "proxy")
	require.ErrorAs(t, err, &p)
	require.Equal(t, 502, p.Status)
	require.NotEmpty(t, p.Next)
	_, err = c.Task(t.Context(), "website")
	require.ErrorIs(t, err, client.ErrUnreachable)

	gone, err := client.New("http://127.0.0.1:1", "")
	require.NoError(t, err)
	defer gone.Close()
	_, err = gone.Workers(t.Context())
	require.ErrorIs(t, err, client.ErrUnreachable)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = gone.Workers(ctx)
	require.ErrorIs(t, err, context.Canceled)
	for _, bad := range []string{"", "127.0.0.1:80", "ftp://x", "http://", "http://[::1"} {
		_, err = client.New(bad, "")
		require.Error(t, err, bad)
	}
}

// Every connection gives one event and breaks; the watch goes on behind it.
func TestWatchResumesBehindTheLastEvent(t *testing.T) {
	c := dial(t, func(w http.ResponseWriter, r *http.Request) {
		last, _ := strconv.Atoi(r.Header.Get("Last-Event-ID"))
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = w.Write([]byte("id: " + strconv.Itoa(last+1) + "\nevent: task\ndata: {\"id\": " + strconv.Itoa(last+1) + "}\n\n"))
	})
	enough := errors.New("enough")
	var ids []int64
	starts, breaks := 0, 0
	err := c.Watch(t.Context(), client.Watch{
		Reset:  func() error { starts++; return nil },
		Broken: func(error) { breaks++ },
		Event: func(e v1.Event) error {
			if ids = append(ids, e.ID); len(ids) == 3 {
				return enough
			}
			return nil
		}})
	require.ErrorIs(t, err, enough)
	require.Equal(t, []int64{1, 2, 3}, ids)
	require.Equal(t, 1, starts, "nothing was missed after the first connection")
	require.Equal(t, 2, breaks)
}

func TestWatchEndsWhenItIsRefused(t *testing.T) {
	c := dial(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"status": 404, "detail": "no such task"}`))
	})
	err := c.Watch(t.Context(), client.Watch{Task: "x", Event: func(v1.Event) error { return nil }})
	require.ErrorContains(t, err, "no such task")
}
