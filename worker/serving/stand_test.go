package serving

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// healthy is a client to whom every server is ready.
func healthy() *http.Client {
	return &http.Client{Transport: answer{}}
}

type answer struct{}

func (answer) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("{}")), Request: r, Header: http.Header{}}, nil
}

// silence is a server that answers nothing until its client leaves.
func silence(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(func() {
		s.Client().CloseIdleConnections()
		s.Close()
	})
	return s
}
