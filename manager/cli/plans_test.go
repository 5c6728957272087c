package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/cli"
	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/stretchr/testify/require"
)

// Task files of LLM Autotuner and Fleetune's own additions, and what a dry run
// makes of each: commands, cells, devices, warnings. UPDATE=1 writes them anew.
func TestPlans(t *testing.T) {
	var files []string
	for _, pattern := range []string{"*.yaml", "[0-9]*.json"} {
		found, err := filepath.Glob(filepath.Join("testdata/plans", pattern))
		require.NoError(t, err)
		files = append(files, found...)
	}
	require.GreaterOrEqual(t, len(files), 30)
	t.Setenv("HF_HOME", t.TempDir()) // models of this machine change nothing
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			var out bytes.Buffer
			code := cli.Run(t.Context(), cli.Environment{Args: []string{"submit", "--dry-run", file}, In: strings.NewReader(""),
				Out: terminal.Screen{Writer: &out}, Err: terminal.Screen{Writer: &out}, Getenv: func(string) string { return "" }, Now: time.Now})
			got := out.String()
			require.Equal(t, cli.ExitOK, code, got)
			golden := strings.TrimSuffix(file, filepath.Ext(file)) + ".golden"
			if os.Getenv("UPDATE") != "" {
				require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), got)
		})
	}
}
