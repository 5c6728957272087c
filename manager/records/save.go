//go:build unix

package records

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fleetune/fleetune/shared/filelock"
	"github.com/google/uuid"
)

// lockPause is the wait between two tries to take a file's lock.
const lockPause = 50 * time.Millisecond

// A Saved file tells what became of a merge.
type Saved struct {
	// Records the file now holds, Added those that it did not hold before.
	Records int
	Added   int
	// Dropped lines of the file as it was, which is healed now.
	Dropped []Dropped
	// Conflicts are records that were told in two ways.
	Conflicts []uuid.UUID
}

// Save merges records into a file, which need not exist. Readers see the old
// file or the new one, whatever happens in between; writers take turns by a
// lock beside it. ErrFormat leaves alone a file that is something else.
func Save(ctx context.Context, path string, list []Record) (s Saved, err error) {
	lock, err := take(ctx, path+".lock")
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	old, dropped, err := ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return s, err
	}
	merged, conflicts := Merge(old, list)
	s = Saved{Records: len(merged), Added: len(merged) - len(old), Dropped: dropped, Conflicts: conflicts}
	return s, replace(path, merged)
}

// ReadFile reads a file of records; see Read.
func ReadFile(path string) ([]Record, []Dropped, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("opening records: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	list, dropped, err := Read(f)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, dropped, nil
}

func take(ctx context.Context, path string) (*filelock.Lock, error) {
	for {
		lock, err := filelock.Take(path, fmt.Sprintf("process %d writes records\n", os.Getpid()))
		if !errors.Is(err, filelock.ErrHeld) {
			return lock, err
		}
		timer := time.NewTimer(lockPause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("waiting for %s: %w", path, ctx.Err())
		case <-timer.C:
		}
	}
}

// replace writes the file beside its place, makes sure that it is on disk, and
// moves it there.
func replace(path string, list []Record) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".records-*")
	if err != nil {
		return fmt.Errorf("writing records: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the error already tells that nothing was written
		}
	}()
	if err := errors.Join(Write(f, list), f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing records: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("writing records: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("writing records: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}
