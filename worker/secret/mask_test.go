package secret

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Whatever a text says around them, no secret is seen, and offsets stay true.
func TestNothingIsSeen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.MapOf(rapid.StringN(1, 8, 8), rapid.StringMatching(`[a-z*]{1,6}\n?`)).Draw(t, "values")
		text := rapid.StringMatching(`[a-z ]{0,40}`).Draw(t, "text")
		for _, v := range values {
			text += `{"token":"` + strings.TrimSpace(v) + `"}`
		}
		masked := New(values).Text(text)
		require.Len(t, masked, len(text))
		for _, v := range values {
			if v = strings.TrimSpace(v); strings.Trim(v, "*") != "" {
				require.NotContains(t, masked, `"`+v+`"`)
			}
		}
	})
}

func TestFilesKeepTheirLength(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	require.NoError(t, os.WriteFile(path, []byte("key=hunter-2;\nagain hunter-2"), 0o600))
	require.NoError(t, New(map[string]string{"a": "hunter-2\n", "b": ""}).File(path))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "key=********;\nagain ********", string(text))
	require.NoError(t, New(map[string]string{"a": "x"}).File(path+".none"))
}
