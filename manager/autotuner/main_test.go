package autotuner_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/fleetune/fleetune/manager/api/apitest"
	"github.com/fleetune/fleetune/manager/postgres/pgtest"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write golden files")

func TestMain(m *testing.M) { pgtest.Main(m, goleak.IgnoreCurrent()) }

// ask sends a request as a client of LLM Autotuner and returns what it is told.
func ask(t testing.TB, s *apitest.Stand, method, path, body string) (int, string) {
	t.Helper()
	return send(t, s, method, path, "application/json", body)
}

func send(t testing.TB, s *apitest.Stand, method, path, media, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+apitest.Token)
	r.Header.Set("Content-Type", media)
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { require.NoError(t, answer.Body.Close()) }()
	data, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	http.DefaultClient.CloseIdleConnections()
	return answer.StatusCode, string(data)
}

// told is the detail of a refusal.
func told(t testing.TB, body string) string {
	t.Helper()
	var d struct{ Detail string }
	require.NoError(t, json.Unmarshal([]byte(body), &d), body)
	require.NotEmpty(t, d.Detail, body)
	return d.Detail
}

var (
	anyUUID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	anyTime = regexp.MustCompile(`"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*Z"`)
	ourTime = regexp.MustCompile(`"2026-01-02T03:\d\d:00Z"`)
)

// golden compares a body with a file, ids and moments that change left out.
func golden(t testing.TB, name, body string) {
	t.Helper()
	var indented bytes.Buffer
	require.NoError(t, json.Indent(&indented, []byte(body), "", "  "), body)
	got := anyUUID.ReplaceAllString(indented.String(), "UUID")
	got = anyTime.ReplaceAllStringFunc(got, func(at string) string {
		if ourTime.MatchString(at) {
			return at
		}
		return `"TIME"`
	})
	file := filepath.Join("testdata", name+".json")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}
