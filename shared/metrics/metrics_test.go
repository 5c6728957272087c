package metrics_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/fleetune/fleetune/shared/metrics"
	"github.com/stretchr/testify/require"
)

func TestHandlerShowsTheRegistry(t *testing.T) {
	// Two in one process: nothing is shared between them.
	for _, role := range []string{"manager", "worker"} {
		answer := httptest.NewRecorder()
		metrics.Handler(metrics.New(role, "1.2.3")).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		require.Equal(t, http.StatusOK, answer.Code)
		require.Contains(t, answer.Body.String(), `fleetune_build_info{role="`+role+`",version="1.2.3"} 1`)
		require.Contains(t, answer.Body.String(), "go_goroutines ")
		require.Contains(t, answer.Body.String(), "process_resident_memory_bytes ")
	}
}
