package records_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/fleetune/fleetune/manager/records"
	"github.com/stretchr/testify/require"
)

// saves names the file that a process started by killedSaving saves to.
const saves = "FLEETUNE_TEST_SAVES"

// saver saves records one by one and tells each that is saved, until it is
// killed.
func saver(path string) error {
	for n := 1; ; n++ {
		if _, err := records.Save(context.Background(), path, []records.Record{recordOf(n, 1)}); err != nil {
			return err
		}
		if _, err := fmt.Println(n); err != nil {
			return err
		}
	}
}

// A process that is killed while it saves loses nothing that it told as saved,
// and leaves a file that is whole and not locked.
func TestKilledSavingKeepsWhatWasSaved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.jsonl")
	saved := 0
	for _, until := range []int{1, 7, 20} { // what is saved is saved again, then more
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), saves+"="+path)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		told := 0
		lines := bufio.NewScanner(out)
		for told < until && lines.Scan() {
			_, err := fmt.Sscan(lines.Text(), &told)
			require.NoError(t, err)
		}
		require.NoError(t, cmd.Process.Kill())
		for lines.Scan() {
			_, err := fmt.Sscan(lines.Text(), &told)
			require.NoError(t, err)
		}
		require.Error(t, cmd.Wait(), "it was killed")
		saved = max(saved, told)
		require.GreaterOrEqual(t, saved, until)

		list, dropped, err := records.ReadFile(path)
		require.NoError(t, err)
		require.Empty(t, dropped)
		require.GreaterOrEqual(t, len(list), saved)
	}
	after, err := records.Save(t.Context(), path, []records.Record{recordOf(1, 1), recordOf(-1, 1)})
	require.NoError(t, err, "its lock went with it")
	require.Equal(t, 1, after.Added)
}

// inMemory is a folder on a file system without a disk where there is one: each
// save waits for its disk, and a thousand of them for long.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "records-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// However often a file is replaced, who reads it finds it whole, as it was
// before or after.
func TestReadersOfAThousandRenames(t *testing.T) {
	path := filepath.Join(inMemory(t), "records.jsonl")
	_, err := records.Save(t.Context(), path, []records.Record{recordOf(0, 1)})
	require.NoError(t, err)
	done := make(chan struct{})
	errs := make([]error, 2)
	var reading sync.WaitGroup
	for r := range errs {
		reading.Go(func() {
			for {
				list, dropped, err := records.ReadFile(path)
				if err != nil || len(dropped) > 0 || len(list) == 0 || len(list) > 8 {
					errs[r] = fmt.Errorf("%d records, dropped %v, %w", len(list), dropped, err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for n := range 1000 {
		if _, err = records.Save(t.Context(), path, []records.Record{recordOf(n%8, 1)}); err != nil {
			break
		}
	}
	close(done)
	reading.Wait()
	require.NoError(t, err)
	for _, err := range errs {
		require.NoError(t, err)
	}
}
