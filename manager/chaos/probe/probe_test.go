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
	return Config{Dir: dir, Host: "a", Point: 7, Hold: time.Millisecond}
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
	held, release, err := lockAll(filepath.Join(dir, "host-a"), []string{"gpu-b"})
	require.NoError(t, err)
	require.Empty(t, held)
	defer release()
	require.NoError(t, Run(t.Context(), configure(t, dir)))
	entries, err := Journal(dir)
	require.NoError(t, err)
	require.Equal(t, []string{"gpu-b"}, entries[0].Clash)
}

func TestHostsHaveDevicesOfTheirOwn(t *testing.T) {
	dir := t.TempDir()
	_, release, err := lockAll(filepath.Join(dir, "host-b"), []string{"gpu-a", "gpu-b"})
	require.NoError(t, err)
	defer release()
	require.NoError(t, Run(t.Context(), configure(t, dir)))
	entries, err := Journal(dir)
	require.NoError(t, err)
	require.Empty(t, entries[0].Clash)
}

func TestRunWithoutGPUsLocksItsCores(t *testing.T) {
	for _, none := range []string{"", "-1"} {
		t.Setenv("CUDA_VISIBLE_DEVICES", none)
		t.Setenv("ROCR_VISIBLE_DEVICES", none)
		names, err := held()
		require.NoError(t, err)
		require.NotEmpty(t, names)
		require.Contains(t, names[0], "core-")
	}
}

func TestNoJournalYet(t *testing.T) {
	entries, err := Journal(t.TempDir())
	require.NoError(t, err)
	require.Empty(t, entries)
}
