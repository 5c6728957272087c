package api_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/fleetune/fleetune/manager/api"
	"github.com/fleetune/fleetune/manager/api/apitest"
	"github.com/fleetune/fleetune/manager/api/v1"
	"github.com/stretchr/testify/require"
)

// ask sends a bare request and returns the status, the media type and the body.
func ask(t testing.TB, method, url, token, body string) (int, string, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Do(req)
	require.NoError(t, err)
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, response.Header.Get("Content-Type"), string(data)
}

func TestTokenGuardsEverythingButHealth(t *testing.T) {
	s := apitest.Start(t)
	for _, c := range []struct {
		method, path, token string
		status              int
	}{
		{"GET", "/api/v1/tasks", "", 401},
		{"GET", "/api/v1/tasks", "wrong", 401},
		{"GET", "/api/v1/tasks", apitest.JoinToken, 401},
		{"GET", "/api/v1/tasks", apitest.Token, 200},
		{"GET", "/api/v1/events", "", 401},
		{"GET", "/metrics", "", 401},
		{"GET", "/nowhere", "", 401},
		{"GET", "/nowhere", apitest.Token, 404},
		{"PUT", "/api/v1/tasks", apitest.Token, 405},
		{"POST", "/api/v1/workers/w1/credentials", "", 401},
		{"POST", "/api/v1/workers/w1/credentials", apitest.JoinToken, 200},
		{"POST", "/api/v1/workers/w1/credentials", apitest.Token, 200},
		{"POST", "/api/v1/workers/w.1/credentials", apitest.JoinToken, 422},
		{"POST", "/api/v1/workers/manager/credentials", apitest.JoinToken, 422},
		{"GET", "/api/v1/workers/w1/credentials", apitest.JoinToken, 401},
		{"POST", "/api/v1/workers/w1/drain", apitest.JoinToken, 401},
		{"POST", "/api/v1/workers/x/../../tasks/credentials", apitest.JoinToken, 401},
		{"GET", "/healthz", "", 200},
		{"GET", "/readyz", "", 200},
		{"GET", "/openapi.json", "", 200},
	} {
		status, media, body := ask(t, c.method, s.URL+c.path, c.token, "")
		require.Equal(t, c.status, status, "%s %s with %q: %s", c.method, c.path, c.token, body)
		if status >= 400 {
			require.Equal(t, "application/problem+json", media, c.path)
			var p v1.Problem
			require.NoError(t, json.Unmarshal([]byte(body), &p))
			require.NotEmpty(t, p.Next, "every problem says what to do next: %s", body)
			require.NotContains(t, body, apitest.Token)
		}
	}
	require.NotContains(t, s.Log.String(), apitest.Token)
}

func TestRequestsAreBoundedAndChecked(t *testing.T) {
	s := apitest.Start(t)
	status, media, body := ask(t, "POST", s.URL+"/api/v1/tasks", apitest.Token, strings.Repeat("x", 17<<20))
	require.Equal(t, 413, status, body)
	require.Equal(t, "application/problem+json", media)
	for _, path := range []string{"/api/v1/tasks?limit=0", "/api/v1/tasks?limit=x", "/api/v1/tasks?status=odd", "/api/v1/tasks/x/experiments/0",
		"/api/v1/tasks/x/export?format=doc"} {
		status, _, body := ask(t, "GET", s.URL+path, apitest.Token, "")
		require.Equal(t, 422, status, body)
	}
	status, _, _ = ask(t, "GET", s.URL+"/api/v1/tasks?after=nonsense", apitest.Token, "")
	require.Equal(t, 400, status)
}

func TestReadyTellsWhatIsMissing(t *testing.T) {
	s := apitest.Start(t)
	_, _, body := ask(t, "GET", s.URL+"/readyz", "", "")
	require.JSONEq(t, `{"ready": true, "database": "ok", "migrations": "ok", "bus": "ok"}`, body)

	s.Bus.Close()
	status, _, body := ask(t, "GET", s.URL+"/readyz", "", "")
	require.Equal(t, 503, status)
	require.JSONEq(t, `{"ready": false, "database": "ok", "migrations": "ok", "bus": "CLOSED"}`, body)

	s.Pool.Close()
	status, _, body = ask(t, "GET", s.URL+"/readyz", "", "")
	require.Equal(t, 503, status)
	require.Contains(t, body, `"database":"cannot be reached"`)
	status, _, body = ask(t, "GET", s.URL+"/api/v1/tasks", apitest.Token, "")
	require.Equal(t, 503, status)
	require.NotContains(t, body, "pool", "inner errors stay inside")
	require.Contains(t, s.Log.String(), "closed pool", "but are logged")
}

func TestReadyTellsThatMigrationsAreMissing(t *testing.T) {
	s := apitest.Start(t)
	require.NoError(t, s.Store.MigrateDown(t.Context(), 0))
	status, _, body := ask(t, "GET", s.URL+"/readyz", "", "")
	require.Equal(t, 503, status)
	require.Contains(t, body, `"migrations":"not applied"`)
}

func TestNewNeedsStoreAndToken(t *testing.T) {
	_, err := api.New(api.Config{Token: "x"})
	require.ErrorContains(t, err, "store")
	s := apitest.Start(t)
	_, err = api.New(api.Config{Store: s.Store})
	require.ErrorContains(t, err, "token")
}

func TestAnUnknownMediaTypeIsTheCallersToCorrect(t *testing.T) {
	s := apitest.Start(t)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/api/v1/tasks", strings.NewReader("{}"))
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+apitest.Token)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	var p v1.Problem
	require.NoError(t, json.NewDecoder(response.Body).Decode(&p))
	require.Equal(t, http.StatusUnsupportedMediaType, response.StatusCode)
	require.Contains(t, p.Next, "application/json")
}
