package report_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/fleetune/fleetune/manager/report"
	"github.com/stretchr/testify/require"
)

// seen is what browser/check.mjs tells.
type seen struct {
	Errors, Requests   []string
	Title              string
	Plots              []string
	Empty, Outside     int
	Styled             bool
	SLO                int
	Rows               int
	Before, After      string
	Ways               int
	Selected, Released int
	Narrow             []string
	Printed            bool
}

// A real browser draws the page, without an error and without a request. It is
// skipped where there is no Chromium, or no Node.js to steer it.
func TestInABrowser(t *testing.T) {
	chromium := need(t, "chromium")
	folder := stand(t)
	for name, in := range map[string]report.Input{"serving": serving(), "command": command()} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "report.html")
			require.NoError(t, os.WriteFile(file, []byte(write(t, in)), 0o600))
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			args := []string{"check.mjs", chromium, file}
			if shots := os.Getenv("FLEETUNE_SCREENSHOTS"); shots != "" {
				shots = filepath.Join(shots, name)
				require.NoError(t, os.MkdirAll(shots, 0o700))
				args = append(args, shots)
			}
			cmd := exec.CommandContext(ctx, need(t, "node"), args...)
			cmd.Dir, cmd.Stderr = folder, os.Stderr
			out, err := cmd.Output()
			require.NoError(t, err, "%s", out)
			var s seen
			require.NoError(t, json.Unmarshal(out, &s))
			require.Empty(t, s.Errors)
			require.Equal(t, []string{"file"}, unique(s.Requests), "the page and nothing else")
			require.Equal(t, "llm · Fleetune report", s.Title)
			require.Subset(t, s.Plots, []string{"history", "front", "effect-1"})
			require.Zero(t, s.Empty, "plots without a dot")
			require.Zero(t, s.Outside, "dots outside their plot")
			require.True(t, s.Styled, "the policy lets the style in")
			require.Equal(t, []any{4, "1", "4"}, []any{s.Rows, s.Before, s.After}, "a click sorts")
			require.Equal(t, 3, s.Ways)
			require.Equal(t, []int{1, 3}, []int{s.Selected, s.Released}, "dragging over the least score selects the best, a click lets go")
			require.Empty(t, s.Narrow, "nothing sticks out of a small screen")
			require.True(t, s.Printed)
			if in.Servings != nil {
				require.Contains(t, s.Plots, "curve-1")
				require.Positive(t, s.SLO)
			}
		})
	}
}

func unique(list []string) []string {
	var out []string
	have := map[string]bool{}
	for _, v := range list {
		if v == "data" { // the empty icon, which is in the page
			continue
		}
		if !have[v] {
			have[v], out = true, append(out, v)
		}
	}
	return out
}

func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("no %s: apt-get install chromium nodejs npm", program)
	}
	return path
}

// stand is a folder with check.mjs and what it needs, at the versions and
// digests of its lock file; made once in the user's cache.
func stand(t *testing.T) string {
	t.Helper()
	npm := need(t, "npm")
	need(t, "node")
	digest := sha256.New()
	names := []string{"package.json", "package-lock.json", "check.mjs"}
	texts := map[string][]byte{}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join("browser", name))
		require.NoError(t, err)
		texts[name] = text
		_, _ = digest.Write(text) // a hash takes everything
	}
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	folder := filepath.Join(cache, "fleetune", "browser-"+hex.EncodeToString(digest.Sum(nil))[:12])
	if _, err := os.Stat(folder); err == nil {
		return folder
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(folder), 0o700))
	part, err := os.MkdirTemp(filepath.Dir(folder), "browser-part-")
	require.NoError(t, err)
	for name, text := range texts {
		require.NoError(t, os.WriteFile(filepath.Join(part, name), text, 0o600))
	}
	cmd := exec.CommandContext(t.Context(), npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	cmd.Dir = part
	if out, err := cmd.CombinedOutput(); err != nil {
		_ = os.RemoveAll(part)
		t.Skipf("npm could not install playwright-core: %s", out)
	}
	if err := os.Rename(part, folder); err != nil {
		_ = os.RemoveAll(part) // another test was faster
	}
	return folder
}
