package probe

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func configure(t *testing.T, dir string) Config {
	t.Setenv("EXP_RUN_ID", "run-1")
	t.Setenv("EXP_RESULT_PATH", filepath.Join(dir, "result.json"))
	t.Setenv("CUDA_VISIBLE_DEVICES", "gpu-a,gpu-b")
	return Config{Dir: dir, Point: 7, Hold: time.Millisecond}
}

func TestRunLeavesResultAndJournal(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, Run(t.Context(), configure(t, dir)))
	require.FileExists(t, filepath.Join(dir, "result.json"))
	entries, err := Journal(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.Equal(t, 7, entries[0].Point)
	require.Equal(t, "run-1", entries[0].Run)
	require.Empty(t, entries[0].Clash)
}

// The guard itself: a device that somebody else holds is reported.
func TestRunReportsAClash(t *testing.T) {
	dir := t.TempDir()
	f, err := lock(filepath.Join(dir, "gpu-b.lock"))
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	require.NoError(t, Run(t.Context(), configure(t, dir)))
	entries, err := Journal(dir)
	require.NoError(t, err)
	require.Equal(t, []string{"gpu-b"}, entries[0].Clash)
}

func TestRunWithoutGPUsLocksItsCores(t *testing.T) {
	t.Setenv("CUDA_VISIBLE_DEVICES", "")
	t.Setenv("ROCR_VISIBLE_DEVICES", "")
	names, err := held()
	require.NoError(t, err)
	require.NotEmpty(t, names)
}

func TestNoJournalYet(t *testing.T) {
	entries, err := Journal(t.TempDir())
	require.NoError(t, err)
	require.Empty(t, entries)
}
