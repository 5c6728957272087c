//go:build unix

package filelock_test

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fleetune/fleetune/shared/filelock"
	"github.com/stretchr/testify/require"
)

// holderVariable makes the test binary a holder to be killed.
const holderVariable = "FLEETUNE_TEST_HOLDER"

func TestMain(m *testing.M) {
	if path := os.Getenv(holderVariable); path != "" {
		if _, err := filelock.Take(path, "holder"); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("held")
		select {}
	}
	os.Exit(m.Run())
}

func TestOneHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := filelock.Take(path, "first")
	require.NoError(t, err)
	_, err = filelock.Take(path, "second")
	require.ErrorIs(t, err, filelock.ErrHeld)
	require.Equal(t, "first", filelock.Note(path), "who was refused has not written")
	require.NoError(t, first.Note("1"))
	require.Equal(t, "1", filelock.Note(path))
	require.NoError(t, first.Release())
	_, err = os.Stat(path)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Empty(t, filelock.Note(path))
}

func TestKilledHolderHoldsNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holderVariable+"="+path)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "held\n", line)
	_, err = filelock.Take(path, "")
	require.ErrorIs(t, err, filelock.ErrHeld)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	lock, err := filelock.Take(path, "")
	require.NoError(t, err)
	require.NoError(t, lock.Release())
}

// TestNeverTwoHolders runs takers against each other: the removal of the file
// must not let two in, each with a file of its own.
func TestNeverTwoHolders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var holders, taken atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for taken.Load() < 2000 {
				lock, err := filelock.Take(path, "x")
				if err != nil {
					continue
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d holders", n)
				}
				taken.Add(1)
				holders.Add(-1)
				if err := lock.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
