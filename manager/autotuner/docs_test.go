package autotuner

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/require"
)

// Every path is in the documentation for users.
func TestDocumentationNamesEveryPath(t *testing.T) {
	text, err := os.ReadFile("../../shared/docs/autotuner-api.md")
	require.NoError(t, err)
	router := chi.NewMux()
	(&Translator{}).Mount(router)
	require.NoError(t, chi.Walk(router, func(method, path string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		path = strings.NewReplacer("{task}", "{id}", "{experiment}", "{id}", "{preset}", "{id}", "{number}", "{n}").Replace(path)
		path = strings.TrimSuffix(strings.TrimSuffix(path, "/*"), "/")
		require.Contains(t, string(text), "`"+path, "%s %s", method, path)
		return nil
	}))
}
